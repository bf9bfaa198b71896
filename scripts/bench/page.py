"""docs/performance.md and its charts, from the figures of a run and the words of page.md.

Promises: the same figures give the same page, byte for byte; nothing written by hand is lost, because that is page.md.
Deliberately not here: measuring.
"""

import shutil
from pathlib import Path

import calls
import chart
from figures import Spread
from targets import DIRECT, FLUSHING, OURS, PIPE, THEIRS, UNAUDITED, number, targets, verdict_text

HERE = Path(__file__).resolve().parent
TRANSPORTS = ((False, ""), (True, ", TLS"))
WAYS = ("copy out", "select", "copy in")


def write(figures, source, docs):
    """The page, its charts, and the figures themselves beside it."""
    for name, svg in charts(figures).items():
        (docs / "images" / f"performance-{name}.svg").write_text(svg)
    if source.resolve() != (docs / "performance.json").resolve():
        shutil.copyfile(source, docs / "performance.json")
    text = (HERE / "page.md").read_text()
    for slot, content in slots(figures).items():
        text = text.replace(f"{{{{{slot}}}}}", content)
    (docs / "performance.md").write_text(text)


def slots(figures):
    about = figures.about
    return {
        "targets": target_table(figures),
        "rates": rate_table(figures),
        "calls": call_table(figures),
        "new": new_table(figures),
        "flush": flush_line(figures),
        "floors": floor_line(figures),
        "accept": accept_line(figures),
        "machine": "\n".join(f"| {name} | {value} |" for name, value in about["machine"].items()),
        "versions": "\n".join(f"| {name} | {value} |" for name, value in about["versions"].items()),
        "command": about["command"],
        "rounds": str(about["rounds"]),
        "seconds": str(about["seconds"]),
        "begun": about["begun"],
        "minutes": f"{about['took_s'] / 60:.0f}",
        "commit": about["commit"],
    }


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def target_table(figures):
    lines = targets(figures)
    rows = [[line.row, line.what, line.shown(), line.shown_floor(), *(verdict_text(line, bound).replace("miss", "**miss**") for bound in (line.must, line.aim))] for line in lines]
    caveats = dict.fromkeys(f"Row {line.row} is not comparable yet: {line.caveat}." for line in lines if line.caveat)
    return "\n\n".join([table(["row", "what", "found (least to most)", "floor", "must", "aim"], rows), *caveats])


def shapes(figures):
    """(mode, clients) as they were measured."""
    found = {(one["mode"], one["clients"]) for one in figures.raw if one["measure"] == "chat"}
    return sorted(found, key=lambda shape: (["simple", "extended", "prepared"].index(shape[0]), shape[1]))


def rate_table(figures):
    rows = []
    for tls, over in TRANSPORTS:
        for mode, clients in shapes(figures):
            row = [f"{mode}, {clients}{over}"]
            for who in (DIRECT, THEIRS, FLUSHING, OURS, UNAUDITED):
                keys = {"mode": mode, "clients": clients, "tls": tls, "contestant": who}
                tps, cpu = figures.spread("chat", "tps", **keys), figures.spread("chat", "cpu_us", **keys)
                row.append(f"{number(round(tps.median))} / {f'{cpu.median:.1f}' if cpu else '–'}" if tps else "")
            rows.append(row)
    return table(["select-only, clients", DIRECT, "PgBouncer", FLUSHING, OURS, UNAUDITED], rows)


def call_table(figures):
    rows = []
    for mode, clients in calls.SHAPES:
        for who in (THEIRS, OURS, UNAUDITED):
            rounds = figures.by_round("calls", "calls", contestant=who, mode=mode, clients=clients)
            if rounds:
                best = min(rounds.values(), key=calls.total)
                named = ", ".join(f"{name} {count:.2f}" for name, count in sorted(best.items(), key=lambda pair: -pair[1]))
                rows.append([f"{mode}, {clients}", who, f"{calls.total(best):.2f}", f"{calls.data(best):.2f}", named])
    return table(["select-only, clients", "proxy", "in all", "data", "which"], rows)


