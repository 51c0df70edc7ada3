"""Sourcing profiles as the business stores them: versioned documents with a rate card.

Owns table `sourcing_profile` and the checks on a document. A new document is a new version;
activating one is atomic, and rolling back is activating an older document again.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.directory import SQL
from penstock.records import Result, answers, check_ref, sift
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


class ProfileInput(ProfileDocument, forbid_unknown_fields=True, kw_only=True):
    """A profile to store and activate, by ref: its rate card, for a channel or for everyone."""

    ref: str
    channel: str | None = None

    def document(self) -> ProfileDocument:
        """Return what is stored of it."""
        return ProfileDocument(
            self.distance_km_upto, self.weight_g_upto, self.amount_minor, self.per_extra_kg_minor
        )


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


async def upsert_profiles(tx: Tx, profiles: Sequence[ProfileInput]) -> list[Result]:
    """Store and activate profiles, each a new version of its ref unless that is active just so.

    Returns `created`, `updated`, `unchanged` or a refusal each: `invalid_profile`,
    `unknown_channel`, `superseded` (a later record has the same ref, or is for the same channel).
    """
    refusals, good, _ = sift(profiles, check_profile, _ref, "invalid_profile")
    await tx.execute(SQL.lock_sourcing)
    refs = {one.channel for one in good if one.channel is not None}
    channels: dict[str | None, int | None] = {None: None}
    channels |= dict(await tx.fetch(SQL.channel_ids, (sorted(refs),)))
    active = {row[0]: (row[2], row[3]) for row in await tx.fetch(SQL.active_profiles)}
    last = {one.channel: one.ref for one in good}
    refused: dict[str, Refusal] = {}
    written: dict[Hashable, str] = {}
    for one in good:
        if one.channel not in channels:
            refused[one.ref] = _unknown_channel(one.channel or "")
        elif last[one.channel] != one.ref:
            sentence = "A later record of this list is for the same channel."
            refused[one.ref] = Refusal("superseded", sentence, field="channel")
        elif not _is_active(one, channels[one.channel], active):
            document = msgspec.to_builtins(one.document())
            version = await put_profile(tx, one.ref, document, channels[one.channel])
            written[one.ref] = "created" if version == 1 else "updated"
    refusals = [r or refused.get(one.ref) for r, one in zip(refusals, profiles, strict=True)]
    return answers(profiles, refusals, written, _ref)


def check_profile(profile: ProfileInput) -> None:
    """Refuse a record that cannot be a profile with `invalid_profile`."""
    check_ref(profile.ref, "invalid_profile")
    read_profile(profile.ref, 0, msgspec.to_builtins(profile.document()))


def _is_active(
    profile: ProfileInput, channel_id: int | None, active: dict[str, tuple[int | None, Any]]
) -> bool:
    if profile.ref not in active:
        return False
    active_id, document = active[profile.ref]
    is_same = msgspec.convert(document, ProfileDocument) == profile.document()
    return is_same and active_id == channel_id


def _unknown_channel(ref: str) -> Refusal:
    return Refusal("unknown_channel", f"There is no channel {ref[:100]!r}.", channel=ref[:100])


def _ref(profile: ProfileInput) -> str:
    return profile.ref


async def load_profiles(tx: Tx) -> dict[int | None, Profile]:
    """Load the active profiles by channel id; None is everyone's."""
    rows = await tx.fetch(SQL.active_profiles)
    return {row[2]: read_profile(row[0], row[1], row[3]) for row in rows}
