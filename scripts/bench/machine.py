"""Where a run took place, so that nobody takes its figures for another machine's.

Deliberately not here: names of machines and people.
"""

import os
import platform
import re
import resource
import subprocess
from pathlib import Path

from stage import ROOT, postgres_bin


def about(folder, binary):
    return {"machine": machine(folder), "versions": versions(binary), "commit": commit()}


def machine(folder):
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    return {
        "processors": f"{os.cpu_count()} × {processor[1] if processor else platform.machine()}",
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "disk": disk(folder),
        "descriptors of a process": f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]:,}",
    }


def disk(folder):
    """The file system under the trail; on one in memory a sync costs nothing, and no figure means anything."""
    found = subprocess.run(["findmnt", "-no", "FSTYPE,SOURCE", "-T", folder], capture_output=True, text=True, check=False)
    return " on ".join(found.stdout.split()) or "unknown"


def is_in_memory(folder):
    return disk(folder).startswith(("tmpfs", "ramfs"))


def versions(binary):
    first = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]  # noqa: E731
    return {
        "Safe Boundary": first(binary, "--version"),
        "PostgreSQL": first(postgres_bin() / "postgres", "--version"),
        "PgBouncer": first("pgbouncer", "--version"),
        "Rust": first("rustc", "--version"),
        "Python (the client of streams and idle sessions)": platform.python_version(),
    }


def commit():
    git = lambda *what: subprocess.run(["git", "-C", ROOT, *what], capture_output=True, text=True, check=False).stdout.strip()  # noqa: E731
    changed = " and changes that are not committed" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed
