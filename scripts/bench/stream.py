"""A gigabyte in one statement, out and in (row 6), and what of its cost is the machine's: a bare pipe, and the hash alone.

Promises: the same client for every contestant, which looks at nothing, so that it is not the client that is measured.
Deliberately not here: memory; the tests hold bounds for it.
"""

import hashlib
import time

import process
from chat import turn
from stage import ROOT
from targets import PIPE
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
    stage = bench.stage
    pipe = stage.pipe(PIPE, "python3", ROOT / "scripts/bench/pipe.py", stage.postgres_port)
    for number in range(bench.rounds):
        bench.say(f"round {number + 1}: the hash alone")
        bench.record("hash", number, cpu_s_per_gb=_hash(lines // FRAMES))
        for tls in bench.transports:
            # The pipe passes on a client's TLS as it is.
            contestants = [stage.direct, stage.pgbouncer, bench.proxy, *([] if tls else [pipe])]
            for way, run in ways.items():
                for contestant in turn(contestants, number):
                    bench.say(f"round {number + 1}: {contestant.name}, {way}{', TLS' if tls else ''}")
                    figure = _once(contestant, tls, run)
                    bench.record("stream", number, way=way, tls=tls, contestant=contestant.name, **figure)


def _hash(chunks):
    """Seconds for the SHA-256 of a gigabyte that is copied in, as `data` of a record has it."""
    digest, begun = hashlib.sha256(), time.process_time()
    for _ in range(chunks):
        digest.update(CHUNK)
    return (time.process_time() - begun) / (chunks * len(CHUNK) / 1e9)


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
