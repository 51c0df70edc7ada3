-- Repairs, each written by a person's word, in a pass of its own.

-- name: lock_position
-- Locks a position and reads it. Index: position_pkey.
SELECT product_id, location_id, pool_id, on_hand, reserved, version, journal_id,
       coalesce((extract(epoch FROM counted_at) * 1000000)::bigint, 0)
FROM position WHERE id = %s FOR NO KEY UPDATE

-- name: kept_of_position
-- What live reservations keep of a position. Index: reservation_position.
SELECT coalesce(sum(qty), 0)::bigint FROM reservation WHERE position_id = %s

-- name: write_position
-- Writes a locked position. Index: position_pkey.
UPDATE position SET on_hand = %s, reserved = %s, version = %s, journal_id = %s WHERE id = %s

-- name: write_repair_journal
-- Appends the journal row of a repair, of cause 20, whose entries are all of one position.
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
SELECT %s::bigint, %s::uuid, %s::timestamptz, array_fill(%s::int, n), array_fill(%s::int, n),
       array_fill(%s::int, n), array_fill(%s::smallint, n), array_fill(20::smallint, n),
       array_fill(%s::uuid, n), %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[],
       array_fill(%s::bigint, n), false
FROM (SELECT ARRAY[%s::int]) AS u (n)

-- name: note_repair_cause
-- Keeps what the cause of a repair's journal entry stands for. Index: stock_cause_pkey.
INSERT INTO stock_cause (id, kind, reference) VALUES (%s, 'repair', %s)

-- name: lock_capacity
-- Locks what is counted on a capacity, made at 0. Index: capacity_pkey.
INSERT INTO capacity AS c (location_id, service, day, used) VALUES (%s, %s, %s, 0)
ON CONFLICT (location_id, service, day, measure) DO UPDATE SET used = c.used
RETURNING used

-- name: count_capacity
-- How many live fulfilments are counted on a capacity. No index leads to them.
SELECT count(*) FROM fulfilment
WHERE origin_id = %s AND service = %s AND capacity_day = %s
  AND status NOT IN ('cancelled', 'rejected')

-- name: write_capacity
-- Writes a locked capacity. Index: capacity_pkey.
UPDATE capacity SET used = %s
WHERE location_id = %s AND service = %s AND day = %s AND measure = 'orders'

-- name: lock_use
-- Locks what a cap or ring-fence has counted, made at 0. Index: control_use_pkey.
INSERT INTO control_use AS c (control_id, product_id, location_id, reserved, shipped)
VALUES (%s, %s, %s, 0, 0)
ON CONFLICT (control_id, product_id, location_id) DO UPDATE SET reserved = c.reserved
RETURNING reserved

-- name: count_use
-- What live reservations keep of a cap or ring-fence. Index: reservation_counted.
SELECT coalesce(sum(r.qty), 0)::bigint
FROM reservation r JOIN position p ON p.id = r.position_id
WHERE r.counted_by IS NOT NULL AND p.product_id = %(product_id)s
  AND CASE WHEN %(location_id)s = 0 THEN %(control_id)s = ANY(r.counted_by)
           ELSE p.location_id = %(location_id)s AND -%(control_id)s = ANY(r.counted_by) END

-- name: write_use
-- Writes a locked count of a cap or ring-fence. Index: control_use_pkey.
UPDATE control_use SET reserved = %s
WHERE control_id = %s AND product_id = %s AND location_id = %s

-- name: read_floor
-- Where the kept journal of a position begins. Index: position_baseline_pkey.
SELECT version, on_hand, reserved, journal_id, lack_cause FROM position_baseline
WHERE kind = %s AND position_id = %s

-- name: write_floor
-- Lets the kept journal of a position begin somewhere. Index: position_baseline_pkey.
INSERT INTO position_baseline (kind, position_id, version, on_hand, reserved, journal_id, lack_cause)
VALUES (1, %s, %s, %s, %s, %s, %s)
ON CONFLICT (kind, position_id) DO UPDATE
SET version = excluded.version, on_hand = excluded.on_hand, reserved = excluded.reserved,
    journal_id = excluded.journal_id, lack_cause = excluded.lack_cause

-- name: drop_floor
-- Lets the journal of a position begin at its beginning. Index: position_baseline_pkey.
DELETE FROM position_baseline WHERE kind = 1 AND position_id = %s

-- name: write_repair
-- Keeps what a repair found and left. No index is read.
INSERT INTO audit_repair (finding_id, subject_key, cause_id, before, after, done_by, done_at)
VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, %s, %s) RETURNING id

-- name: lock_repair
-- Locks a repair that may be undone. Index: audit_repair_pkey.
SELECT id, finding_id, subject_key, before::text, after::text, done_by, done_at, undone_by,
       undone_at
FROM audit_repair WHERE id = %s FOR UPDATE

-- name: undo_repair
-- Keeps that a repair was undone. Index: audit_repair_pkey.
UPDATE audit_repair SET undone_by = %s, undone_at = %s WHERE id = %s

-- name: list_repairs
-- Repairs that were made, the last first. Index: audit_repair_pkey.
SELECT id, finding_id, subject_key, before::text, after::text, done_by, done_at, undone_by,
       undone_at
FROM audit_repair ORDER BY id DESC LIMIT %s

-- name: reopen_finding
-- A finding whose repair was undone, unless it is found again already. Index: audit_finding_pkey.
UPDATE audit_finding AS f SET resolved_at = NULL
WHERE f.id = %s AND NOT EXISTS (SELECT FROM audit_finding o WHERE o.resolved_at IS NULL
                                AND (o.check_name, o.subject) = (f.check_name, f.subject))

-- name: resolve_key
-- Findings that a repair has settled by itself. Index: audit_finding_open.
UPDATE audit_finding SET resolved_at = now() WHERE resolved_at IS NULL AND subject_key = %s
