"""Customers' verbs: make or change customers, many at once, by ref."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.customers.store import SQL
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.ids import new_id

MAX_REF = 100


class CustomerInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A customer; `tier` is the account's own word."""

    ref: str
    tier: str = "standard"
    name: str | None = None
    email: str | None = None
    address: dict[str, Any] = {}
    attributes: dict[str, Any] = {}


async def upsert_customers(tx: Tx, customers: Sequence[CustomerInput]) -> int:
    """Make or change customers; of two with one ref the later stands. Returns how many changed.

    Refuses `invalid_customer` as a whole.
    """
    by_ref = {customer.ref: customer for customer in customers}
    for ref in by_ref:
        if not 1 <= len(ref) <= MAX_REF:
            raise Refusal("invalid_customer", f"A ref has 1 to {MAX_REF} characters.", field="ref")
    if not by_ref:
        return 0
    ids = [new_id() for _ in by_ref]
    body = msgspec.json.encode(list(by_ref.values())).decode()
    return await tx.execute(SQL.upsert_customers, (body, ids))
