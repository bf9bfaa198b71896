"""What ./bench does once everything is installed and built; `./bench --help` says how it is called.

Deliberately not here: any measuring; one module for each kind of it.
"""

import argparse
import datetime
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import calls
import chat
import gate
import machine
import page
import sessions
import stream
from figures import Figures
from process import Failed
from stage import ROOT, Stage
from targets import OURS, UNAUDITED, targets, verdict_text

CALLS = "calls"
ALL_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 12, CALLS)
QUICK_ROWS = (1, 2, 4, CALLS)

# Built for each run that measures short statements: what no audited proxy can do with less than.
FLUSHING_PROGRAM = "flushing_pipe"

# Which module measures which rows.
MEASURES = (
    (chat.measure, {1, 2, 3, 4, 5}),
    (calls.measure, {3, CALLS}),
    (stream.measure, {6}),
    (sessions.measure_new, {8}),
    (sessions.measure_idle, {7, 12}),
)


class Bench:
    """One run: what is asked for, who takes part, and what was found."""

    def __init__(self, arguments, stage, figures):
        self.stage, self.figures, self.binary, self.flushing = stage, figures, arguments.binary, arguments.flushing
        self.rows = set(arguments.rows)
        self.is_full = self.rows == set(ALL_ROWS)
        self.rounds, self.seconds = arguments.rounds, arguments.seconds
        self.call_rounds = min(2, self.rounds)
        self.transports = (False,) if arguments.quick else (False, True)
        self.stream_bytes = arguments.stream_mb * 10**6
        self.proxy, _ = stage.proxy(self.binary, OURS)
        if 3 in self.rows:
            self.unaudited, _ = stage.proxy(arguments.unaudited, UNAUDITED)
        self.begun = time.monotonic()

    def say(self, what):
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        print(f"{minutes:3}:{seconds:02} {what}", file=sys.stderr)

    def record(self, measure, number, **figure):
        entry = {"measure": measure, "round": number, **figure, "load": round(os.getloadavg()[0], 2)}
        self.figures.raw.append(entry)
        shown = " ".join(f"{name}={value:.4g}" for name, value in figure.items() if isinstance(value, float))
        print(f"       {shown or figure.get('calls', '')}", file=sys.stderr)


def row(text):
    found = CALLS if text == CALLS else int(text) if text.isdigit() else None
    if found not in ALL_ROWS:
        raise argparse.ArgumentTypeError(f"there is no row `{text}`; there are {', '.join(map(str, ALL_ROWS))}")
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="./bench", add_help=False)
    parser.add_argument("rows", nargs="*", type=row)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--gate", action="store_true")
    parser.add_argument("--page", nargs="?", type=Path, const=ROOT / "bench-results.json")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--stream-mb", type=int, default=1000)
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results.json")
    parser.add_argument("--binary", type=Path)
    found = parser.parse_args()
    found.rows = found.rows or (QUICK_ROWS if found.quick else ALL_ROWS)
    found.rounds = found.rounds or (2 if found.quick else 5)
    found.seconds = found.seconds or (2 if found.quick else 4)
    return found


def build(asked):
    """The binaries that the run needs: the one that is released, and for row 3 the one that never is.

    The gate takes one that is not optimized across crates: after a change that is built sooner, and its bounds allow for it.
    """
    asked.binary = asked.binary or cargo_build(*(["release", "--release"] if asked.gate else ["dist", "--profile", "dist"]))
    if asked.gate:
        return
    asked.flushing = cargo_build("dist/examples", "--profile", "dist", "--example", FLUSHING_PROGRAM, program=FLUSHING_PROGRAM)
    if 3 in asked.rows:
        asked.unaudited = cargo_build("unaudited", "--profile", "unaudited", "--features", "unaudited-bench")


def cargo_build(folder, *how, program="safe-boundary"):
    command = ["cargo", "build", "--locked", "--manifest-path", ROOT / "Cargo.toml", "--package", "safe-boundary", *how]
    subprocess.run(command, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / folder / program


def command(given):
    """As it was typed, without the paths of this machine."""
    shown = (word for at, word in enumerate(given) if not {word, *given[at - 1 : at]} & {"--out", "--dir", "--binary"})
    return " ".join(["./bench", *shown])


def measure(asked):
    if machine.is_in_memory(asked.dir):
        raise Failed(f"{asked.dir} is in memory, where a sync costs nothing: name a folder on a disk with --dir")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    begun, started = datetime.datetime.now(datetime.UTC), time.monotonic()
    figures = Figures({
        "command": command(sys.argv[1:]),
        "begun": begun.isoformat(timespec="seconds"), "rounds": asked.rounds, "seconds": asked.seconds,
        **machine.about(asked.dir, asked.binary),
    })  # fmt: skip
    with Stage(asked.dir) as stage:
        bench = Bench(asked, stage, figures)
        for run, rows in MEASURES:
            if rows & bench.rows:
                run(bench)
    figures.about["took_s"] = round(time.monotonic() - started)
    return figures


def report(figures):
    for line in targets(figures):
        print(f"{line.row:>3}  {line.what:<72} {line.shown():<34} floor {line.shown_floor():<28} must {verdict_text(line, line.must):<16} aim {verdict_text(line, line.aim)}")
    print()
    print(page.call_table(figures))


def main():
    # So that what was started is ended also then. A job in the background is born with SIGINT ignored, and so would be its
    # children, some of which are ended by it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = arguments()
    try:
        if asked.page:
            page.write(Figures.read(asked.page), asked.page, ROOT / "docs")
            return 0
        build(asked)
        if asked.gate:
            return gate.run(asked)
        figures = measure(asked)
        figures.write(asked.out)
        report(figures)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
