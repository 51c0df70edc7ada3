"""Durations as documents write them: 90s, 30m, 2h, 3d, 2w."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import msgspec

from penstock.errors import Refusal

PATTERN = r"^[0-9]{1,6}[smhdw]$"
Duration = Annotated[
    str,
    msgspec.Meta(
        pattern=PATTERN, description="A number with s, m, h, d or w: 30m is half an hour."
    ),
]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Read a duration; refuses with `invalid_duration`."""
    if not re.fullmatch(PATTERN, text):
        raise Refusal("invalid_duration", f"{text[:40]!r} is no duration such as 90s, 30m or 2h.")
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
