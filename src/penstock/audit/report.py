"""What an audit reports: a verdict per invariant, figures beside them, and how they look.

Pure but for `render`, which draws with rich. A breach is counted always and explained for the
first `MAX_EXAMPLES` of a check; figures (short by count, dead letters) are facts, not breaches.
"""

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

MAX_EXAMPLES = 20

# Every invariant that is checked: its stable name, and what it says.
INVARIANTS = {
    "reserved": "What a position has reserved is the sum of its live reservations.",
    "oversold": "No position has promised more than it has, unless a count took stock away.",
    "journal": "A position is what its journal adds up to, version by version, without a gap.",
    "positions": "Positions, and the journal, name products, locations and positions that exist.",
    "lines": "A line's quantity is what is allocated, unsourced, shipped and cancelled of it.",
    "allocations": "What a line has allocated is kept by its live reservations.",
    "fulfilments": "What is allocated or shipped of a line is the work of live fulfilments.",
    "kits": "A kit is sourced and shipped as its components are, whole where it has to be.",
    "waiting": "Every open order waits for an event, a hold, stock, a location or a person.",
    "events": "An order's events are numbered from 1 to its last without gap or duplicate.",
    "passes": "Everything was written by a pass, and passes are numbered without a gap.",
    "references": "Lines, reservations, fulfilments and refs belong to something that exists.",
    "limits": "What counts under limits is live lines and held carts, and no more than is allowed.",
    "carts": "Holds belong to a cart that is held, or whose time has just passed.",
    "capacity": "Capacity used is the number of live fulfilments counted on it.",
    "controls": "What a cap or ring-fence has counted is what live reservations keep of it.",
    "lots": "Lots add up to what is there at most; pegs and blocked units to what is kept of them.",
}


class Check(msgspec.Struct):
    """The verdict on one invariant; `examples` explain the first breaches in a sentence or two."""

    name: str
    says: str
    examined: int = 0
    breaches: int = 0
    examples: list[str] = msgspec.field(default_factory=list[str])

    def found(self, sentences: Sequence[str]) -> None:
        """Count breaches, one a sentence, and keep the first sentences."""
        self.breaches += len(sentences)
        self.examples += sentences[: MAX_EXAMPLES - len(self.examples)]


class Figures(msgspec.Struct):
    """What the audit saw that is worth knowing and breaks nothing.

    `short_by_count` counts positions with more reserved than is there because a count or an
    adjustment lowered them, `units_short_by_count` the units lacking there; `dead_letters` counts
    events that failed for good and that nobody has resolved.
    """

    positions: int = 0
    journal_entries: int = 0
    orders: int = 0
    short_by_count: int = 0
    units_short_by_count: int = 0
    dead_letters: int = 0


class Report(msgspec.Struct):
    """An audit's outcome: `breaches` is the total over all checks; 0 is clean."""

    schema: str
    checks: list[Check]
    figures: Figures
    breaches: int = 0
    duration_s: float = 0.0


def empty_report(schema: str) -> Report:
    """Return a report that has looked at nothing yet."""
    return Report(schema, [Check(name, says) for name, says in INVARIANTS.items()], Figures())


def render(report: Report) -> RenderableType:
    """Draw the report: a row per invariant, the breaches explained below, then the figures."""
    table = Table(title=f"Audit of {report.schema}", title_justify="left")
    for title, justify in (("invariant", "left"), ("examined", "right"), ("breaches", "right")):
        table.add_column(title, justify="right" if justify == "right" else "left")
    table.add_column("what it says")
    for check in report.checks:
        style = "bold red" if check.breaches else ""
        row = (check.name, f"{check.examined:,}", f"{check.breaches:,}", check.says)
        table.add_row(*row, style=style)
    explained = [text for check in report.checks for text in _explained(check)]
    return Group(table, *explained, _summary(report))


def _explained(check: Check) -> list[Text]:
    if not check.breaches:
        return []
    texts = [Text(f"{check.name}: {check.breaches:,}", style="bold red")]
    texts += [Text(f"  {sentence}") for sentence in check.examples]
    more = check.breaches - len(check.examples)
    return [*texts, Text(f"  … and {more:,} more.")] if more else texts


def _summary(report: Report) -> Text:
    figures = report.figures
    facts = [
        f"{figures.positions:,} positions, {figures.journal_entries:,} journal entries,",
        f"{figures.orders:,} orders in {report.duration_s:.1f} s.",
    ]
    if figures.short_by_count:
        facts.append(
            f"{figures.units_short_by_count:,} units are short at {figures.short_by_count:,} "
            "positions because a count lowered them."
        )
    if figures.dead_letters:
        facts.append(f"{figures.dead_letters:,} dead letters wait for a person.")
    verdict = f"{report.breaches:,} breaches." if report.breaches else "Clean."
    return Text(" ".join([*facts, verdict]), style="bold red" if report.breaches else "bold green")
