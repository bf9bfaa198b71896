"""Programs that are started, measured from outside, and ended by their own id.

Promises: what a Programs began has ended when it is closed, however the run ends.
Deliberately not here: which programs, and what the figures mean.
"""

import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """A program, or the machine, did not do what a measurement needs."""


class Program:
    """One running program. Its stdout and stderr go to a file, unless they are wanted."""

    def __init__(self, name, command, log, stop=signal.SIGTERM, **options):
        self.name, self.stop, self.log = name, stop, Path(log)
        with open(log, "wb") as out:
            options = {"stdout": out, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL} | options
            self.process = subprocess.Popen([str(part) for part in command], **options)
        self.pid = self.process.pid

    def wait_until(self, ready, seconds=60):
        """Until `ready` returns something true, which is returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if found := ready():
                return found
            time.sleep(0.02)
        raise Failed(f"{self.name} was not ready within {seconds} s:\n{self.log.read_text(errors='replace')[-2000:]}")

    def find_in_log(self, pattern):
        found = re.search(pattern, self.log.read_text(errors="replace"))
        return found and found[1]

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Programs:
    """All that a run has started; the newest ends first."""

    def __init__(self):
        self.running = []

    def start(self, *args, **options):
        program = Program(*args, **options)
        self.running.append(program)
        return program

    def end(self, program):
        self.running.remove(program)
        program.end()

    def close(self):
        while self.running:
            self.running.pop().end()


def cpu_s(pid):
    """Processor time of a process so far, to the nanosecond, threads that have ended included.

    The clock of another process, as clock_getcpuclockid(3) names it; /proc/PID/stat counts in hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | 2)


def resident_bytes(pid):
    """What a process holds in memory. smaps_rollup, because statm is off by some pages for each processor."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", rollup, re.M)[1]) * 1024


class SystemCalls:
    """Counts the system calls of a process and all its threads while it is entered: `calls` by name afterwards."""

    def __init__(self, pid, folder):
        self.pid, self.report = pid, Path(folder) / "strace.txt"
        self.calls = {}

    def __enter__(self):
        command = ["strace", "-c", "-f", "-q", "-o", str(self.report), "-p", str(self.pid)]
        self.strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 10
        while not self._traces_all():
            if self.strace.poll() is not None or time.monotonic() > end:
                self.strace.kill()
                said = self.strace.communicate()[1].decode().strip()
                raise Failed(f"strace cannot attach to process {self.pid} (root, or kernel.yama.ptrace_scope=0): {said}")
            time.sleep(0.01)
        return self

    def _traces_all(self):
        states = [task.joinpath("status").read_text() for task in Path(f"/proc/{self.pid}/task").iterdir()]
        return all(f"TracerPid:\t{self.strace.pid}\n" in state for state in states)

    def __exit__(self, *_):
        self.strace.send_signal(signal.SIGINT)
        self.strace.communicate(timeout=30)
        for line in self.report.read_text().splitlines():
            # % time, seconds, usecs/call, calls, errors (may be absent), name
            row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
            if row and row[2] != "total":
                self.calls[row[2]] = int(row[1])


def lines_until(stream, deadline):
    """The lines of a pipe as they come, until it ends. Fails at the deadline (monotonic)."""
    pending, ready = b"", select.poll()
    ready.register(stream, select.POLLIN)
    while True:
        if not ready.poll(max(0, deadline - time.monotonic()) * 1000):
            raise Failed("a load made no progress")
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            return
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
