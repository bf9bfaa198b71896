"""Sessions by the thousand: what an idle one costs in memory, how soon a new one is answered, and what it costs the
processor to open one (rows 7, 12 and 8).

Promises: all sessions are real ones, signed in; behind the idle ones stands upstream.py, behind the working ones PostgreSQL.
Deliberately not here: what the kernel holds for a socket; that is the same for every proxy.
"""

import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import load
import process
from chat import turn
from stage import ROOT
from wire import SSL_REQUEST, TIMEOUT_S, Session

FEW, MANY, ACTIVE = 1_000, 10_000, 32
# Descriptors that a process needs besides two for each session.
SPARE_DESCRIPTORS = 200
# The proxy lets ten sign-ins of one login from one address be under way, and a hundred of one login from everywhere.
OPENERS, SOURCES = 80, 20
WARM = 32

PROBES = 400
PROBE_PAUSE_S = 0.02

NEW_SESSIONS = 200


def sessions_possible():
    """Two descriptors for each session, and the hard limit is often not ours to raise."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(MANY, (limit - SPARE_DESCRIPTORS) // 2 - ACTIVE)


def open_sessions(contestant, tls, port, count):
    with ThreadPoolExecutor(OPENERS) as openers:
        return list(openers.map(lambda at: Session(contestant, tls, port, f"127.0.1.{at % SOURCES + 1}"), range(count)))


def close_all(sessions):
    for session in sessions:
        session.socket.close()


def measure_idle(bench):
    """Rows 7 and 12. A proxy of its own for each transport, so that nobody's leftovers are counted."""
    command = ["setpriv", "--pdeathsig", "TERM", "python3", ROOT / "scripts/bench/upstream.py"]
    upstream = bench.stage.programs.start("the idle upstream", command, bench.stage.dir / "upstream.log")
    port = int(upstream.wait_until(lambda: upstream.find_in_log(r'"port": (\d+)')))
    for tls in bench.transports:
        proxy, idle_port = bench.stage.proxy(bench.binary, idle_upstream=port)
        held = []
        try:
            _measure_idle(bench, proxy, tls, idle_port, held)
        finally:
            close_all(held)
            bench.stage.end(proxy)
    bench.stage.programs.end(upstream)


def _measure_idle(bench, proxy, tls, port, held):
    close_all(open_sessions(proxy, tls, port, WARM))
    empty = _settled(proxy.pid)
    for count in (FEW, sessions_possible()):
        bench.say(f"{count} idle sessions{', TLS' if tls else ''}")
        begun = time.monotonic()
        held += open_sessions(proxy, tls, port, count - len(held))
        opened_s = time.monotonic() - begun
        each = (_settled(proxy.pid) - empty) / count
        bench.record("memory", 0, tls=tls, sessions=count, bytes_each=each, opened_s=opened_s)
    bench.say(f"{ACTIVE} active sessions beside {len(held)} idle ones")
    bench.record("accept", 0, tls=tls, sessions=len(held), **_accepting(bench, proxy, tls))


def _settled(pid):
    """Memory once it does not change any more."""
    before = -1
    while before != (now := process.resident_bytes(pid)):
        before = now
        time.sleep(0.5)
    return now


def _accepting(bench, proxy, tls):
    """How soon a new connection has its first answer while others work; and as long from PgBouncer, which has nothing to do
    at that time: what this machine takes at least."""
    waits = {proxy.port: [], bench.stage.pgbouncer.port: []}
    begun, seconds = threading.Event(), int(PROBES * PROBE_PAUSE_S) + 4
    with ThreadPoolExecutor(1) as aside:
        working = aside.submit(load.window, bench.stage, proxy, "simple", ACTIVE, tls, seconds, begun.set)
        while not begun.wait(0.1) and not working.done():
            pass
        for _ in range(0 if working.done() else PROBES):
            for port, found in waits.items():
                found.append(_probe(port))
            time.sleep(PROBE_PAUSE_S)
        tps = working.result()["tps"]
    ours, theirs = (sorted(found) for found in waits.values())
    at = lambda found, percent: found[len(found) * percent // 100] * 1e3  # noqa: E731
    return {
        "p50_ms": at(ours, 50), "p99_ms": at(ours, 99), "active": ACTIVE, "active_tps": tps,
        "reference_p50_ms": at(theirs, 50), "reference_p99_ms": at(theirs, 99),
    }  # fmt: skip


def _probe(port):
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as probe:
        probe.sendall(SSL_REQUEST)
        if probe.recv(1) != b"S":
            raise process.Failed("a new connection was not answered")
        return time.perf_counter() - begun


def measure_new(bench):
    """Row 8: the processor time of opening a session, sign-in, login upstream and records included."""
    for number in range(bench.rounds):
        for tls in bench.transports:
            for contestant in turn([bench.stage.pgbouncer, bench.proxy], number):
                bench.say(f"round {number + 1}: {contestant.name}, new sessions{', TLS' if tls else ''}")
                close_all(open_sessions(contestant, tls, None, 1))
                cpu = process.cpu_s(contestant.pid)
                close_all(open_sessions(contestant, tls, None, NEW_SESSIONS))
                each = (process.cpu_s(contestant.pid) - cpu) / NEW_SESSIONS * 1e6
                bench.record("new", number, tls=tls, contestant=contestant.name, cpu_us=each)
