"""Bar charts as SVG, legible on light and dark pages.

Promises: bars start at zero; a whisker shows the least and the most of the rounds.
Deliberately not here: any choice of what to draw.
"""

from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP_GAP, HEAD, FOOT = 720, 190, 70, 14, 3, 14, 58, 16
COLOURS = ("#8a8f98", "#2f7fd1", "#3d9a5f", "#c98a1b")

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-size: 14px; font-weight: 600 }
.value { font-size: 11px } .axis { stroke: #888; stroke-width: 1 } .whisker { stroke: #555; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .whisker { stroke: #ccc } }
"""


def bars(title, series, groups, show="{:.2f}"):
    """`groups` is a list of (label, [Spread or None for each of the series])."""
    groups = [(label, spreads) for label, spreads in groups if any(spreads)]
    most = max((spread.most for _, spreads in groups for spread in spreads if spread), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [], HEAD
    for label, spreads in groups:
        present = [(at, spread) for at, spread in enumerate(spreads) if spread]
        height = len(present) * (BAR + GAP) - GAP
        parts.append(f'<text x="{LEFT - 8}" y="{y + height / 2 + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        for at, spread in present:
            parts += _bar(y, COLOURS[at % len(COLOURS)], spread, scale, show)
            y += BAR + GAP
        y += GROUP_GAP - GAP
    height = y + FOOT - GROUP_GAP
    axis = f'<line class="axis" x1="{LEFT}" y1="{HEAD - 6}" x2="{LEFT}" y2="{y - GROUP_GAP + 6}"/>'
    head = f'<text class="title" x="12" y="22">{escape(title)}</text>' + "".join(_legend(series))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">\n'
        f"<style>{STYLE}</style>\n{head}\n{axis}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(y, colour, spread, scale, show):
    end, middle = LEFT + spread.median * scale, y + BAR / 2
    yield f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" fill="{colour}"/>'
    if spread.least != spread.most:
        ends = (LEFT + spread.least * scale, LEFT + spread.most * scale)
        yield f'<line class="whisker" x1="{ends[0]:.1f}" y1="{middle}" x2="{ends[1]:.1f}" y2="{middle}"/>'
        end = max(end, ends[1])
    yield f'<text class="value" x="{end + 6:.1f}" y="{middle + 4}">{show.format(spread.median)}</text>'


def _legend(series):
    x = 12
    for at, name in enumerate(series):
        yield f'<rect x="{x}" y="34" width="10" height="10" fill="{COLOURS[at % len(COLOURS)]}"/>'
        yield f'<text x="{x + 15}" y="43">{escape(name)}</text>'
        x += 35 + 7 * len(name)
