"""A customer in words, and the check that needs nothing but the record. Pure."""

from typing import Any

import msgspec

from penstock.errors import Refusal
from penstock.records import check_ref

MAX_TIER = 50


class CustomerInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A customer to make or change, by ref; `tier` is the account's own word."""

    ref: str
    tier: str = "standard"
    name: str | None = None
    email: str | None = None
    address: dict[str, Any] = {}
    attributes: dict[str, Any] = {}


def check_customer(customer: CustomerInput) -> None:
    """Refuse a record that cannot be a customer with `invalid_customer`, naming the field."""
    check_ref(customer.ref, "invalid_customer")
    if not 1 <= len(customer.tier) <= MAX_TIER:
        sentence = f"tier: A tier has 1 to {MAX_TIER} characters."
        raise Refusal("invalid_customer", sentence, field="tier")
