"""A gigabyte in one statement, out and in (row 6).

Promises: the same client for every contestant, which looks at nothing, so that it is not the client that is measured.
Deliberately not here: memory; the tests hold bounds for it.
"""

import time

import process
from chat import turn
from wire import Session, frame

LINE_BYTES = 1000
# Whole frames, as a client that copies in large pieces sends them.
FRAMES = 64
CHUNK = frame(b"d", b"x" * (LINE_BYTES - 1) + b"\n") * FRAMES

ROWS = f"select repeat('x', {LINE_BYTES}) from generate_series(1, %d)"


def measure(bench):
    # The server parses the lines and keeps none: its disk is not what is measured.
    lines = bench.stream_bytes // LINE_BYTES
    ways = {
        "copy out": lambda session: session.query(f"copy ({ROWS % lines}) to stdout"),
        "select": lambda session: session.query(ROWS % lines),
        "copy in": lambda session: session.copy_in("copy sink from stdin where false", CHUNK, lines // FRAMES),
    }
    contestants = [bench.stage.direct, bench.stage.pgbouncer, bench.proxy]
    for number in range(bench.rounds):
        for tls in bench.transports:
            for way, run in ways.items():
                for contestant in turn(contestants, number):
                    bench.say(f"round {number + 1}: {contestant.name}, {way}{', TLS' if tls else ''}")
                    figure = _once(contestant, tls, run)
                    bench.record("stream", number, way=way, tls=tls, contestant=contestant.name, **figure)


def _once(contestant, tls, run):
    session = Session(contestant, tls)
    try:
        cpu = process.cpu_s(contestant.pid) if contestant.pid else 0
        begun = time.monotonic()
        count = run(session)
        figure = {"gb_per_s": count / 1e9 / (time.monotonic() - begun)}
        if contestant.pid:
            figure["cpu_s_per_gb"] = (process.cpu_s(contestant.pid) - cpu) / (count / 1e9)
        return figure
    finally:
        session.close()
