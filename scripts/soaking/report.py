"""What a soak says: slopes with their confidence, what the bystander felt, a chart."""

import math
import statistics

# What is judged, in its unit, and the growth an hour that is none: a day of it is less than what one busy session takes.
# A leak is in memory without a file behind it (anon). Resident memory is told and not judged: it also grows with each
# page of the program that is run for the first time, and rare faults come late.
COLUMNS = [("anon_kib", "KiB", 256), ("rss_kib", "KiB", None), ("arenas", "arenas", None), ("fds", "descriptors", 1), ("threads", "threads", 1)]
# What is judged must last so long: before, a slope an hour says nothing.
JUDGED_S_MIN = 600
# Neighbouring samples see the same sessions: they are averaged until they are independent enough to be counted.
BLOCK_S = 30

# Two-sided 95 % of Student's distribution, by degrees of freedom; beyond, the last is good enough.
STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 15: 2.13, 20: 2.09, 30: 2.04, 60: 2.00}


def warm_up(soak):
    """The part that is not judged: buffers, threads and the allocator find their size."""
    return min(600, max(60, 0.25 * soak.samples[-1]["at_s"]))


def blocks(soak, column):
    """Averages of the time after the warm-up."""
    found = {}
    for row in soak.samples:
        if row["at_s"] >= warm_up(soak):
            found.setdefault(int(row["at_s"] // BLOCK_S), []).append((row["at_s"], row[column]))
    return [(statistics.mean(at for at, _ in block), statistics.mean(n for _, n in block)) for block in found.values()]


def slope(points):
    """Least squares: the slope per hour, half the width of its 95 % interval, and the line's value at 0."""
    if len(points) < 3:
        return 0.0, math.inf, points[0][1] if points else 0.0
    mean_x, mean_y = (statistics.mean(column) for column in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    per_s = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - per_s * (x - mean_x)) ** 2 for x, y in points)
    freedom = len(points) - 2
    student = STUDENT[max(known for known in STUDENT if known <= freedom)]
    return per_s * 3600, student * math.sqrt(rest / freedom / spread) * 3600, mean_y - per_s * mean_x


def halves(points):
    """Before and after the middle. A leak goes on as it began; what merely settles slows down."""
    middle = len(points) // 2
    return points[:middle], points[middle:]


def verdict(points, limit):
    """What becomes of a figure, and whether that is a leak. The heap grows in steps, each time more threads than ever before
    want memory at once, and a line through steps looks like a slope: so the second half must grow as well."""
    found, half, _ = slope(points)
    if found - half <= (limit or 0):
        return ("cannot be told from 0" if abs(found) <= half else f"{limit or 0} an hour at most"), False
    late, late_half, _ = slope(halves(points)[1])
    if limit and late + late_half <= limit:
        return f"settles: {limit} an hour at most in the second half", False
    return ("GROWS", True) if limit else ("grows", False)


def quantile(numbers, q):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, int(q * len(numbers)))] if numbers else math.nan


def is_within(soak, at, slack=1.0):
    return any(begun - slack <= at <= ended + slack for _, begun, ended in soak.episodes)


def felt(soak):
    """Waits of the bystanders in calm times and beside faults."""
    times = {}
    for at, who, ms in soak.waits:
        if at >= warm_up(soak):
            times.setdefault((who, "faults" if is_within(soak, at) else "calm"), []).append(ms)
    return times


