"""Short statements: throughput, the proxy's processor time for each, and the latency of one client (rows 1 to 5).

Promises: in each round every contestant has its turn, and the order changes from round to round.
Deliberately not here: what the figures must be.
"""

import mmap
import os
import statistics
import time

import load
from targets import FLUSHING

# What each row needs, as (mode, clients).
NEEDS = {
    1: {("simple", 32)},
    2: {("simple", 8), ("simple", 1)},
    3: {("simple", 32), ("simple", 8)},
    4: {("simple", 32), ("simple", 8)},
    5: {("simple", 1)},
}
# Bears on no row, but shows the other two ways in which clients speak.
FURTHER = {("extended", 8), ("prepared", 8)}

FLUSHES = 200
FLUSH_BYTES = 4096
SEGMENT_BYTES = 16 << 20


def measure(bench):
    shapes = set().union(*(NEEDS[row] for row in bench.rows if row in NEEDS))
    if bench.is_full:
        shapes |= FURTHER
    stage = bench.stage
    flushing = stage.pipe(FLUSHING, bench.flushing, stage.postgres_port, stage.dir)
    everybody = [stage.direct, stage.pgbouncer, bench.proxy]
    if 3 in bench.rows:
        everybody.append(bench.unaudited)
    for number in range(bench.rounds):
        for tls in bench.transports:
            # The pipe passes on a client's TLS as it is.
            contestants = everybody if tls else [*everybody, flushing]
            for mode, clients in sorted(shapes):
                for contestant in turn(contestants, number):
                    bench.say(f"round {number + 1}: {contestant.name}, {mode}, {clients} clients{', TLS' if tls else ''}")
                    figure = load.window(stage, contestant, mode, clients, tls, bench.seconds)
                    bench.record("chat", number, **figure)
        if 5 in bench.rows:
            for kind, p50 in flushes(stage.dir).items():
                bench.record("flush", number, kind=kind, p50_us=p50)


def turn(contestants, number):
    """Nobody always comes first."""
    at = number % len(contestants)
    return contestants[at:] + contestants[:at]


def flushes(folder):
    """How long this disk takes to make 4 KiB durable in a file that is there already, written with zeros: the price of one
    record, whoever writes it. Two ways, because which is faster depends on the disk."""
    path = folder / "flush"
    path.write_bytes(bytes(SEGMENT_BYTES))
    block = mmap.mmap(-1, FLUSH_BYTES)  # O_DIRECT wants whole pages
    block.write(os.urandom(FLUSH_BYTES))
    kinds = {"fdatasync": (0, os.fdatasync), "O_DIRECT|O_DSYNC": (os.O_DIRECT | os.O_DSYNC, lambda _: None)}
    found = {}
    try:
        for kind, (flags, sync) in kinds.items():
            file = os.open(path, os.O_WRONLY | flags)
            try:
                os.fsync(file)
                found[kind] = statistics.median(_flush(file, number, block, sync) for number in range(FLUSHES)) * 1e6
            except OSError:
                continue  # a file system without O_DIRECT
            finally:
                os.close(file)
    finally:
        path.unlink()
    return found


def _flush(file, number, block, sync):
    begun = time.perf_counter()
    os.pwrite(file, block, number * FLUSH_BYTES)
    sync(file)
    return time.perf_counter() - begun