def new_table(figures):
    rows = []
    for tls, over in TRANSPORTS:
        for who in (THEIRS, OURS):
            found = figures.spread("new", "cpu_us", contestant=who, tls=tls)
            if found:
                rows.append([f"{who}{over}", f"{found.median:.0f} ({found.least:.0f} to {found.most:.0f})"])
    return table(["proxy", "CPU of a new session, µs"], rows)


def flush_line(figures):
    kinds = {kind: figures.spread("flush", "p50_us", kind=kind) for kind in ("fdatasync", "O_DIRECT|O_DSYNC")}
    said = [f"{found.median:.0f} µs by `{kind}` ({found.least:.0f} to {found.most:.0f})" for kind, found in kinds.items() if found]
    added = []
    for who in (THEIRS, FLUSHING, OURS):
        ours, direct = (figures.by_round("chat", "p50_us", contestant=one, clients=1, tls=False) for one in (who, DIRECT))
        if found := Spread.of([ours[one] - direct[one] for one in ours if one in direct]):
            added.append(f"{who} {found.median:.0f} µs")
    return f"{', '.join(said)}. Added to the p50 of a direct connection: {', '.join(added)}"


def floor_line(figures):
    pipes = {way: figures.spread("stream", "cpu_s_per_gb", contestant=PIPE, way=way) for way in WAYS}
    said = [f"{way} {found.median:.2f} s ({found.least:.2f} to {found.most:.2f})" for way, found in pipes.items() if found]
    found = figures.spread("hash", "cpu_s_per_gb")
    return f"{', '.join(said)}. Its SHA-256 alone: {found.median:.2f} s ({found.least:.2f} to {found.most:.2f})" if found else ""


def accept_line(figures):
    found = [one for one in figures.raw if one["measure"] == "accept"]
    said = (
        f"{one['sessions']:,} idle sessions{', TLS' if one['tls'] else ''}: p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.1f} ms "
        f"(an idle PgBouncer in the same seconds: {one['reference_p50_ms']:.2f} and {one['reference_p99_ms']:.1f})"
        for one in found
    )
    return "; ".join(said)


def charts(figures):
    """The pictures, by name."""
    chats = [(f"{mode}, {clients}{over}", {"mode": mode, "clients": clients, "tls": tls})
             for tls, over in TRANSPORTS for mode, clients in shapes(figures)]  # fmt: skip
    whom = [who for who in (THEIRS, OURS, UNAUDITED, FLUSHING) if figures.spread("chat", "tps", contestant=who)]
    ways = [(f"{way}{over}", {"way": way, "tls": tls}) for tls, over in TRANSPORTS for way in WAYS]

    streamers = [THEIRS, OURS, PIPE]

    def groups(cases, found, whom=whom):
        return [(label, [found(who, keys) for who in whom]) for label, keys in cases]

    return {
        "throughput": chart.bars(
            "Throughput, direct = 1", whom,
            groups(chats, lambda who, keys: figures.ratio("chat", "tps", who, DIRECT, **keys)),
        ),
        "cpu": chart.bars(
            "CPU of the proxy for each transaction, µs", whom,
            groups(chats, lambda who, keys: figures.spread("chat", "cpu_us", contestant=who, **keys)), "{:.0f}",
        ),
        "streams": chart.bars(
            "One gigabyte, throughput, direct = 1", streamers,
            groups(ways, lambda who, keys: figures.ratio("stream", "gb_per_s", who, DIRECT, **keys), whom=streamers),
        ),
        "stream-cpu": chart.bars(
            "One gigabyte, CPU of the proxy, s", streamers,
            groups(ways, lambda who, keys: figures.spread("stream", "cpu_s_per_gb", contestant=who, **keys), whom=streamers),
        ),
    }  # fmt: skip
