"""Sourcing profiles as the business stores them: versioned documents with a rate card.

Owns table `sourcing_profile` and the checks on a document. A new document is a new version;
activating one is atomic, and rolling back is activating an older document again.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import msgspec
import numpy as np

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.directory import SQL
from penstock.records import check_ref
from penstock.sourcing.model import Profile, RateCard

_MOST_BANDS = msgspec.Meta(max_length=200)
_Amount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Distance = Annotated[float, msgspec.Meta(gt=0)]
_Weight = Annotated[int, msgspec.Meta(gt=0, le=1_000_000_000)]


class ProfileDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A rate card: `amount_minor[distance band][weight band]`, bands by ascending upper bound."""

    distance_km_upto: Annotated[list[_Distance], _MOST_BANDS]
    weight_g_upto: Annotated[list[_Weight], _MOST_BANDS]
    amount_minor: list[list[_Amount]]
    per_extra_kg_minor: list[_Amount]


def read_profile(ref: str, version: int, document: Any) -> Profile:
    """Check a document and turn it into a profile; refuses with `invalid_profile`."""
    try:
        card = msgspec.convert(document, ProfileDocument)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_profile", f"Profile {ref!r}: {error}") from None
    for name, bounds in (("distance", card.distance_km_upto), ("weight", card.weight_g_upto)):
        if not bounds or any(b <= a for a, b in itertools.pairwise(bounds)):
            raise Refusal("invalid_profile", f"Profile {ref!r}: {name} bands have to ascend.")
    distances, weights = len(card.distance_km_upto), len(card.weight_g_upto)
    if [len(row) for row in card.amount_minor] != [weights] * distances:
        shape = f"{distances} rows of {weights}"
        raise Refusal("invalid_profile", f"Profile {ref!r}: amount_minor needs {shape}.")
    if len(card.per_extra_kg_minor) != distances:
        raise Refusal("invalid_profile", f"Profile {ref!r}: an extra kilogram per distance band.")
    rate_card = RateCard(
        np.array(card.distance_km_upto, dtype=np.float64),
        np.array(card.weight_g_upto, dtype=np.int64),
        np.array(card.amount_minor, dtype=np.int64),
        np.array(card.per_extra_kg_minor, dtype=np.int64),
    )
    return Profile(ref, version, rate_card)


async def put_profile(
    tx: Tx, ref: str, document: Any, channel_id: int | None = None, *, activate: bool = True
) -> int:
    """Store a document as the profile's next version and activate it; returns the version.

    An active profile takes the place of its channel's (None: everyone's) last one. Refuses
    `invalid_profile`. Bumps revision `sourcing`.
    """
    read_profile(ref, 0, document)
    check_ref(ref, "invalid_profile")
    await tx.execute(SQL.lock_sourcing)
    rows = await tx.fetch(SQL.next_profile_version, (ref,))
    version = int(rows[0][0])
    if activate:
        await tx.execute(SQL.deactivate_profiles, (ref, channel_id))
    body = msgspec.json.encode(document).decode()
    await tx.execute(SQL.insert_profile, (ref, version, channel_id, body, activate))
    await tx.execute(SQL.bump_sourcing)
    return version


async def load_profiles(tx: Tx) -> dict[int | None, Profile]:
    """Load the active profiles by channel id; None is everyone's."""
    rows = await tx.fetch(SQL.active_profiles)
    return {row[2]: read_profile(row[0], row[1], row[3]) for row in rows}
