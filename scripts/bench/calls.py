"""System calls for each transaction, counted by strace: the one figure that a busy machine does not change much.

Promises: what signing in costs is no part of it: two runs of different length are counted, and their difference is divided.
Deliberately not here: time. A traced process is slow, and groups more commits than it would otherwise.
"""

import load
from process import SystemCalls

# What moves the bytes of sessions. Plain read and write are wake-ups between threads (eventfd).
DATA = {"readv", "recvfrom", "recvmsg", "writev", "sendto", "sendmsg"}
SHAPES = [("simple", 1), ("simple", 8), ("prepared", 1), ("prepared", 8)]
SHORT, LONG = 100, 900
# What differs between two sign-ins, divided by the transactions between.
NOISE = 0.02


def measure(bench):
    contestants = [bench.stage.pgbouncer, bench.proxy] + ([bench.unaudited] if 3 in bench.rows else [])
    for number in range(bench.call_rounds):
        for mode, clients in SHAPES:
            for contestant in contestants:
                bench.say(f"system calls: {contestant.name}, {mode}, {clients} clients")
                calls = for_each(bench.stage, contestant, mode, clients)
                bench.record("calls", number, contestant=contestant.name, mode=mode, clients=clients, calls=calls)


def for_each(stage, contestant, mode, clients, short=SHORT, long=LONG):
    """Calls by name for one transaction."""

    def count(each):
        with SystemCalls(contestant.pid, stage.dir) as traced:
            done = load.transactions(stage, contestant, mode, clients, False, each)
        return done, traced.calls

    (few, before), (many, after) = count(short), count(long)
    names = sorted(set(before) | set(after))
    slopes = {name: (after.get(name, 0) - before.get(name, 0)) / (many - few) for name in names}
    return {name: round(slope, 3) for name, slope in slopes.items() if abs(slope) >= NOISE}


def total(calls):
    return sum(calls.values())


def data(calls):
    return sum(count for name, count in calls.items() if name in DATA)
