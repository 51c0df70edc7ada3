"""Dates of an order as its document has them, in words: promised, expected, due, by whom."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def choice_dates(choice: dict[str, Any]) -> str | None:
    """Return what a choice was promised and what is expected now; None if nothing was."""
    promised = _span(choice.get("promised_from"), choice.get("promised_at"))
    if promised is None:
        return None
    expected = _span(choice.get("expected_from"), choice.get("expected_until"))
    if expected is None:
        return f"Promised {promised}; now nobody knows when."
    if choice["is_late"]:
        return f"Promised {promised}; late: now expected {expected}."
    return (
        f"Promised {promised}."
        if expected == promised
        else (f"Promised {promised}; now expected {expected}.")
    )


def fulfilment_dates(part: dict[str, Any]) -> str | None:
    """Return by when a location has to be done, by whom it goes, and when it is there."""
    if part.get("due_at") is None:
        return None
    words = [f"due {_day(part['due_at'])}"]
    if "carrier" in part:
        words.append(f"by {part['carrier']}")
    there = _span(part.get("expected_from"), part.get("expected_until"))
    if there is not None:
        words.append(f"there {there}")
    return ", ".join(words)


def _span(since: str | None, until: str | None) -> str | None:
    if until is None:
        return None
    if since is None or since == until:
        return _day(until)
    first, last = datetime.fromisoformat(since), datetime.fromisoformat(until)
    if first.date() == last.date() and first.utcoffset() == last.utcoffset():
        return f"{first:%a %d %b %H:%M} to {last:%H:%M %Z}"
    return f"{_day(since)} to {_day(until)}"


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%a %d %b %H:%M %Z}"
