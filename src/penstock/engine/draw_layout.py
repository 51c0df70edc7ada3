"""Where the cards and wires of a drawing stand.

Columns of cards with gaps between them. A card has a port at its right edge for every place that a
group of its rows leads to, and one entry at its left edge; what leads to the same card shares a
wire (a net). Wires run upright only in the gaps, each on a track of its own, and across columns on
lanes that no card and no other wire is on: so none runs over a card or along another. Pixels. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

TITLE_H, LINE_H, ROW_H, GROUP_GAP, CARD_GAP = 30, 14, 19, 7, 40
TRACK, GAP_EDGE, LANE = 9, 20, 9
PORT_STEP, CLEAR = 8, 6
NARROWEST, MARKER = 186, 26
MONO, SANS, SMALL = 6.75, 6.3, 5.9  # the width of a letter: event names, words, tags
ABOUT_LINES = 2
_SWEEPS = 20

Point = tuple[float, float]


class Row(msgspec.Struct, frozen=True):
    """A line of a card. `leads` are the cards it leads to, `told` its tooltip."""

    text: str
    leads: tuple[str, ...] = ()
    action: str = ""
    after: str = ""
    told: str = ""


class Card(msgspec.Struct, frozen=True):
    """A status, or an event that leads on in several ways (`category` junction)."""

    key: str
    title: str
    about: str
    category: str
    rows: list[Row]


class Column(msgspec.Struct, frozen=True):
    """Cards below each other, and the title above them."""

    title: str
    cards: list[Card]


class Group(msgspec.Struct):
    """Rows that lead to the same cards, with the port of each: (card, y)."""

    top: float
    rows: list[Row]
    ports: list[tuple[str, float]]


class Box(msgspec.Struct):
    """A card in its place."""

    card: Card
    column: int
    x: float
    y: float
    width: float
    height: float
    entry: float
    about: list[str]
    groups: list[Group]


class Wire(msgspec.Struct):
    """Lines from ports to the entry of one card."""

    target: str
    lines: list[list[Point]]


class Drawing(msgspec.Struct):
    """Everything in its place: titles are (text, x, y)."""

    width: float
    height: float
    boxes: list[Box]
    wires: list[Wire]
    titles: list[tuple[str, float, float]]


class Lane(msgspec.Struct):
    """A level line of a net from one gap to another, across the columns between."""

    target: str
    first: int
    last: int
    y: float


class Net(msgspec.Struct):
    """What leads to one card: its box, the ports by gap, the lanes from both sides."""

    box: Box
    ports: dict[int, list[float]]
    lanes: dict[int, Lane]  # by the gap of the ports


def place(columns: Sequence[Column]) -> Drawing:
    """Return columns of cards laid out, with the wires between them."""
    boxes = [_box(card, at) for at, column in enumerate(columns) for card in column.cards]
    by_column = [[box for box in boxes if box.column == at] for at in range(len(columns))]
    _stack(by_column)
    nets = _nets(boxes)
    _choose_entries(boxes, nets)
    _lay_lanes(by_column, nets)
    tracks = [_tracks(gap, nets) for gap in range(len(columns) + 1)]
    _spread(by_column, tracks)
    wires = [Wire(key, list(_lines(net, by_column, tracks))) for key, net in nets.items()]
    return _framed(boxes, wires, columns, by_column)


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────


def _box(card: Card, column: int) -> Box:
    wide = [len(card.title) * 8.2 + 40, *(row_width(row, card) for row in card.rows)]
    width = max(NARROWEST, *wide)
    about = _wrapped(card.about, int((width - 28) / SANS))
    top = TITLE_H + len(about) * LINE_H + (10 if card.rows else 2)
    groups: list[Group] = []
    order = list(dict.fromkeys(row.leads for row in card.rows))
    order.sort(key=lambda leads: not leads)
    for leads in order:
        rows = [row for row in card.rows if row.leads == leads]
        height = max(len(rows) * ROW_H, len(leads) * PORT_STEP)
        first = top + height / 2 - (len(leads) - 1) * PORT_STEP / 2
        ports = [(lead, first + at * PORT_STEP) for at, lead in enumerate(leads)]
        groups.append(Group(top, rows, ports))
        top += height + GROUP_GAP
    return Box(card, column, 0, 0, width, top + (0 if card.rows else 4), 0, about, groups)


def row_width(row: Row, card: Card) -> float:
    """Return how wide a row is, with its edges, its marks and its tag."""
    letter = SANS if card.category == "junction" else MONO
    width = 14 + len(row.text) * letter + MARKER
    if row.after:
        width += 24 + len(row.after) * SMALL
    return width + (tag_width(row.action) + 8 if row.action else 0)


def tag_width(label: str) -> float:
    """Return how wide the tag of a user action is."""
    return len(label) * SMALL + 14


def _wrapped(text: str, letters: int) -> list[str]:
    """Return a text in at most two lines; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= letters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > ABOUT_LINES:
        lines = [*lines[: ABOUT_LINES - 1], lines[ABOUT_LINES - 1][: letters - 1].rstrip() + "…"]
    return lines


