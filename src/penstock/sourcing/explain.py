"""An explanation in words, for a shop manager who wants to know why an order went where it went.

Pure, and the only place that makes sentences of an explanation. Names come from the caller; a
product without a name is shown as its id. Nothing is worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.money import written
from penstock.sourcing.model import Chosen, Explanation, HeldAt, Outscored, Unsourced

_FOUND = "The cheapest plan found"
_METHOD = {"exact": "The cheapest plan of all"}
_LOST_BY = {
    "cost": "it would have cost more",
    "later": "it would have been ready later",
    "tie": "all else was equal",
}
_SHORT = {
    "ship complete": "all of it goes together or not at all",
    "maximum of parcels": "it would take more parcels than are wanted",
}


def explain(
    explanation: Explanation,
    currency: str,
    location_ref: Callable[[int], str],
    skus: Mapping[int, str],
) -> list[str]:
    """Return sentences: who was considered, chosen, outscored, and what lacks stock and why.

    `currency` is what the amounts are in; `skus` names products by id.
    """
    sentences = [_considered(explanation), _outcome(explanation, currency)]
    sentences += [_held(one, location_ref) for one in explanation.held]
    for chosen in explanation.chosen:
        sentences.append(_sent(chosen, currency, location_ref))
        others = [o for o in explanation.outscored if o.instead_of == chosen.location_id]
        sentences += [_other(other, currency, location_ref) for other in others]
    return sentences + [_lacking(short, skus) for short in explanation.unsourced]


def _considered(explanation: Explanation) -> str:
    removed = ", ".join(f"{count} {why}" for why, count in explanation.removed.items())
    left_out = f" (the others: {removed})" if removed else ""
    may = f"{explanation.considered} of {explanation.locations} locations may serve it{left_out}"
    if not explanation.without_stock:
        return f"{may}."
    verb = "has" if explanation.without_stock == 1 else "have"
    return f"{may}; {explanation.without_stock} of them {verb} nothing of what is wanted."


def _outcome(explanation: Explanation, currency: str) -> str:
    if not explanation.chosen:
        return "Nothing can be sent."
    found = _METHOD.get(explanation.method, _FOUND)
    return f"{found} costs {written(explanation.cost_minor, currency)}."


def _held(held: HeldAt, location_ref: Callable[[int], str]) -> str:
    units = "1 unit was" if held.units == 1 else f"{held.units} units were"
    return f"{units} held at {location_ref(held.location_id)} by the cart."


def _sent(chosen: Chosen, currency: str, location_ref: Callable[[int], str]) -> str:
    units = "1 unit" if chosen.units == 1 else f"{chosen.units} units"
    carriage = written(chosen.carriage_minor, currency)
    handling = written(chosen.handling_minor, currency)
    return (
        f"{location_ref(chosen.location_id)} sends {units} over {chosen.distance_km:.0f} km for "
        f"{written(chosen.cost_minor, currency)} (carriage {carriage}, handling {handling})."
    )


def _other(other: Outscored, currency: str, location_ref: Callable[[int], str]) -> str:
    return (
        f"{location_ref(other.location_id)} could have sent what {location_ref(other.instead_of)} "
        f"sends, for {written(other.cost_minor, currency)} over {other.distance_km:.0f} km: "
        f"{_LOST_BY[other.lost_by]}."
    )


def _lacking(short: Unsourced, skus: Mapping[int, str]) -> str:
    name = skus.get(short.product_id, str(short.product_id))
    verb = "is" if short.qty == 1 else "are"
    why = _SHORT.get(short.why, short.why)
    seen = f" ({short.seen} {'was' if short.seen == 1 else 'were'} seen)" if short.seen else ""
    return f"{short.qty} of {name} {verb} not sourced: {why}{seen}."
