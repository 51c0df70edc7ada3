"""An explanation in words, for a shop manager who wants to know why an order went where it went.

Pure. Names come from the caller; an id without a name is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.sourcing.model import Explanation, Outscored

_FOUND = "The cheapest plan found"
_METHOD = {"exact": "The cheapest plan of all"}
_LOST_BY = {
    "cost": "dearer",
    "later": "as dear, but it could have left later",
    "tie": "as good; the tie went to the other",
}


def explain(
    explanation: Explanation, locations: Mapping[int, str], products: Mapping[int, str]
) -> str:
    """Return a few sentences: who was considered, chosen, outscored, and what lacks stock."""
    lines = [_considered(explanation)]
    for chosen in explanation.chosen:
        location_id = chosen.location_id
        name = locations.get(location_id, str(location_id))
        lines.append(
            f"{name} sends {_units(chosen.units)} ({chosen.weight_g} g over "
            f"{chosen.distance_km:.0f} km) for {_money(chosen.cost_minor)}: "
            f"{_money(chosen.handling_minor)} handling, "
            f"{_money(chosen.carriage_minor)} carriage."
        )
        others = [o for o in explanation.outscored if o.instead_of == location_id]
        lines += [f"  {_other(other, locations)}" for other in others]
    for short in explanation.unsourced:
        product_id = short.product_id
        name = products.get(product_id, str(product_id))
        lines.append(
            f"{short.qty} of {name} are not sourced: {short.why} ({short.seen} were seen)."
        )
    return "\n".join(lines)


def _considered(explanation: Explanation) -> str:
    removed = ", ".join(f"{count} {why}" for why, count in explanation.removed.items())
    left_out = f" ({removed})" if removed else ""
    outcome = "Nothing can be sent."
    if explanation.chosen:
        found = _METHOD.get(explanation.method, _FOUND)
        outcome = f"{found} costs {_money(explanation.cost_minor)}."
    return (
        f"{explanation.considered} of {explanation.locations} locations may serve it{left_out}; "
        f"{explanation.without_stock} of them have nothing of what is wanted. {outcome}"
    )


def _other(other: Outscored, locations: Mapping[int, str]) -> str:
    name = locations.get(other.location_id, str(other.location_id))
    return (
        f"Instead of it {name} would have cost {_money(other.cost_minor)} "
        f"({other.distance_km:.0f} km): {_LOST_BY[other.lost_by]}."
    )


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"


def _money(amount_minor: float) -> str:
    return f"{amount_minor / 100:.2f}"
