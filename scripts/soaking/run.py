#!/usr/bin/env python3
"""Runs the soak on a stage that scripts/soak has set up, and judges it. Exit code 0 when all of it holds."""

import argparse
import collections
import csv
import json
import random
import subprocess
import sys
import threading
import time

import psycopg

import faults
import load
import report
from stage import ALICE, BOB, Stage

SAMPLE_S = 5.0
STATEMENT_S = 0.1
CALM_S = 40.0
# Fewer than the proxy lets one login sign in at the same time.
CROWD_EACH = 8


class Soak:
    """The run: threads that come and go, and what they saw."""

    def __init__(self, stage, seconds):
        self.stage = stage
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.over = threading.Event()
        self.visits = collections.Counter()
        self.wrong = []
        self.samples, self.waits, self.episodes = [], [], []

    def now(self):
        return time.monotonic() - self.started

    def note_wrong(self, what):
        print(f"  {self.now():7.0f} s  WRONG: {what}", file=sys.stderr, flush=True)
        self.wrong.append(f"{self.now():.0f} s: {what}")

    def visit(self, kind, pause):
        """One kind of client, over and over."""
        self.over.wait(random.random() * pause)
        while not self.over.is_set():
            try:
                kind(self.stage)
                self.visits[kind.__name__, "well"] += 1
            except AssertionError as error:
                self.visits[kind.__name__, "wrong"] += 1
                self.note_wrong(f"{kind.__name__}: {error}")
            except (psycopg.Error, OSError):
                self.visits[kind.__name__, "failed"] += 1
            except Exception as error:  # The load itself is wrong: said, and not hidden among the failures.
                self.note_wrong(f"{kind.__name__}: {error!r}")
            self.over.wait(random.expovariate(1 / pause))

    def stand_by(self, who, connect):
        """A session that does nothing wrong, and measures how long its statements take."""
        session = None
        while not self.over.is_set():
            try:
                session = session or connect()
                session.autocommit = True
                begun = time.perf_counter()
                session.execute("select 1")
                self.waits.append((self.now(), who, (time.perf_counter() - begun) * 1000))
            except psycopg.Error as error:
                if error.sqlstate != "58030" and not self.over.is_set():
                    self.note_wrong(f"the bystander ({who}) was hurt: {error}")
                    session = None
            self.over.wait(STATEMENT_S)
        if session:
            session.close()

    def crowd(self):
        """Many at once, in the warm-up: threads and the allocator's arenas reach their number before it is judged."""
        for _ in range(3):
            together = threading.Barrier(2 * CROWD_EACH)
            members = [threading.Thread(target=self.member, args=(login, together)) for login in [ALICE, BOB] * CROWD_EACH]
            for member in members:
                member.start()
            for member in members:
                member.join()

    def member(self, login, together):
        try:
            with self.stage.connect(login) as session:
                together.wait(10)
                session.execute("select length(%s)", ("c" * 300_000,))
        except (psycopg.Error, threading.BrokenBarrierError):
            self.visits["crowd", "failed"] += 1

    def sample(self):
        """Looks at the process from outside and inside."""
        while True:
            self.samples.append(sample(self.stage, self.now()))
            if self.over.wait(SAMPLE_S):
                return

    def go_wrong(self, reports):
        """One fault after the other, with calm between."""
        kinds = [(name, fault) for name, fault in faults.FAULTS if name != "disk full" or self.stage.options.disk]
        turn = 0
        while not self.over.wait(CALM_S):
            name, fault = kinds[turn % len(kinds)]
            turn += 1
            begun = self.now()
            try:
                fault(self.stage, reports)
            except AssertionError as error:
                self.note_wrong(f"{name}: {error}")
            except (psycopg.Error, OSError) as error:
                print(f"  {self.now():7.0f} s  {name} came to nothing: {error}", file=sys.stderr)
            self.episodes.append((name, begun, self.now()))

    def run(self):
        reports = faults.Reports(self.stage.options)
        tasks = [(self.visit, kind, pause) for kind, pause in load.VISITS]
        tasks += [(self.stand_by, "through the proxy", lambda: self.stage.connect(ALICE))]
        tasks += [(self.stand_by, "direct", self.stage.direct)]
        tasks += [(self.sample,), (self.go_wrong, reports), (self.crowd,)]
        threads = [threading.Thread(target=task, args=arguments, daemon=True) for task, *arguments in tasks]
        for thread in threads:
            thread.start()
        while time.monotonic() < self.end:
            time.sleep(min(30, max(0.1, self.end - time.monotonic())))
            last = self.samples[-1] if self.samples else {}
            print(f"  {self.now():7.0f} s  {last.get('rss_kib')} KiB  {last.get('fds')} fds", file=sys.stderr, flush=True)
        self.over.set()
        for thread in threads:
            thread.join(90)
        self.note_hanging(threads)
        self.note_rest()
        reports.stop()

    def note_hanging(self, threads):
        for thread in threads:
            if thread.is_alive():
                self.note_wrong(f"a client hangs: {thread.name}")

    def note_rest(self):
        """Every session has ended, and whatever it had is given back."""
        gauges = ["safe_boundary_connections", "safe_boundary_pending_logins"]
        gauges += [f'safe_boundary_sessions{{database="{name}"}}' for name in ("payments", "reports")]
        end = time.monotonic() + 60
        while any((scrape := self.stage.scrape())[gauge] for gauge in gauges):
            if time.monotonic() > end:
                self.note_wrong(f"not all has ended: { {gauge: scrape[gauge] for gauge in gauges} }")
                break
            time.sleep(0.5)
        for name, number in scrape.items():
            if number and (name == "safe_boundary_panics_total" or '"internal"' in name):
                self.note_wrong(f"{name} is {number}")
        self.last = scrape


