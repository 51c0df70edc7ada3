"""Customers' verbs: make or change customers, many at once, by ref."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from penstock.access.attribute_types import checking, load_attribute_types
from penstock.customers.model import CustomerInput, check_customer
from penstock.customers.store import SQL
from penstock.db import Tx, uuid_array
from penstock.ids import new_id
from penstock.records import Result, answers, sift


async def upsert_customers(tx: Tx, customers: Sequence[CustomerInput]) -> list[Result]:
    """Make or change customers; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_customer`, `invalid_attribute`, `superseded` (a later record of the list has
    the same ref).
    """
    check = checking(await load_attribute_types(tx, "customer"), "customer", check_customer)
    refusals, good, body = sift(customers, check, _ref, "invalid_customer")
    written: dict[Hashable, str] = {}
    if good:
        ids = uuid_array(new_id() for _ in good)
        rows = await tx.fetch(SQL.upsert_customers, (body, ids), prepare=False)  # it grows fast
        written = {ref: "created" if is_new else "updated" for ref, is_new in rows}
    return answers(customers, refusals, written, _ref)


def _ref(customer: CustomerInput) -> str:
    return customer.ref
