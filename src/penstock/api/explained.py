"""Why an order was sourced the way it was, as data that clients read: refs for ids.

Pure. The stored explanation is `sourcing.model.Explanation`, written when the decision was made;
nothing is worked out again. Sentences are made by `sourcing/explain.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_REFS = {"location_id": "location", "instead_of": "instead_of"}


def with_refs(
    explanation: Mapping[str, Any],
    location_ref: Callable[[int], str],
    skus: Mapping[int, str],
) -> dict[str, Any]:
    """Return the explanation with refs of locations and SKUs in place of ids."""
    shown = dict(explanation)
    for part in [one for one in ("chosen", "outscored", "held") if one in explanation]:
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
