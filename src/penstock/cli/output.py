"""How commands answer: plain tables and sentences for people, one JSON object for machines.

Owns the look. Answers go to standard output, everything else to standard error; colour only where
a terminal reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType


def say(sentence: str) -> None:
    """Print a sentence of the answer."""
    typer.echo(sentence)


def note(sentence: str) -> None:
    """Tell the person, not the pipe: a sentence on standard error."""
    typer.echo(sentence, err=True)


def print_json(document: object) -> None:
    """Print one JSON object, indented."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def draw(renderable: RenderableType) -> None:
    """Draw a table or a text that rich knows how to draw, as wide as the terminal."""
    from rich.console import Console

    Console().print(renderable)


def draw_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table without lines around it; long cells are folded, never cut.

    Columns of numbers stand to the right. Without a title there is no head.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(titles))
    for place, title in enumerate(titles):
        is_number = all(row[place].replace(",", "").isdecimal() for row in rows)
        table.add_column(title, overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*row)
    draw(table)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; no answer, or no terminal, is a no."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
