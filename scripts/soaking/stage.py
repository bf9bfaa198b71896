"""What the soak works with: the proxy's log and metrics, the people's browser, connections, programs.

Everything here gives up after a time of its own, so that no part of the load can hang the whole.
"""

import json
import os
import re
import select
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg
from psycopg import pq

PROMPT = re.compile(r"sign in to continue: open \S+ and enter ([A-Z0-9-]+)")
ALICE, BOB, MALLORY = (f"{name}@example.com" for name in ("alice", "bob", "mallory"))
PATIENCE = 25.0


class Stage:
    """Where everything is."""

    def __init__(self, options):
        self.options = options
        self.ports, self.metrics = {}, None
        with open(f"{options.work}/proxy.log", encoding="utf-8") as log:
            for line in filter(lambda line: '"listening"' in line, log):
                said = json.loads(line)
                port = int(said["address"].rsplit(":", 1)[1])
                if "paths" in said:
                    self.metrics = f"http://127.0.0.1:{port}"
                else:
                    self.ports[said["databases"]] = port
        # A lone thread that asks for a code at the provider's pages: they are slow, and it is one program.
        self.browser = threading.Semaphore(2)

    def conninfo(self, login, database="payments"):
        return (
            f"host=localhost hostaddr=127.0.0.1 port={self.ports[database]} dbname=payments user={login} "
            f"sslmode=verify-full sslrootcert={self.options.work}/ca.crt application_name=psql"
        )

    def direct(self):
        """Around the proxy: what the machine itself makes of a statement."""
        with open(f"{self.options.work}/payments_rw.password", encoding="utf-8") as file:
            password = file.read().strip()
        return psycopg.connect(
            f"host=localhost hostaddr=127.0.0.1 port={self.options.database} dbname=payments user=payments_rw "
            f"password={password} sslmode=require",
            autocommit=True,
        )

    def get(self, path):
        try:
            with urllib.request.urlopen(self.metrics + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def scrape(self):
        """All samples: name with labels, number."""
        _, page = self.get("/metrics")
        lines = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return {name: float(number) for name, number in lines}

    def approve(self, code, login, deny=False):
        body = json.dumps({"code": code, "login": login, "deny": deny}).encode()
        with self.browser:
            try:
                urllib.request.urlopen(f"{self.options.issuer}/control/approve", body, timeout=10).read()
            except OSError:
                pass  # The provider is one of the things that go wrong here; the client is told by the proxy.

    def connect(self, login, database="payments", answer=None):
        """A session of libpq's. `answer` gets the code; without it the person signs in as who she is."""
        answer = answer or (lambda code: self.approve(code, login))
        pgconn = pq.PGconn.connect_start(self.conninfo(login, database).encode())

        def heard(result):
            prompt = PROMPT.search(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY).decode())
            if prompt:
                threading.Thread(target=answer, args=(prompt[1],), daemon=True).start()

        pgconn.notice_handler = heard
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            match pgconn.connect_poll():
                case pq.PollingStatus.OK:
                    pgconn.nonblocking = 1
                    return psycopg.Connection(pgconn)
                case pq.PollingStatus.FAILED:
                    message = pgconn.error_message.decode(errors="replace")
                    pgconn.finish()
                    raise psycopg.OperationalError(message)
                case pq.PollingStatus.READING:
                    select.select([pgconn.socket], [], [], 1)
                case pq.PollingStatus.WRITING:
                    select.select([], [pgconn.socket], [], 1)
        pgconn.finish()
        raise psycopg.OperationalError("no session in time")

    def run(self, program, *arguments, login=ALICE, database="payments", script=""):
        """A program of PostgreSQL's own, signed in from what it shows on its stderr."""
        path = f"{self.options.postgres}/{program}"
        environment = {**os.environ, "PGAPPNAME": program}
        conninfo = self.conninfo(login, database).replace("application_name=psql", f"application_name={program}")
        process = subprocess.Popen(
            [path, *arguments, conninfo],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            process.stdin.write(script)
            process.stdin.close()
        except BrokenPipeError:
            pass
        told = []
        for line in process.stderr:
            told.append(line)
            if prompt := PROMPT.search(line):
                self.approve(prompt[1], login)
        status = process.wait()
        watchdog.cancel()
        process.stderr.close()
        return status, "".join(told)
