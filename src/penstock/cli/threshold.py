"""`penstock threshold`: levels at which stock is at risk or out of stock: list, put, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction

if TYPE_CHECKING:
    from penstock.availability.threshold_input import ThresholdInput

commands = typer.Typer(
    no_args_is_help=True, help="Levels at which stock is at risk or out of stock."
)
Ref = Annotated[str, typer.Argument(metavar="REF", help="Its ref; put again, it is changed.")]
Said = Annotated[
    list[str],
    typer.Argument(metavar="FIELD=VALUE…", help="What it says: at_risk=5 category=mugs."),
]


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List thresholds: at how many units, and of what."""
    from penstock.availability.thresholds import list_thresholds

    found = run_in_transaction(read_settings(account=account), list_thresholds)
    if as_json:
        print_json({"thresholds": found})
        return
    rows = [
        (one.ref or "", str(one.watch), f"{one.at_risk:,}", f"{one.out_of_stock:,}", _about(one))
        for one in found
    ]
    draw_table(("ref", "watch", "at risk", "out of stock", "about"), rows)


def _about(one: ThresholdInput) -> str:
    named = [(name, getattr(one, name)) for name in ("channel", "sku", "category", "location")]
    return ", ".join(f"{name} {value}" for name, value in named if value is not None) or "all"


@commands.command()
def put(ref: Ref, said: Said, account: AccountName = None, as_json: AsJson = False) -> None:
    """Make a threshold, or change the one that has the ref.

    Fields: at_risk and out_of_stock (units at or below which it is so; 0 where left out); sku or
    category, location; with a channel it is about what that channel may promise: in total, or with
    watch=base at each location. Crossings are told to workflows of positions and virtual positions.
    """
    from penstock.availability.thresholds import put_thresholds
    from penstock.records import insist

    threshold = _threshold(ref, said)
    results = run_in_transaction(
        read_settings(account=account), lambda tx: put_thresholds(tx, [threshold])
    )
    insist(results)
    if as_json:
        print_json({"ref": ref, "result": results[0]})
        return
    say(f"Threshold {ref} is {results[0]}.")


def _threshold(ref: str, said: list[str]) -> ThresholdInput:
    import msgspec

    from penstock.availability.threshold_input import ThresholdInput
    from penstock.errors import Refusal

    fields: dict[str, object] = {"ref": ref}
    for part in said:
        name, equals, value = part.partition("=")
        if not equals:
            raise Refusal("invalid_threshold", f"{part[:60]!r} is not FIELD=VALUE: at_risk=5.")
        fields[name] = value
    try:
        return msgspec.convert(fields, ThresholdInput, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_threshold", f"{error}.".replace("`", "'")) from None


@commands.command()
def remove(ref: Ref, account: AccountName = None, as_json: AsJson = False) -> None:
    """Remove a threshold; what it had put at risk is told that it is not any more."""
    from penstock.availability.thresholds import remove_thresholds
    from penstock.records import insist

    insist(
        run_in_transaction(read_settings(account=account), lambda tx: remove_thresholds(tx, [ref]))
    )
    if as_json:
        print_json({"ref": ref, "result": "removed"})
        return
    say(f"Threshold {ref} is removed.")
