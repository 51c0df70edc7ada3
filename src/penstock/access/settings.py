"""Settings of the account, by name; a channel's own of the same name beat them.

Owns table `setting`. What a setting means is for who reads it: expressions (`channel.settings`).
"""

from __future__ import annotations

from typing import Any

from penstock.db import Queries, Tx

SQL = Queries("penstock.access", "access.sql")


async def load_settings(tx: Tx) -> dict[str, Any]:
    """Return every setting of the account, by name."""
    return dict(await tx.fetch(SQL.settings))
