"""Orders' verbs: claim refs and keys, so that what comes twice has one effect.

Claims are made in sorted order before any other lock (DESIGN section 5): of two passes that send
the same keys in two orders, one waits for the other. A loser is answered from what is stored, or
refused if its body differs. Trees themselves are written by `store.write_orders`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from penstock.db import Tx, bytes_array, text_array, uuid_array
from penstock.errors import Refusal
from penstock.orders.store import SQL
from penstock.passes import Pass


class Claim(msgspec.Struct, gc=False):
    """A ref in a channel that an order wants, with the hash of the order's body."""

    channel_id: int
    ref: str
    order_id: str
    body_hash: bytes


async def claim_refs(tx: Tx, claims: Sequence[Claim]) -> list[str | Refusal]:
    """Claim refs; returns per claim the id of the order that holds the ref, or a refusal.

    An id other than the claim's own is that of an order taken in before, with the same body.
    Another body is refused with `order_ref_taken`.
    """
    holders: dict[tuple[int, str], tuple[str, bytes]] = {}
    for claim in claims:
        holders.setdefault((claim.channel_id, claim.ref), (claim.order_id, claim.body_hash))
    rows = [(key[0], key[1], value[0], value[1]) for key, value in sorted(holders.items())]
    if not rows:
        return []
    channels, refs, ids, hashes = (list(column) for column in zip(*rows, strict=True))
    numbers = np.array(channels, dtype=np.int32)
    params = (numbers, text_array(refs), uuid_array(ids), bytes_array(hashes))
    won = {row[0] for row in await tx.fetch(SQL.claim_refs, params)}
    lost = [row for row in rows if row[2] not in won]
    if lost:
        keys = ([row[0] for row in lost], [row[1] for row in lost])
        for channel_id, ref, order_id, body_hash in await tx.fetch(SQL.find_refs, keys):
            holders[(channel_id, ref)] = (order_id, bytes(body_hash))
    return [_holder(claim, holders[(claim.channel_id, claim.ref)]) for claim in claims]


def _holder(claim: Claim, holder: tuple[str, bytes]) -> str | Refusal:
    order_id, body_hash = holder
    if body_hash == claim.body_hash:
        return order_id
    return Refusal(
        "order_ref_taken",
        f"Order {claim.ref!r} is in this channel already, with other contents.",
        ref=claim.ref,
        order_id=order_id,
    )


class StoredAnswer(bytes):
    """An answer that was found under its key: the request was decided before."""

    __slots__ = ()


async def claim_keys(
    tx: Pass, keys: Sequence[tuple[str, bytes]]
) -> dict[str, StoredAnswer | Refusal | None]:
    """Claim idempotency keys with their bodies' hashes; returns what is stored under each.

    None: the key is ours, and has to go to `write_answers` or `drop_keys` in this pass. A key
    with another body is refused with `idempotency_key_reused`.
    """
    wanted = dict(keys)
    if not wanted:
        return {}
    names = sorted(wanted)
    hashes = bytes_array([wanted[name] for name in names])
    params = (tx.id, text_array(names), hashes)
    won = {row[0] for row in await tx.fetch(SQL.claim_keys, params)}
    results: dict[str, StoredAnswer | Refusal | None] = dict.fromkeys(won)
    lost = [name for name in names if name not in won]
    if lost:
        for name, body_hash, answer in await tx.fetch(SQL.find_keys, (lost,)):
            same = bytes(body_hash) == wanted[name]
            body = msgspec.json.encode(answer)
            results[name] = StoredAnswer(body) if same else _reused(name)
    return results


def _reused(key: str) -> Refusal:
    return Refusal(
        "idempotency_key_reused",
        f"Idempotency key {key[:60]!r} was used for another request.",
        key=key[:200],
    )


async def drop_keys(tx: Tx, keys: Sequence[str]) -> None:
    """Give up keys claimed in this pass whose request was not decided: they may be used again."""
    if keys:
        tx.queue(SQL.drop_keys, (text_array(keys),))


async def write_answers(tx: Tx, answers: Sequence[tuple[str, bytes]]) -> None:
    """Store answers under keys claimed in this pass."""
    if answers:
        bodies = text_array([body.decode() for _, body in answers])
        tx.queue(SQL.write_answers, (text_array([key for key, _ in answers]), bodies))