def _stack(by_column: Sequence[Sequence[Box]]) -> None:
    """Put the cards of each column below each other, around one middle."""
    heights = [
        sum(box.height for box in boxes) + CARD_GAP * (len(boxes) - 1) for boxes in by_column
    ]
    for boxes, height in zip(by_column, heights, strict=True):
        top = (max(heights) - height) / 2
        for box in boxes:
            box.y = round(top)
            top += box.height + CARD_GAP
            for group in box.groups:
                group.top += box.y
                group.ports = [(lead, y + box.y) for lead, y in group.ports]


# ── nets, entries, lanes ──────────────────────────────────────────────────────────────────────────


def _nets(boxes: Sequence[Box]) -> dict[str, Net]:
    nets = {box.card.key: Net(box, {}, {}) for box in boxes}
    for box in boxes:
        for group in box.groups:
            for lead, y in group.ports:
                nets[lead].ports.setdefault(box.column + 1, []).append(y)
    return {key: net for key, net in nets.items() if net.ports}


def _choose_entries(boxes: Sequence[Box], nets: dict[str, Net]) -> None:
    """Put each entry beside the title, where no port of the column before it is level with it."""
    for box in boxes:
        taken = [
            y
            for key, net in nets.items()
            if key != box.card.key
            for y in net.ports.get(box.column, ())
        ]
        middle = box.y + TITLE_H / 2 + 1
        choices = [middle + shift for shift in (0, 5, -5, 9, -9, 13, 17, 21)]
        free = [y for y in choices if all(abs(y - one) >= CLEAR for one in taken)]
        box.entry = (free or choices)[0]


def _lay_lanes(by_column: Sequence[Sequence[Box]], nets: dict[str, Net]) -> None:
    """Give every net a lane from each side whose ports are not in the gap before its card."""
    wanted: list[tuple[int, str, list[int]]] = []
    for key, net in nets.items():
        own = net.box.column
        for gaps in ([g for g in net.ports if g < own], [g for g in net.ports if g > own]):
            wanted += [(max(abs(gap - own) for gap in gaps), key, gaps)] if gaps else []
    laid: list[Lane] = []
    for _, key, gaps in sorted(wanted, key=lambda one: one[0]):
        net = nets[key]
        first, last = min(*gaps, net.box.column), max(*gaps, net.box.column)
        ports = [y for gap in gaps for y in net.ports[gap]]
        y = _free_level(by_column, nets, laid, Lane(key, first, last, 0), ports)
        lane = Lane(key, first, last, y)
        laid.append(lane)
        net.lanes |= dict.fromkeys(gaps, lane)


def _free_level(
    by_column: Sequence[Sequence[Box]],
    nets: dict[str, Net],
    laid: Sequence[Lane],
    lane: Lane,
    ports: Sequence[float],
) -> float:
    """Return the y nearest to a net's ports and entry where its lane meets nothing."""
    boxes = [box for at in range(lane.first, lane.last) for box in by_column[at]]
    lanes = [one.y for one in laid if one.first <= lane.last and lane.first <= one.last]
    stubs = list(_stubs(nets, lane))
    bottom = max(box.y + box.height for column in by_column for box in column)
    entry = nets[lane.target].box.entry
    margin = LANE * (len(nets) * 2 + 3)
    level = [float(y) for y in range(-margin, int(bottom) + margin, 3)]
    free = [
        y
        for y in [entry, *ports, *level]
        if all(not box.y - 13 < y < box.y + box.height + 13 for box in boxes)
        and all(abs(y - one) >= LANE for one in lanes)
        and all(abs(y - one) >= CLEAR for one in stubs)
    ]
    return min(free, key=lambda y: sum(abs(y - one) for one in [entry, entry, *ports]))


def _stubs(nets: dict[str, Net], lane: Lane) -> Iterator[float]:
    """Give the y of what other nets have in the gaps of a lane: ports, entries."""
    for key, net in nets.items():
        if key == lane.target:
            continue
        if lane.first <= net.box.column <= lane.last:
            yield net.box.entry
        for gap, ys in net.ports.items():
            if lane.first <= gap <= lane.last:
                yield from ys


# ── tracks ────────────────────────────────────────────────────────────────────────────────────────