def sample(stage, at):
    pid = stage.options.proxy
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        status = dict(line.split(":", 1) for line in file)
    numbers = stage.scrape()
    total = lambda name: sum(number for key, number in numbers.items() if key.split("{")[0] == name)
    return {
        "at_s": round(at, 2),
        "rss_kib": int(status["VmRSS"].split()[0]),
        "arenas": arenas(pid),
        "anon_kib": int(status["RssAnon"].split()[0]),
        "fds": int(numbers["process_open_fds"]),
        "threads": int(numbers["process_threads"]),
        "cpu_s": numbers["process_cpu_seconds_total"],
        "sessions": int(total("safe_boundary_sessions")),
        "connections": int(numbers["safe_boundary_connections"]),
        "pending_logins": int(numbers["safe_boundary_pending_logins"]),
        "opened": int(total("safe_boundary_sessions_opened_total")),
        "logins": int(total("safe_boundary_logins_total")),
        "refusals": int(total("safe_boundary_refusals_total")),
        "statements": int(numbers["safe_boundary_statements_recorded_total"]),
        "refused_statements": int(numbers["safe_boundary_statements_refused_total"]),
        "records": int(numbers["safe_boundary_journal_records_total"]),
        "written_bytes": int(numbers["safe_boundary_journal_written_bytes_total"]),
        "queue": int(numbers["safe_boundary_journal_queue_batches"]),
        "disk_used": numbers["safe_boundary_journal_disk_used_ratio"],
        "is_ready": int(numbers["safe_boundary_ready"]),
    }


def arenas(pid):
    """The allocator's heaps beside the main one: it makes one for each thread that runs at the same time, up to a bound."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        starts = (int(line.split("-")[0], 16) for line in file if " rw-p 00000000 00:00 0" in line)
        return sum(start % (64 << 20) == 0 for start in starts)


def after(soak, options):
    """What is left when all have gone: the log and the trail."""
    with open(f"{options.work}/proxy.log", encoding="utf-8") as log:
        bugs = [line.strip() for line in log if "internal error" in line]
    for line in bugs:
        soak.note_wrong(line)
    verify = subprocess.run(
        [options.binary, "audit", "--dir", f"{options.work}/audit", "verify"], capture_output=True, text=True, check=False
    )
    if verify.returncode != 0:
        soak.note_wrong(f"audit verify: {verify.returncode} {verify.stdout} {verify.stderr}")
    return verify.stdout.strip()


def write(soak, options):
    with open(f"{options.out}/samples.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(soak.samples[0]))
        table.writeheader()
        table.writerows(soak.samples)
    with open(f"{options.out}/bystanders.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["at_s", "who", "ms"])
        table.writerows((f"{at:.2f}", who, f"{ms:.3f}") for at, who, ms in soak.waits)
    with open(f"{options.out}/episodes.json", "w", encoding="utf-8") as file:
        json.dump(soak.episodes, file)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ["work", "out", "issuer", "postgres", "disk", "binary"]:
        parser.add_argument(f"--{name}", required=True)
    for name in ["minutes", "proxy", "provider", "database", "reports"]:
        parser.add_argument(f"--{name}", required=True, type=int)
    return parser.parse_args()


def main():
    options = arguments()
    with open(f"{options.work}/soak.sql", "w", encoding="utf-8") as script:
        script.write("\\set id random(1, 50)\nselect count(*) from orders where id = :id;\n")
    soak = Soak(Stage(options), options.minutes * 60)
    soak.run()
    verified = after(soak, options)
    write(soak, options)
    text, holds = report.judge(soak, verified, has_disk=bool(options.disk))
    with open(f"{options.out}/report.txt", "w", encoding="utf-8") as file:
        file.write(text)
    with open(f"{options.out}/soak.svg", "w", encoding="utf-8") as file:
        file.write(report.chart(soak))
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
