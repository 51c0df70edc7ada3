"""Picking: stock of some sources leaves its position when it is picked, not when it is shipped.

Owns the verbs `pick` and `put_back`. Whether a source counts what stands packed at the door is its
own affair (`stock_source.leaves_at`): of one that does not, a count made between pick and ship is
right only if Penstock lets the stock go at the pick as well. What leaves at ship is not touched
here; what has left here is not reserved any more, so that shipping it moves nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.inventory import counting, store
from penstock.inventory.ledger import Ledger
from penstock.inventory.model import Cause, Reservation
from penstock.passes import Pass


async def pick(tx: Pass, reservations: Sequence[Reservation]) -> list[Reservation]:
    """Let picked stock leave, where its source says so; returns what left.

    The others, and those that were not there any more, stay as they are. The roots have to be
    locked. A reservation with less than it holds is shrunk. Counts of caps keep it as shipped.
    """
    ids = store.id_array(r.position_id for r in reservations)
    ledger = Ledger(await store.lock_positions(tx, ids))
    leaving = {row[0] for row in await tx.fetch(store.SQL.positions_leaving_at_pick, (ids,))}
    asked = [r for r in reservations if r.position_id in leaving]
    ledger.uses = await store.lock_uses(
        tx, counting.keys_back(ledger, [(r.position_id, r.qty, r.counted_by) for r in asked])
    )
    ended = await store.take_from_reservations(tx, asked)
    picked = [r for r in asked if r.id in ended]
    for one in picked:
        ledger.move(one.position_id, -one.qty, -one.qty, (Cause.PICK, one.root_id))
        counting.ship(ledger, one)
    await store.write_uses(tx, ledger.use_moves)
    await _write(tx, ledger)
    return picked


async def put_back(tx: Pass, picked: Sequence[Reservation]) -> None:
    """Put stock back that `pick` let go and that is not shipped; it is free for anybody then.

    The caller has to know that it was picked and not put back before: its root is locked.
    """
    ids = store.id_array(r.position_id for r in picked)
    ledger = Ledger(await store.lock_positions(tx, ids))
    for one in picked:
        ledger.move(one.position_id, one.qty, 0, (Cause.PUT_BACK, one.root_id))
    await _write(tx, ledger)


async def _write(tx: Pass, ledger: Ledger) -> None:
    entries = await store.write_ledger(tx, ledger)
    if entries is not None:
        tx.entries.append(entries)