def judge(soak, verified, has_disk):
    lines, holds = [], not soak.wrong
    last = soak.samples[-1]
    first = next(row for row in soak.samples if row["at_s"] >= warm_up(soak))
    lines.append(f"{last['at_s'] / 60:.0f} minutes, judged from {warm_up(soak):.0f} s on")
    used = (last["cpu_s"] - first["cpu_s"]) / (last["at_s"] - first["at_s"])
    lines.append(
        f"sessions {last['opened']}, sign-ins {last['logins']}, refusals {last['refusals']}, statements "
        f"{last['statements']} ({last['refused_statements']} refused), records {last['records']}, "
        f"journal {last['written_bytes'] / 2**20:.0f} MiB, the proxy used {used:.2f} of a processor"
    )
    counts = {}
    for name, _, _ in soak.episodes:
        counts[name] = counts.get(name, 0) + 1
    lines.append("faults: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if not has_disk:
        lines.append("no full disks: there was no file system to fill")
    is_long = last["at_s"] - warm_up(soak) >= JUDGED_S_MIN
    for column, unit, limit in COLUMNS:
        points = blocks(soak, column)
        found, half, _ = slope(points)
        said, leaks = verdict(points, limit) if is_long else ("too short to tell", False)
        holds = holds and not leaks
        values = [row[column] for row in soak.samples if row["at_s"] >= warm_up(soak)]
        first, second = (slope(half)[0] for half in halves(points))
        lines.append(
            f"{column}: {found:+.1f} {unit} an hour, 95 % between {found - half:+.1f} and {found + half:+.1f}: {said}; "
            f"from {min(values)} to {max(values)}; first half {first:+.0f}, second half {second:+.0f} an hour"
        )
    times = felt(soak)
    for who in ["through the proxy", "direct"]:
        for when in ["calm", "faults"]:
            waits = times.get((who, when), [])
            lines.append(
                f"bystander {who}, {when}: {len(waits)} statements, p50 {quantile(waits, 0.5):.2f} ms, "
                f"p99 {quantile(waits, 0.99):.1f} ms, longest {max(waits, default=math.nan):.0f} ms"
            )
    hurt = is_felt(times)
    holds = holds and not hurt
    lines.append(f"the bystander {'FELT the faults' if hurt else 'felt nothing beyond noise'}")
    kinds = sorted({kind for kind, _ in soak.visits})
    visits = [f"{kind} {soak.visits[kind, 'well']}+{soak.visits[kind, 'failed']}" for kind in kinds]
    lines.append("visits (well+failed, as the faults make some): " + ", ".join(visits))
    cancels = {name.split('"')[1]: int(count) for name, count in soak.last.items() if name.startswith("safe_boundary_cancels_total")}
    lines.append(f"cancel requests: {cancels}")
    lines.append(f"audit verify: {verified}")
    lines += [f"WRONG: {what}" for what in soak.wrong]
    lines.append("all of it holds" if holds else "it does NOT hold")
    return "\n".join(lines) + "\n", holds


def is_felt(times):
    """Whether faults cost the bystander more than they cost who is not at the proxy at all, twice over and 10 ms."""
    for q in [0.5, 0.99]:
        calm, faults = (quantile(times.get(("through the proxy", when), []), q) for when in ["calm", "faults"])
        machine = quantile(times.get(("direct", "faults"), []), q) / max(quantile(times.get(("direct", "calm"), []), q), 0.01)
        if faults > 2 * calm * max(machine, 1) + 10:
            return True
    return False


WIDTH, LEFT, RIGHT, PANEL, GAP, TOP = 900, 70, 20, 150, 50, 60
SHADES = {"upstream restart": "#f3d9b1", "identity provider hangs": "#cfe0f5", "disk full": "#f5c6c6"}


def chart(soak):
    """Memory, descriptors and threads, and the bystanders' waits, over time."""
    minutes = max(row["at_s"] for row in soak.samples) / 60
    panels = [
        (
            "memory of the proxy, MiB: resident (light), without a file behind it (dark)",
            [
                (color, [(row["at_s"] / 60, row[column] / 1024) for row in soak.samples])
                for color, column in [("#8fb3dd", "rss_kib"), ("#1f5fa8", "anon_kib")]
            ],
        ),
        (
            "open descriptors (dark), sessions (light)",
            [
                ("#333333", [(row["at_s"] / 60, row["fds"]) for row in soak.samples]),
                ("#999999", [(row["at_s"] / 60, row["sessions"]) for row in soak.samples]),
            ],
        ),
        (
            "a bystander's statement, ms, median and 99 % of each half minute: through the proxy (blue), direct (grey)",
            [(color, waits(soak, who, q)) for who, color in [("direct", "#999999"), ("through the proxy", "#1f5fa8")] for q in (0.5, 0.99)],
        ),
    ]
    height = TOP + len(panels) * (PANEL + GAP)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    x = LEFT
    for name, shade in SHADES.items():
        svg.append(f'<rect x="{x}" y="14" width="14" height="14" fill="{shade}"/><text x="{x + 20}" y="26">{name}</text>')
        x += 40 + 7 * len(name)
    across = lambda minute: LEFT + minute / minutes * (WIDTH - LEFT - RIGHT)
    for index, (title, series) in enumerate(panels):
        top = TOP + index * (PANEL + GAP)
        svg += panel(soak, top, title, series, across, minutes)
    svg.append(f'<text x="{WIDTH / 2}" y="{height - 8}" text-anchor="middle">minutes</text></svg>')
    return "\n".join(svg) + "\n"


def panel(soak, top, title, series, across, minutes):
    most = round_up(max((number for _, points in series for _, number in points), default=1))
    down = lambda number: top + PANEL - number / most * PANEL
    svg = [f'<text x="{LEFT}" y="{top - 8}">{title}</text>']
    for name, begun, ended in soak.episodes:
        x = across(begun / 60)
        svg.append(f'<rect x="{x:.1f}" y="{top}" width="{max(across(ended / 60) - x, 1):.1f}" height="{PANEL}" fill="{SHADES[name]}"/>')
    for part in range(5):
        number = most * part / 4
        svg.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(number):.1f}" y2="{down(number):.1f}" stroke="#dddddd"/>')
        svg.append(f'<text x="{LEFT - 6}" y="{down(number) + 4:.1f}" text-anchor="end">{number:.3g}</text>')
    for part in range(6):
        minute = minutes * part / 5
        svg.append(f'<text x="{across(minute):.1f}" y="{top + PANEL + 16}" text-anchor="middle">{minute:.0f}</text>')
    for color, points in series:
        line = " ".join(f"{across(minute):.1f},{down(number):.1f}" for minute, number in points)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    return svg


def round_up(number):
    """The next number that four lines divide into round ones."""
    ten = 10 ** math.floor(math.log10(max(number, 1)))
    return next(ten * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if ten * step >= number)


def waits(soak, who, q):
    found = {}
    for at, name, ms in soak.waits:
        if name == who and at <= soak.samples[-1]["at_s"]:
            found.setdefault(int(at // BLOCK_S), []).append(ms)
    last = soak.samples[-1]["at_s"]
    return [(min((block + 0.5) * BLOCK_S, last) / 60, quantile(times, q)) for block, times in sorted(found.items())]
