"""What goes wrong around the proxy, one thing after the other, with calm between. Each says when it began and ended."""

import os
import signal
import subprocess
import time

import psycopg

from stage import ALICE


class Reports:
    """The second server, which is stopped and started again."""

    def __init__(self, options):
        mortal = ["setpriv", "--pdeathsig", "INT"]
        if os.getuid() == 0:
            mortal += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        data = f"{options.work}/reports"
        self.command = [*mortal, f"{options.postgres}/postgres", "-D", data, "-p", str(options.reports)]
        self.is_ready = [f"{options.postgres}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(options.reports)]
        self.log = open(f"{options.work}/reports.log", "ab")  # noqa: SIM115
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, cwd="/", stdout=self.log, stderr=self.log)
        end = time.monotonic() + 60
        while subprocess.run(self.is_ready, check=False).returncode != 0:
            assert time.monotonic() < end and self.process.poll() is None, "the second server does not start"
            time.sleep(0.2)

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait()


def restart(stage, reports):
    """The server goes away in the middle of everything (immediate shutdown), and comes back."""
    reports.stop(signal.SIGQUIT)
    time.sleep(3)
    reports.start()


def provider_hangs(stage, _):
    """The identity provider takes connections and does not answer."""
    pid = stage.options.provider
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(8)
        assert stage.get("/readyz")[0] == 200, "it is not ready because of the identity provider"
    finally:
        os.kill(pid, signal.SIGCONT)


def disk_full(stage, _):
    """No room for records: statements are refused, sessions live, and it mends itself."""
    ballast = f"{stage.options.disk}/ballast"
    with stage.connect(ALICE) as session:
        session.autocommit = True
        session.execute("select 1")
        with open(ballast, "wb", buffering=0) as file:
            free = os.statvfs(stage.options.disk)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - 65536, 1))
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                pass
            refused = refused_within(session, 30)
            ready = stage.get("/readyz")
            time.sleep(3)
        os.remove(ballast)
        end = time.monotonic() + 30
        while stage.get("/readyz")[0] != 200:
            assert time.monotonic() < end, "the journal does not mend itself"
            time.sleep(0.2)
        assert session.execute("select 2").fetchone() == (2,), "the session did not live"
    assert refused and ready == (503, "not ready: the disk of the audit log is full\n"), (refused, ready)


def refused_within(session, seconds):
    """Runs long statements until one is refused for want of room."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            session.execute("select length('" + "f" * 15_000 + "')")
        except psycopg.Error as error:
            return error.sqlstate == "58030"
    return False


FAULTS = [("upstream restart", restart), ("identity provider hangs", provider_hangs), ("disk full", disk_full)]
