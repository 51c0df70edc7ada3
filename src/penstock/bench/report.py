"""What a benchmark is asked and what it answers: options, figures, budgets, and how they look.

Pure but for `render`, which draws with rich. Figures are one flat mapping of names to numbers, the
same in the table and in the JSON object; a budget names its figure and says whether it was reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.bench.machine import Machine

Figure = float | int | str
ALWAYS = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "oversold",
    "stranded",
    "refused_while_left",
    "audit_breaches",
)
_MANY = 100  # from here on a rate is shown without decimals


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked of a benchmark; None is the benchmark's own choice."""

    orders: int | None = None
    clients: int | None = None
    processes: tuple[int, ...] | None = None
    positions: int | None = None
    seconds: float | None = None
    feed: bool = False


class Budget(msgspec.Struct, frozen=True):
    """A bound on a figure: at least or at most so much."""

    figure: str
    bound: float
    kind: Literal["least", "most"] = "least"

    def is_reached(self, value: float) -> bool:
        """Tell whether a value keeps the budget."""
        return value >= self.bound if self.kind == "least" else value <= self.bound


class Result(msgspec.Struct):
    """What a benchmark found, where, and the budgets it is held against."""

    name: str
    does: str
    machine: Machine
    clients: int
    figures: dict[str, Figure]
    budgets: Sequence[Budget] = ()

    def document(self) -> dict[str, object]:
        """Return the result as one flat JSON object, with the budgets beside the figures.

        What is named in `ALWAYS` and was not measured is there as None.
        """
        machine = msgspec.structs.asdict(self.machine)
        verdicts = [
            {
                "figure": budget.figure,
                budget.kind: budget.bound,
                "reached": budget.is_reached(float(self.figures[budget.figure])),
            }
            for budget in self.budgets
            if budget.figure in self.figures
        ]
        head: dict[str, object] = {"name": self.name, **machine, "clients": self.clients}
        return {**head, **dict.fromkeys(ALWAYS), **self.figures, "budgets": verdicts}


def percentiles(seconds: NDArray[np.float64], prefix: str = "") -> dict[str, Figure]:
    """Return p50, p95 and p99 of durations, in milliseconds."""
    if len(seconds) == 0:
        return {}
    values = np.percentile(seconds, (50, 95, 99)) * 1000
    names = ("p50_ms", "p95_ms", "p99_ms")
    return {prefix + name: round(float(v), 2) for name, v in zip(names, values, strict=True)}


def render(result: Result) -> RenderableType:
    """Draw the result: a row per figure, its budget beside it, then where it was measured."""
    table = Table(title=result.does, title_justify="left", title_style="bold")
    for title in ("figure", "measured", "budget", ""):
        table.add_column(title, justify="right" if title == "measured" else "left")
    budgets = {budget.figure: budget for budget in result.budgets}
    for name, value in result.figures.items():
        table.add_row(name, _shown(value), *_verdict(budgets, name, value))
    machine = result.machine
    where = (
        f"{machine.hardware}; PostgreSQL {machine.postgres}, fsync {machine.fsync}, "
        f"synchronous_commit {machine.synchronous_commit}, "
        f"shared_buffers {machine.shared_buffers}; {result.clients} clients"
    )
    notes = [Text(where, style="dim")]
    if machine.is_busy:
        notes.append(Text("The machine was busy with other work when this began.", style="yellow"))
    return Group(table, *notes)


def _verdict(budgets: Mapping[str, Budget], name: str, value: Figure) -> tuple[str, Text]:
    budget = budgets.get(name)
    if budget is None or isinstance(value, str):
        return "", Text("")
    sign = "≥" if budget.kind == "least" else "≤"
    reached = budget.is_reached(value)
    verdict = Text("reached", style="green") if reached else Text("missed", style="bold red")
    return f"{sign} {_shown(budget.bound)}", verdict


def _shown(value: Figure) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value >= _MANY or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}"
