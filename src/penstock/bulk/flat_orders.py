"""Orders from tables: one row for each line, the rows of an order one after the other.

Owns the grouping. Columns of an order are read from its first row, those of a line from every row.
An order is taken as a whole or not at all: a row that cannot be read refuses its order, and the one
before it too when it may have been that one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from penstock.bulk.blocks import Block, column_names, read_blocks
from penstock.bulk.files import Source
from penstock.bulk.model import Fault
from penstock.bulk.records import Chunk, fault_of, missing_column, nest, nested_fields
from penstock.errors import Refusal
from penstock.orders.intake import LineInput, OrderInput

REF = "order_ref"
# An order and a line both have a ref.
ALIASES = {"line_ref": "ref"}
_LINE = {field.encode_name for field in msgspec.structs.fields(LineInput)} - {"ref"}
_ORDER = {field.encode_name for field in msgspec.structs.fields(OrderInput)} - {
    "ref",
    "lines",
    "choices",
}
_NESTED = nested_fields(OrderInput) | nested_fields(LineInput)


class Columns(msgspec.Struct, frozen=True):
    """Which columns of a file belong to an order, which to a line, and which tell orders apart."""

    order: list[int]
    order_paths: list[tuple[str, ...]]
    line: list[int]
    line_paths: list[tuple[str, ...]]
    ref: int
    channel: int | None


class _Group(msgspec.Struct):
    """The rows of one order on their way."""

    key: tuple[Any, ...]
    first_row: int
    cells: list[tuple[Any, ...]]
    unreadable: int = 0
    faults: list[Fault] = []


def read_columns(source: Source) -> Columns:
    """Tell the columns apart; refuses with `missing_column` and `unknown_column`."""
    names = column_names(source)
    for name in (REF, "sku", "qty"):
        if name not in names:
            raise missing_column(source, name, names)
    columns = Columns([], [], [], [], names.index(REF), None)
    for place, name in enumerate(names):
        path = tuple(name.split("."))
        if name in ALIASES or path[0] in _LINE:
            columns.line.append(place)
            columns.line_paths.append((ALIASES.get(name, path[0]), *path[1:]))
        elif name == REF or path[0] in _ORDER:
            columns.order.append(place)
            columns.order_paths.append(("ref",) if name == REF else path)
        else:
            known = ", ".join(sorted(_ORDER | _LINE | {REF, *ALIASES}))
            sentence = f"{source.path.name} has a column {name!r}; known are {known}."
            raise Refusal("unknown_column", sentence, column=name)
    channel = names.index("channel") if "channel" in names else None
    return msgspec.structs.replace(columns, channel=channel)


def order_chunks(source: Source, columns: Columns, channel: str | None) -> Iterator[Chunk[Any]]:
    """Read orders; a chunk's `rows` are the first rows of its orders."""
    pending: _Group | None = None
    for block in read_blocks(source, []):
        chunk: Chunk[Any] = Chunk([], [], [], 0)
        unreadable = {fault.row: fault for fault in block.faults}
        for row, cells in _cells(block):
            key = (cells[columns.ref], cells[columns.channel] if columns.channel is not None else 0)
            if pending is None or key != pending.key:
                if pending is not None:
                    if row in unreadable:
                        pending.unreadable = pending.unreadable or row
                    _close(pending, columns, channel, chunk)
                pending = _Group(key, row, [])
            pending.cells.append(cells)
            if row in unreadable:
                pending.unreadable = pending.unreadable or row
                pending.faults.append(unreadable[row])
        chunk.rows_done = pending.first_row - 1 if pending else block.last_row
        yield chunk
    if pending is not None:
        last = Chunk[Any]([], [], [], pending.first_row + len(pending.cells) - 1)
        _close(pending, columns, channel, last)
        yield last


def _cells(block: Block) -> Iterator[tuple[int, tuple[Any, ...]]]:
    unreadable = {fault.row for fault in block.faults}
    for row, cells in enumerate(block.frame.iter_rows(), block.first_row):
        if row in unreadable or any(cell is not None for cell in cells):
            yield row, cells


def _close(group: _Group, columns: Columns, channel: str | None, chunk: Chunk[Any]) -> None:
    """Make the group's order, or say why not."""
    row = group.first_row
    chunk.faults += group.faults
    if group.unreadable:
        sentence = f"Row {group.unreadable}, which may be a line of this order, cannot be read."
        chunk.faults.append(Fault(row, "", sentence, "order_line_unreadable"))
        return
    document = nest(columns.order_paths, _picked(group.cells[0], columns.order), _NESTED)
    if channel is not None:
        document.setdefault("channel", channel)
    document["lines"] = [
        nest(columns.line_paths, _picked(cells, columns.line), _NESTED) for cells in group.cells
    ]
    try:
        order = msgspec.convert(document, OrderInput, strict=False)
    except msgspec.ValidationError as error:
        chunk.faults.append(fault_of(row, error))
        return
    chunk.values.append(order)
    chunk.rows.append(row)


def _picked(cells: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [cells[place] for place in places]