class _Upright(msgspec.Struct):
    """A net in a gap: where lines come to its track from the left, and from the right."""

    key: str
    left: list[float]
    right: list[float]

    def crosses(self, other: _Upright) -> int:
        """Return how often the two cross if this one is left of the other."""
        low, high = min(self.left + self.right), max(self.left + self.right)
        other_low, other_high = min(other.left + other.right), max(other.left + other.right)
        return sum(other_low <= y <= other_high for y in self.right) + sum(
            low <= y <= high for y in other.left
        )


def _tracks(gap: int, nets: dict[str, Net]) -> list[str]:
    """Return the nets that run upright in a gap, from left to right, with few crossings."""
    order = [one for one in (_upright(gap, key, net) for key, net in nets.items()) if one]
    for _ in range(_SWEEPS):
        before = [one.key for one in order]
        for one in tuple(order):
            rest = [other for other in order if other is not one]
            costs = [_cost(one, rest, at) for at in range(len(rest) + 1)]
            order = [*rest[: costs.index(min(costs))], one, *rest[costs.index(min(costs)) :]]
        if [one.key for one in order] == before:
            break
    return [one.key for one in order]


def _cost(one: _Upright, rest: Sequence[_Upright], at: int) -> int:
    return sum(other.crosses(one) for other in rest[:at]) + sum(
        one.crosses(other) for other in rest[at:]
    )


def _upright(gap: int, key: str, net: Net) -> _Upright | None:
    left, right = list(net.ports.get(gap, ())), list[float]()
    own = net.box.column
    if gap == own:
        right.append(net.box.entry)
        for ports_gap, lane in net.lanes.items():
            (left if ports_gap < own else right).append(lane.y)
    elif gap in net.ports:
        lane = net.lanes[gap]
        (right if gap < own else left).append(lane.y)
    return _Upright(key, left, right) if len(set(left + right)) > 1 else None


def _spread(by_column: Sequence[Sequence[Box]], tracks: Sequence[Sequence[str]]) -> None:
    """Give every column its x: the gaps are as wide as their tracks need."""
    x = 0.0
    for at, boxes in enumerate(by_column):
        x += _gap_width(tracks[at])
        width = max(box.width for box in boxes)
        for box in boxes:
            box.x, box.width = x, width
        x += width


def _gap_width(tracks: Sequence[str]) -> float:
    return GAP_EDGE * 2 + TRACK * max(0, len(tracks) - 1)


def _lines(
    net: Net, by_column: Sequence[Sequence[Box]], tracks: Sequence[Sequence[str]]
) -> Iterator[list[Point]]:
    """Give a line from every port of a net to its entry."""
    key, own = net.box.card.key, net.box.column

    def track(gap: int) -> float:
        """Return a net's x in a gap; without a track of its own it goes straight on."""
        begin = by_column[gap - 1][0].x + by_column[gap - 1][0].width if gap else 0.0
        at = tracks[gap].index(key) if key in tracks[gap] else 0
        return begin + GAP_EDGE + TRACK * at

    for gap, ys in net.ports.items():
        begin = by_column[gap - 1][0].x + by_column[gap - 1][0].width
        for y in ys:
            points: list[Point] = [(begin, y), (track(gap), y)]
            if gap != own:
                level = net.lanes[gap].y
                points += [(track(gap), level), (track(own), level)]
            points += [(track(own), net.box.entry), (net.box.x, net.box.entry)]
            yield points


# ── the frame ─────────────────────────────────────────────────────────────────────────────────────


def _framed(
    boxes: Sequence[Box],
    wires: list[Wire],
    columns: Sequence[Column],
    by_column: Sequence[Sequence[Box]],
) -> Drawing:
    """Return the drawing with its upper left at nought: titles of columns on top."""
    ys = [y for wire in wires for line in wire.lines for _, y in line]
    top = min([*ys, *(box.y for box in boxes)]) - 34
    bottom = max([*ys, *(box.y + box.height for box in boxes)])
    xs = [x for wire in wires for line in wire.lines for x, _ in line]
    right = max([*xs, *(box.x + box.width for box in boxes)])
    for box in boxes:
        box.y, box.entry = box.y - top, box.entry - top
        for group in box.groups:
            group.top -= top
            group.ports = [(lead, y - top) for lead, y in group.ports]
    for wire in wires:
        wire.lines = [[(x, y - top) for x, y in line] for line in wire.lines]
    titles = [
        (column.title, found[0].x, 12.0)
        for column, found in zip(columns, by_column, strict=True)
        if column.title
    ]
    return Drawing(right, bottom - top, list(boxes), wires, titles)
