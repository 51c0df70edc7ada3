"""Settings of the account, by name; a channel's own of the same name beat them.

Owns table `setting`. What a setting means is for who reads it: expressions (`channel.settings`),
and secrets by reference. A setting that a pack gave keeps what was given beside its value, so that
a person's change is told apart from the pack's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal

SQL = Queries("penstock.access", "access.sql")
MAX_VALUE_BYTES = 20_000
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}")
_encode = msgspec.json.Encoder().encode


class Setting(msgspec.Struct, frozen=True):
    """A setting; `given` is what its pack gave, if it is a pack's."""

    name: str
    value: Any
    pack: str | None = None
    given: Any = None

    @property
    def is_changed(self) -> bool:
        """Tell whether somebody has set it to something else than its pack gave."""
        return self.pack is not None and self.value != self.given


async def load_settings(tx: Tx) -> dict[str, Any]:
    """Return every setting of the account, by name."""
    return dict(await tx.fetch(SQL.settings))


async def list_settings(tx: Tx) -> list[Setting]:
    """Return every setting of the account, with what packs gave, by name."""
    return [Setting(*row) for row in await tx.fetch(SQL.settings_in_full)]


async def set_settings(tx: Tx, values: Mapping[str, Any]) -> None:
    """Set settings of the account, all or none; refuses `invalid_setting`."""
    for name, value in values.items():
        check_setting(name, value)
    await tx.execute(SQL.set_settings, (list(values), _encoded(values)))
    await tx.execute(SQL.bump_channel)


async def give_settings(tx: Tx, pack: str, values: Mapping[str, Any]) -> None:
    """Set settings as a pack gives them, whatever they were; refuses `invalid_setting`."""
    for name, value in values.items():
        check_setting(name, value)
    await tx.execute(SQL.give_settings, (pack, list(values), _encoded(values)))
    await tx.execute(SQL.bump_channel)


async def unset_settings(tx: Tx, names: list[str]) -> list[str]:
    """Take settings out; returns those that were there."""
    gone = [row[0] for row in await tx.fetch(SQL.unset_settings, (names,))]
    if gone:
        await tx.execute(SQL.bump_channel)
    return gone


async def leave_settings(tx: Tx, names: list[str]) -> None:
    """Keep settings as the account's own, no pack's any more."""
    await tx.execute(SQL.leave_settings, (names,))


def check_setting(name: str, value: Any) -> None:
    """Refuse with `invalid_setting` what cannot be a setting."""
    if not _NAME.fullmatch(name):
        sentence = (
            f"{name[:80]!r}: a setting's name is up to 100 of a-z, 0-9, _ and ., a letter first."
        )
        raise Refusal("invalid_setting", sentence, field="name")
    body = _encode(value)
    if len(body) > MAX_VALUE_BYTES or b"\\u0000" in body:
        sentence = f"{name}: a value has at most {MAX_VALUE_BYTES:,} bytes, and no NUL."
        raise Refusal("invalid_setting", sentence, field="value")


def _encoded(values: Mapping[str, Any]) -> list[str]:
    return [_encode(value).decode() for value in values.values()]
