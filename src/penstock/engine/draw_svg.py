"""How a drawing looks: the SVG text of cards, wires, titles and the legend.

Owns colours and strokes. The picture has its own ground, no script and no font of its own, so that
it reads on every page. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

import msgspec

from penstock.engine.draw_layout import (
    LINE_H,
    MONO,
    ROW_H,
    SANS,
    SMALL,
    TITLE_H,
    Box,
    Drawing,
    Group,
    Point,
    Row,
    Wire,
    tag_width,
)

MARGIN, HEAD, FOOT, CORNER = 28, 74, 52, 7
# A category's colours: of its wires and stripe (several, so that neighbours differ), of its head.
_SHADES: Mapping[str, tuple[str, ...]] = {
    "open": ("#0f766e", "#0284c7", "#0891b2", "#4338ca"),
    "waiting": ("#b45309", "#ca8a04", "#c2410c", "#a16207"),
    "done": ("#15803d", "#4d7c0f", "#166534"),
    "failed": ("#be123c", "#9f1239", "#dc2626"),
    "junction": ("#475569", "#7e22ce", "#334155"),
}
_TINTS = {
    "open": "#e6f4f2",
    "waiting": "#fdf3e1",
    "done": "#e8f5ea",
    "failed": "#fdeaee",
    "junction": "#eef1f5",
}
_STYLE = """
    .ground { fill: #fbfcfb; stroke: #d5dcda; }
    .name { fill: #14201d; font-size: 14px; font-weight: 600; }
    .head { fill: #14201d; font-size: 19px; font-weight: 650; }
    .phase { fill: #64748b; font-size: 11.5px; font-weight: 600; letter-spacing: 1.2px; }
    .word { fill: #55635f; font-size: 11.5px; }
    .event { fill: #24312e; font-size: 11px; font-family: ui-monospace, SFMono-Regular, Menlo,
      Consolas, 'DejaVu Sans Mono', monospace; }
    .card { fill: #ffffff; stroke: #c3cdca; }
    .tag { fill: #eef2ff; stroke: #a5b4fc; }
    .do { fill: #3730a3; font-size: 10.5px; }
    .due { fill: #9a3412; font-size: 10.5px; font-weight: 600; }
    .clock { fill: none; stroke: #9a3412; stroke-width: 1.3; stroke-linecap: round; }
    .halo { fill: none; stroke: #fbfcfb; stroke-width: 5; }
    .wire { fill: none; stroke-width: 1.7; }
    .hold { fill: none; stroke: #b6c2bf; }
"""
_FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


class Caption(msgspec.Struct, frozen=True):
    """What stands above a drawing, and the key of the card that everything begins in."""

    title: str
    about: str
    initial: str


def written(drawing: Drawing, caption: Caption) -> str:
    """Return a drawing as SVG text."""
    width = max(drawing.width + MARGIN * 2, len(caption.about) * SANS + MARGIN * 2, 720)
    height = drawing.height + HEAD + FOOT + MARGIN
    colours = _colours(drawing.boxes)
    size = f'width="{_n(width)}" height="{_n(height)}"'
    ground = f'x=".5" y=".5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10"'
    svg = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" {size}'
    parts = [
        f'<svg {svg} role="img" aria-labelledby="title" font-family="{_FONT}">',
        f'<title id="title">{escape(caption.title)}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" {ground}/>',
        _text(MARGIN, 38, "head", caption.title),
        _text(MARGIN, 58, "word", caption.about),
        f'<g transform="translate({MARGIN} {HEAD})">',
        *(_text(x, y, "phase", title.upper()) for title, x, y in drawing.titles),
        *(_wire(wire, colours[wire.target]) for wire in drawing.wires),
        *(_card(box, colours) for box in drawing.boxes),
        *(_beginning(box) for box in drawing.boxes if box.card.key == caption.initial),
        "</g>",
        f'<g transform="translate({MARGIN} {_n(height - 30)})">{"".join(_legend())}</g>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colours(boxes: Sequence[Box]) -> dict[str, str]:
    counts: dict[str, int] = {}
    found: dict[str, str] = {}
    for box in boxes:
        shades = _SHADES[box.card.category]
        at = counts.get(box.card.category, 0)
        counts[box.card.category] = at + 1
        found[box.card.key] = shades[at % len(shades)]
    return found


# ── wires ─────────────────────────────────────────────────────────────────────────────────────────


def _wire(wire: Wire, colour: str) -> str:
    path = " ".join(_path(line) for line in wire.lines)
    x, y = wire.lines[0][-1]
    head = f"M{_n(x - 8)} {_n(y - 4.5)} L{_n(x)} {_n(y)} L{_n(x - 8)} {_n(y + 4.5)}z"
    return (
        f'<path class="halo" d="{path}"/><path class="wire" stroke="{colour}" d="{path}"/>'
        f'<path fill="{colour}" d="{head}"/>'
    )


def _path(line: Sequence[Point]) -> str:
    """Return a line with round corners; points on the way straight on are left out."""
    points = _bent(line)
    points[-1] = (points[-1][0] - 4, points[-1][1])
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for at in range(1, len(points) - 1):
        before, corner, after = points[at - 1 : at + 2]
        a, b = _towards(corner, before), _towards(corner, after)
        parts.append(
            f"L{_n(a[0])} {_n(a[1])}Q{_n(corner[0])} {_n(corner[1])} {_n(b[0])} {_n(b[1])}"
        )
    parts.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(parts)


def _bent(line: Sequence[Point]) -> list[Point]:
    """Return the points where a line begins, bends and ends."""
    distinct = [line[0], *(b for a, b in pairwise(line) if a != b)]
    kept = distinct[:1]
    for at in range(1, len(distinct) - 1):
        (ax, ay), (bx, by), (cx, cy) = kept[-1], distinct[at], distinct[at + 1]
        if not (ax == bx == cx or ay == by == cy):
            kept.append(distinct[at])
    return [*kept, distinct[-1]]


def _towards(corner: Point, other: Point) -> Point:
    """Return the point a corner's radius away from it; half way where that is nearer."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    part = min(CORNER, length / 2) / length
    return corner[0] + dx * part, corner[1] + dy * part


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────


def _card(box: Box, colours: Mapping[str, str]) -> str:
    card, colour = box.card, colours[box.card.key]
    x, y, width, height = box.x, box.y, box.width, box.height
    is_junction = card.category == "junction"
    dash = ' stroke-dasharray="4 3"' if is_junction else ""
    head = TITLE_H + len(box.about) * LINE_H + 3
    frame = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    parts = [
        f"<g><title>{escape(card.about or card.title)}</title>",
        f'<rect class="card" {frame} rx="8" style="stroke:{colour}"{dash}/>',
        f'<path fill="{_TINTS[card.category]}" d="{_top(box, head)}"/>',
    ]
    if not is_junction:
        parts.append(f'<path fill="{colour}" d="{_stripe(box)}"/>')
    parts.append(_text(x + 14, y + 20, "name", card.title))
    for at, line in enumerate(box.about):
        parts.append(_text(x + 14, y + TITLE_H + 6 + at * LINE_H, "word", line))
    for group in box.groups:
        parts += _group(box, group, colours)
    return "".join([*parts, "</g>"])


def _top(box: Box, head: float) -> str:
    """Return the path of a card's head, a hair inside its frame; without rows it is all head."""
    left, right, top = box.x + 0.6, box.x + box.width - 0.6, box.y + 0.6
    bottom = box.y + (head if box.groups else box.height - 0.6)
    if not box.groups:
        side = f"V{_n(bottom - 7.4)}q0 7.4 -7.4 7.4H{_n(left + 7.4)}q-7.4 0 -7.4 -7.4"
        return f"M{_n(left)} {_n(top + 7.4)}q0 -7.4 7.4 -7.4H{_n(right - 7.4)}q7.4 0 7.4 7.4{side}z"
    return (
        f"M{_n(left)} {_n(bottom)}V{_n(top + 7.4)}q0 -7.4 7.4 -7.4H{_n(right - 7.4)}"
        f"q7.4 0 7.4 7.4V{_n(bottom)}z"
    )


def _stripe(box: Box) -> str:
    """Return the path of the stripe of a status's category at the card's left edge."""
    x, top, bottom = box.x, box.y, box.y + box.height
    return f"M{_n(x + 5)} {_n(top)}q-5 2 -5 8V{_n(bottom - 8)}q0 6 5 8z"


def _group(box: Box, group: Group, colours: Mapping[str, str]) -> Iterator[str]:
    """Give the rows of a group, the bracket that holds them, and the ports."""
    right = box.x + box.width
    for at, row in enumerate(group.rows):
        yield _row(box, row, group.top + at * ROW_H + ROW_H / 2)
    if not group.ports:
        return
    low, high = group.top + 4, group.top + len(group.rows) * ROW_H - 4
    ports = [y for _, y in group.ports]
    if len(group.rows) > 1:
        edge = right - 15
        yield f'<path class="hold" d="M{_n(edge)} {_n(low)}h4V{_n(high)}h-4"/>'
    for lead, y in group.ports:
        start = right - (11 if len(group.rows) > 1 else 14)
        middle = min(max(y, low), high) if len(group.rows) > 1 else sum(ports) / len(ports)
        yield (
            f'<path fill="none" stroke="{colours[lead]}" stroke-width="1.7" '
            f'd="M{_n(start)} {_n(middle)}L{_n(right - 5)} {_n(y)}H{_n(right)}"/>'
            f'<circle cx="{_n(right)}" cy="{_n(y)}" r="2.8" fill="{colours[lead]}"/>'
        )


def _row(box: Box, row: Row, y: float) -> str:
    x = box.x + 14
    is_junction = box.card.category == "junction"
    parts = [f"<g><title>{escape(row.told)}</title>"]
    parts.append(_text(x, y + 3.8, "word" if is_junction else "event", row.text))
    x += len(row.text) * (SANS if is_junction else MONO) + 6
    if row.after:
        parts.append(_clock(x + 7, y))
        parts.append(_text(x + 17, y + 3.8, "due", row.after))
        x += 24 + len(row.after) * SMALL
    if row.action:
        width = tag_width(row.action)
        left = box.x + box.width - 24 - width
        parts.append(
            f'<rect class="tag" x="{_n(left)}" y="{_n(y - 7.5)}" width="{_n(width)}" height="15" '
            f'rx="7.5"/><text class="do" x="{_n(left + width / 2)}" y="{_n(y + 3.6)}" '
            f'text-anchor="middle">{escape(row.action)}</text>'
        )
    return "".join([*parts, "</g>"])


def _clock(x: float, y: float) -> str:
    return (
        f'<g class="clock"><circle cx="{_n(x)}" cy="{_n(y)}" r="5.2"/>'
        f'<path d="M{_n(x)} {_n(y - 3)}V{_n(y)}h2.4"/></g>'
    )


def _beginning(box: Box) -> str:
    """Return the mark of the status that everything begins in."""
    x, y = box.x, box.y + 15
    return (
        f'<circle cx="{_n(x - 20)}" cy="{_n(y)}" r="5" fill="#14201d"/>'
        f'<path d="M{_n(x - 15)} {_n(y)}H{_n(x - 3)}" stroke="#14201d" stroke-width="1.7"/>'
        f'<path fill="#14201d" d="M{_n(x - 8)} {_n(y - 4.5)}L{_n(x)} {_n(y)}L{_n(x - 8)} '
        f'{_n(y + 4.5)}z"/>'
    )


# ── the legend ────────────────────────────────────────────────────────────────────────────────────


def _legend() -> Iterator[str]:
    x = 0.0
    for category in ("open", "waiting", "done", "failed"):
        yield (
            f'<rect x="{_n(x)}" y="-8" width="14" height="14" rx="4" fill="{_TINTS[category]}" '
            f'stroke="{_SHADES[category][0]}"/>'
            f'<path d="M{_n(x + 2)} -8v14" stroke="{_SHADES[category][0]}" stroke-width="4"/>'
        )
        yield _text(x + 20, 3, "word", category)
        x += 20 + len(category) * SANS + 18
    yield (
        f'<rect class="card" x="{_n(x)}" y="-8" width="20" height="14" rx="4" '
        f'style="stroke:{_SHADES["junction"][0]};fill:{_TINTS["junction"]}" '
        'stroke-dasharray="4 3"/>'
    )
    yield _text(x + 26, 3, "word", "event in the same pass")
    x += 26 + 22 * SANS + 18
    yield f'<rect class="tag" x="{_n(x)}" y="-8" width="22" height="14" rx="7"/>'
    yield _text(x + 28, 3, "word", "user action")
    x += 28 + 11 * SANS + 18
    yield _clock(x + 6, -1)
    yield _text(x + 17, 3, "word", "timer")


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>'


def _n(number: float) -> str:
    """Return a number as short as a tenth of a pixel allows."""
    return f"{number:.1f}".removesuffix(".0")
