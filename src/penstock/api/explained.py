"""Why an order was sourced the way it was, as clients read it: refs for ids, or sentences.

Pure. The stored explanation is `sourcing.model.Explanation`, written when the decision was made;
nothing is worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_REFS = {"location_id": "location", "instead_of": "instead_of"}
_LOST = {
    "cost": "it would have cost more",
    "later": "it would have been ready later",
    "tie": "all else was equal",
}


def with_refs(
    explanation: Mapping[str, Any],
    location_ref: Callable[[int], str],
    skus: Mapping[int, str],
) -> dict[str, Any]:
    """Return the explanation with refs of locations and SKUs in place of ids."""
    shown = dict(explanation)
    for part in ("chosen", "outscored"):
        shown[part] = [
            {
                _REFS.get(name, name): location_ref(value) if name in _REFS else value
                for name, value in one.items()
            }
            for one in explanation[part]
        ]
    shown["unsourced"] = [
        {"sku": skus.get(one["product_id"], ""), **_without_product(one)}
        for one in explanation["unsourced"]
    ]
    return shown


def _without_product(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "product_id"}


def in_sentences(shown: Mapping[str, Any]) -> list[str]:
    """Return an explanation with refs as sentences that a person reads."""
    how = "exactly" if shown["method"] == "exact" else "by bounded search"
    seen = (
        f"{shown['considered']} of {shown['locations']} locations may serve it; "
        f"the cheapest plan was worked out {how}."
    )
    removed = ", ".join(f"{count} {why}" for why, count in shown["removed"].items())
    return [
        seen,
        *([f"Out of the question: {removed}."] if removed else []),
        *map(_chosen, shown["chosen"]),
        *map(_outscored, shown["outscored"]),
        *map(_unsourced, shown["unsourced"]),
    ]


def _chosen(one: Mapping[str, Any]) -> str:
    return (
        f"{one['location']} sends {one['units']} units over {one['distance_km']:.0f} km for "
        f"{one['cost_minor']} (carriage {one['carriage_minor']}, handling {one['handling_minor']})."
    )


def _outscored(one: Mapping[str, Any]) -> str:
    why = _LOST.get(one["lost_by"], one["lost_by"])
    return (
        f"{one['location']} could have sent what {one['instead_of']} sends, for "
        f"{one['cost_minor']} over {one['distance_km']:.0f} km: {why}."
    )


def _unsourced(one: Mapping[str, Any]) -> str:
    return f"{one['qty']} of {one['sku']} are not sourced: {one['why']} ({one['seen']} were seen)."
