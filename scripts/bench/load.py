"""Load by pgbench: select-only statements, one after the other on each session.

Promises: signing in is no part of a figure: the window that counts begins when all sessions have worked for a second.
Deliberately not here: who is measured, and in which order.
"""

import re
import statistics
import subprocess
import time
from pathlib import Path
from signal import SIGINT

import process
from process import Failed

THREADS_MAX = 4
CONNECT_SECONDS_MAX = 120
PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")


def command(stage, contestant, mode, clients, tls, *more):
    """Clients connect one after the other in each thread, and signing in takes a second: hence more than one thread."""
    threads = min(clients, THREADS_MAX)
    options = ["-n", "-S", "-M", mode, "-c", clients, "-j", threads, *more, contestant.conninfo(tls)]
    return [str(part) for part in (stage.bin / "pgbench", *options)]


def environment(stage, contestant):
    return stage.environment() | {"PGPASSWORD": contestant.password}


def window(stage, contestant, mode, clients, tls, seconds, begun=lambda: None):
    """Works for so many whole seconds: transactions a second, and the proxy's processor time for each. `begun` is called
    when they begin."""
    log = stage.dir / "latencies"
    # Each transaction's time is wanted where it is not the queue in front of two processors that is measured.
    logged = ["-l", f"--log-prefix={log}"] if clients == 1 else []
    endless = ["-t", 2**31 - 1, "-P", 1, "--progress-timestamp", *logged]
    # It reports progress from when all are connected; then once each second. Results it gives only at an end that we do
    # not let it reach.
    running = subprocess.Popen(
        command(stage, contestant, mode, clients, tls, *endless), env=environment(stage, contestant),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    try:
        samples = _samples(running, contestant, seconds, begun)
    finally:
        running.send_signal(SIGINT)
        running.wait()
        running.stderr.close()
    transactions = sum(tps * (at - before) for (before, _, _), (at, tps, _) in zip(samples, samples[1:]))
    elapsed = samples[-1][0] - samples[0][0]
    figure = {"tps": transactions / elapsed, "clients": clients, "mode": mode, "tls": tls, "contestant": contestant.name}
    if contestant.pid:
        figure["cpu_us"] = (samples[-1][2] - samples[0][2]) / transactions * 1e6
    if logged:
        figure |= _latency(log)
    return figure


def _samples(running, contestant, seconds, begun):
    """(time, transactions a second since the one before, processor time so far), once a second."""
    samples, said = [], []
    for line in process.lines_until(running.stderr, time.monotonic() + CONNECT_SECONDS_MAX + seconds):
        said.append(line)
        if found := PROGRESS.match(line):
            cpu = process.cpu_s(contestant.pid) if contestant.pid else 0
            samples.append((float(found[1]), float(found[2]), cpu))
            if len(samples) == 1:
                begun()
            if len(samples) > seconds:
                return samples
    raise Failed(f"pgbench through {contestant.name} ended early: {' / '.join(said[-5:])}")


def _latency(log):
    """pgbench was interrupted: the last line may be torn, and of very few transactions there is no line at all."""
    paths = list(Path(log.parent).glob(log.name + ".*"))
    lines = [line for path in paths for line in path.read_text().splitlines()[:-1]]
    for path in paths:
        path.unlink()
    waits = sorted(int(line.split()[2]) for line in lines)
    if not waits:
        return {}
    return {"p50_us": float(statistics.median(waits)), "p99_us": waits[len(waits) * 99 // 100]}


def transactions(stage, contestant, mode, clients, tls, each):
    """So many transactions on each session, signing in included. Returns how many there were."""
    done = subprocess.run(
        command(stage, contestant, mode, clients, tls, "-t", each), env=environment(stage, contestant),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CONNECT_SECONDS_MAX, check=False,
    )
    if done.returncode != 0:
        raise Failed(f"pgbench through {contestant.name} failed: {done.stderr.strip()[-1000:]}")
    return each * clients
