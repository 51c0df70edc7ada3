"""Money: integer minor units and an ISO 4217 currency. Never a float.

Owns the checks on currencies and amounts and the one way a line's amount is shared over its
quantity: differences of cumulative rounded shares, so that parts always add up to the whole
(DESIGN section 4).
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from penstock.errors import Refusal

MAX_AMOUNT_MINOR = 10**15
_CODE_LENGTH = 3
# ISO 4217's list of 2026: where the minor unit is not a hundredth.
_MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def check_currency(code: str) -> str:
    """Return the code if it looks like ISO 4217, else refuse with `invalid_currency`."""
    if len(code) == _CODE_LENGTH and code.isascii() and code.isupper() and code.isalpha():
        return code
    raise Refusal("invalid_currency", f"{code[:10]!r} is not an ISO 4217 code such as GBP.")


def digits(currency: str) -> int:
    """Return how many decimals amounts of a currency have."""
    return _MINOR_DIGITS.get(currency, 2)


def decimals_of(number: Decimal) -> int:
    """Return how many decimals a number needs."""
    exponent = number.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def written(amount_minor: int, currency: str) -> str:
    """Return an amount for people, with the decimals its currency has: `1,234.50 GBP`."""
    places = digits(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**places)
    decimals = f".{rest:0{places}d}" if places else ""
    return f"{sign}{whole:,}{decimals} {currency}"


def check_amount(amount_minor: int) -> int:
    """Return the amount, or refuse with `amount_out_of_range` what no money column can hold."""
    if abs(amount_minor) <= MAX_AMOUNT_MINOR:
        return amount_minor
    raise Refusal("amount_out_of_range", f"An amount is at most {MAX_AMOUNT_MINOR} minor units.")


def check_price(unit_price: Decimal) -> Decimal:
    """Return the price, or refuse with `amount_out_of_range` what is no number or too large."""
    if unit_price.is_finite() and abs(unit_price) <= MAX_AMOUNT_MINOR:
        return unit_price
    raise Refusal("amount_out_of_range", f"A price is a number of at most {MAX_AMOUNT_MINOR}.")


def share_minor(amount_minor: int, qty_from: int, qty_to: int, qty_total: int) -> int:
    """Return the part of an amount that units `qty_from` to `qty_to` of `qty_total` carry.

    Shares over consecutive ranges add up to the amount exactly, whatever the ranges.
    """
    return _upto(amount_minor, qty_to, qty_total) - _upto(amount_minor, qty_from, qty_total)


def price_for(unit_price: Decimal, per_qty: int, qty: int, currency: str) -> int:
    """Return the minor amount of `qty` at a decimal price per `per_qty`, rounded half up."""
    exact = unit_price * qty / per_qty * (10 ** digits(currency))
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _upto(amount_minor: int, qty: int, qty_total: int) -> int:
    doubled = 2 * abs(amount_minor) * qty + qty_total
    rounded = doubled // (2 * qty_total)
    return rounded if amount_minor >= 0 else -rounded
