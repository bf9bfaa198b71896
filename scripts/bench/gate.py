"""The regression gate of ./test: system calls per transaction, and processor time beside PgBouncer in the same run.

Promises: no absolute time is judged. A busy machine can only make a figure worse, so the best of several rounds counts, and
there are further rounds only while a bound is not met.
Deliberately not here: what the figures ought to be one day; the bounds say what they must not become again.
"""

import sys

import calls
import load
from stage import Stage

ROUNDS_MAX = 4
SECONDS = 2
SHORT, LONG = 50, 450
FOUR_DATA_CALLS = 4.1

# (mode, clients): the most system calls in all, and the most that move data, for one transaction. Data: each message is read
# once and written once, the query and the answer, which is four, fewer where one read brings several sessions' wake-ups
# nothing saves. In all: what is needed besides is waiting for sockets and for the journal; the bound is what was found (see
# docs/performance.md), and a fifth more, since who waits for whom differs from run to run.
CALLS_MAX = {
    ("simple", 1): (16, FOUR_DATA_CALLS),
    ("simple", 8): (16, FOUR_DATA_CALLS),
    ("prepared", 1): (16, FOUR_DATA_CALLS),
}

# Processor time per transaction in units of PgBouncer's, with 8 clients.
CPU_RATIO_MAX = 5


def run(asked):
    with Stage(asked.dir) as stage:
        proxy, _ = stage.proxy(asked.binary)
        held = [_calls(stage, proxy, *shape, *bounds) for shape, bounds in CALLS_MAX.items()]
        held.append(_cpu(stage, proxy))
    return 0 if all(held) else 1


def _judge(what, found, bound, more=""):
    holds = found <= bound
    print(f"gate: {what}: {found:.2f}, at most {bound}{'' if holds else ': TOO MUCH'}{more}", file=sys.stderr)
    return holds


def _calls(stage, proxy, mode, clients, most, most_data):
    for _ in range(ROUNDS_MAX):
        found = calls.for_each(stage, proxy, mode, clients, SHORT, LONG)
        if calls.total(found) <= most and calls.data(found) <= most_data:
            break
    shape = f"system calls per transaction, {mode}, {clients} clients"
    in_all = _judge(f"{shape}", calls.total(found), most, f" {found}")
    return _judge(f"{shape}, data", calls.data(found), most_data) and in_all


def _cpu(stage, proxy):
    best = float("inf")
    for _ in range(ROUNDS_MAX):
        theirs, ours = (load.window(stage, who, "simple", 8, False, SECONDS)["cpu_us"] for who in (stage.pgbouncer, proxy))
        best = min(best, ours / theirs)
        if best <= CPU_RATIO_MAX:
            break
    return _judge("CPU per transaction in units of PgBouncer's, 8 clients", best, CPU_RATIO_MAX)
