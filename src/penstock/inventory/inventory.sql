-- name: lock_positions
-- Locks the positions of a pass in id order and returns their values. Index: position_pkey.
SELECT id, product_id, location_id, pool_id, on_hand, reserved, version, journal_id,
       coalesce((extract(epoch FROM counted_at) * 1000000)::bigint, 0)
FROM position WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE

-- name: positions_leaving_at_pick
-- Which positions' stock leaves when it is picked. Indexes: position_pkey, stock_source_pkey.
SELECT p.id FROM position p JOIN stock_source s ON s.id = p.source_id
WHERE p.id = ANY(%s) AND s.leaves_at = 'pick'

-- name: positions_with_anything_left
-- Ids of every position of the products that may still give something, expired holds included.
-- Indexes: position_unique (product first), reservation_hold.
SELECT p.id FROM position p
WHERE p.product_id = ANY(%s)
  AND (p.on_hand > p.reserved
       OR EXISTS (SELECT 1 FROM reservation r
                  WHERE r.position_id = p.id AND r.expires_at <= %s))

-- name: write_positions
-- Writes the sums of a pass, one row per position. The version is the backstop: fewer rows than the
-- last parameter says divide by zero. Index: position_pkey.
WITH written AS (
    UPDATE position p
    SET on_hand = u.on_hand, reserved = u.reserved, version = u.version, journal_id = u.journal_id
    FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[])
         AS u (id, first_version, on_hand, reserved, version, journal_id)
    WHERE p.id = u.id AND p.version = u.first_version
    RETURNING 1
)
SELECT 1 / (count(*) = %s)::int FROM written

-- name: write_journal
-- Appends one journal row. No index is read.
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand, occurred_us)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[])

-- name: delete_reservations
-- Ends whole reservations and tells which were really there. Index: reservation_pkey.
DELETE FROM reservation r USING unnest(%s::uuid[], %s::int[]) AS u (id, qty)
WHERE r.id = u.id AND r.qty = u.qty RETURNING r.id

-- name: shrink_reservations
-- Takes a part of reservations and tells which were really there. Index: reservation_pkey.
UPDATE reservation r SET qty = r.qty - u.qty FROM unnest(%s::uuid[], %s::int[]) AS u (id, qty)
WHERE r.id = u.id AND r.qty > u.qty RETURNING r.id

-- name: end_expired_holds
-- Ends the expired holds on locked positions. Index: reservation_hold.
DELETE FROM reservation WHERE position_id = ANY(%s) AND expires_at <= %s
RETURNING position_id, qty, root_id, counted_by

-- name: expired_holds
-- Expired holds and their positions, oldest first, for the background. Index: reservation_expiry.
SELECT id, position_id FROM reservation WHERE expires_at <= %s ORDER BY expires_at LIMIT %s

-- name: end_holds
-- Ends those of the holds on locked positions that have expired. Index: reservation_pkey.
DELETE FROM reservation WHERE id = ANY(%s::uuid[]) AND expires_at <= %s
RETURNING position_id, qty, root_id, counted_by

-- name: lock_capacity
-- Makes and locks counted capacity rows in key order. Index: capacity_pkey.
INSERT INTO capacity AS c (location_id, service, day, used)
SELECT location_id, service, day, 0
FROM unnest(%s::int[], %s::text[], %s::date[]) AS u (location_id, service, day)
ORDER BY 1, 2, 3
ON CONFLICT (location_id, service, day, measure) DO UPDATE SET used = c.used
RETURNING location_id, service, day, used

-- name: write_capacity
-- Adds to locked capacity rows. Index: capacity_pkey.
UPDATE capacity c SET used = c.used + u.orders
FROM unnest(%s::int[], %s::text[], %s::date[], %s::int[]) AS u (location_id, service, day, orders)
WHERE c.location_id = u.location_id AND c.service = u.service AND c.day = u.day
  AND c.measure = 'orders'

-- name: capacity_used
-- What is counted on the given days, for the view that sourcing proposes from. Index: capacity_pkey.
SELECT location_id, service, day, used FROM capacity WHERE day = ANY(%s)

-- name: lock_uses
-- Makes and locks what is counted on caps and ring-fences, in key order. Index: control_use_pkey.
INSERT INTO control_use AS c (control_id, product_id, location_id, reserved, shipped)
SELECT control_id, product_id, location_id, 0, 0
FROM unnest(%s::int[], %s::int[], %s::int[]) AS u (control_id, product_id, location_id)
ORDER BY 1, 2, 3
ON CONFLICT (control_id, product_id, location_id) DO UPDATE SET reserved = c.reserved
RETURNING control_id, product_id, location_id, reserved + shipped

-- name: write_uses
-- Adds to locked counts. Index: control_use_pkey.
UPDATE control_use AS c SET reserved = c.reserved + u.reserved, shipped = c.shipped + u.shipped
FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::int[])
     AS u (control_id, product_id, location_id, reserved, shipped)
WHERE c.control_id = u.control_id AND c.product_id = u.product_id
  AND c.location_id = u.location_id

-- name: reservations_of_roots
-- The live reservations of locked roots. Index: reservation_root.
SELECT id, position_id, qty, kind, root_id, demand_id, fulfilment_id, priority, promised_at,
       expires_at, counted_by
FROM reservation WHERE root_id = ANY(%s::uuid[]) ORDER BY id

-- name: reservations_of_short_positions
-- What may be shed, first to go first. Index: reservation_position.
SELECT r.id, r.position_id, r.qty, r.kind, r.root_id, r.demand_id, r.counted_by
FROM reservation r WHERE r.position_id = ANY(%s)
ORDER BY r.position_id, r.kind, r.priority, r.promised_at DESC NULLS FIRST, r.id DESC

-- name: find_positions
-- Resolves business keys to positions, as one array, 0 where there is none. Index: position_unique.
SELECT array_agg(coalesce(p.id, 0) ORDER BY u.place)
FROM unnest(%s::int[], %s::int[], %s::smallint[]) WITH ORDINALITY
     AS u (product_id, location_id, pool_id, place)
LEFT JOIN position p USING (product_id, location_id, pool_id)

-- name: make_positions
-- Makes empty positions where there are none; losers of a race are found by the next statement.
INSERT INTO position (id, product_id, location_id, pool_id, on_hand, reserved, version, journal_id)
SELECT nextval('position_id'), product_id, location_id, pool_id, 0, 0, 0, 0
FROM unnest(%s::int[], %s::int[], %s::smallint[]) AS u (product_id, location_id, pool_id)
ORDER BY product_id, location_id, pool_id
ON CONFLICT DO NOTHING

-- name: lock_positions_columns
-- As lock_positions, returned as arrays for thousands of rows. Index: position_pkey.
SELECT array_agg(id), array_agg(on_hand), array_agg(reserved), array_agg(version),
       array_agg(journal_id), array_agg(coalesce((extract(epoch FROM counted_at) * 1000000)::bigint, 0))
FROM (SELECT * FROM position WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE) p

-- name: write_counts
-- Writes counted positions whose version is still the known one; ids come sorted, so that the
-- nested loop locks in id order. Returns them with the journal row they had, which needs
-- PostgreSQL 18: a quarter faster than the join below. Index: position_pkey.
WITH written AS (
    UPDATE position p
    SET on_hand = u.on_hand, version = p.version + 1, journal_id = u.journal_id,
        source_id = u.source_id,
        counted_at = timestamptz 'epoch' + u.counted_us * interval '1 microsecond'
    FROM unnest(%s::int[], %s::int[], %s::int[], %s::bigint[], %s::smallint[], %s::bigint[])
         AS u (id, known_version, on_hand, journal_id, source_id, counted_us)
    WHERE p.id = u.id AND p.version = u.known_version
    RETURNING p.id, old.journal_id AS previous_id
)
SELECT array_agg(id), array_agg(previous_id) FROM written

-- name: write_counts_before_18
-- As write_counts, on servers that cannot return old values. Index: position_pkey.
WITH written AS (
    UPDATE position p
    SET on_hand = u.on_hand, version = p.version + 1, journal_id = u.journal_id,
        source_id = u.source_id,
        counted_at = timestamptz 'epoch' + u.counted_us * interval '1 microsecond'
    FROM unnest(%s::int[], %s::int[], %s::int[], %s::bigint[], %s::smallint[], %s::bigint[])
         AS u (id, known_version, on_hand, journal_id, source_id, counted_us)
    JOIN position o ON o.id = u.id AND o.version = u.known_version
    WHERE p.id = u.id AND p.version = u.known_version
    RETURNING p.id, o.journal_id AS previous_id
)
SELECT array_agg(id), array_agg(previous_id) FROM written

-- name: next_position_ids
-- Ids for positions to be made, ascending.
SELECT array_agg(nextval('position_id')::int) FROM generate_series(1, %s)

-- name: make_counted_positions
-- Makes positions with their first count; of keys that are there already nothing is written and no
-- id returned. Keys come sorted. Indexes: position_pkey, position_unique.
WITH made AS (
    INSERT INTO position (id, product_id, location_id, pool_id, source_id, on_hand, reserved,
        version, journal_id, counted_at)
    SELECT id, product_id, location_id, pool_id, source_id, on_hand, 0, 1, journal_id,
           timestamptz 'epoch' + counted_us * interval '1 microsecond'
    FROM unnest(%s::int[], %s::int[], %s::int[], %s::smallint[], %s::smallint[], %s::int[],
                %s::bigint[], %s::bigint[])
         AS u (id, product_id, location_id, pool_id, source_id, on_hand, journal_id, counted_us)
    ON CONFLICT ON CONSTRAINT position_unique DO NOTHING
    RETURNING id
)
SELECT array_agg(id) FROM made

-- name: write_count_journal
-- As write_journal, for entries of one cause that reserve nothing. No index is read.
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
SELECT %s::bigint, %s::uuid, %s::timestamptz, %s::int[], %s::int[], %s::int[], %s::smallint[],
       array_fill(%s::smallint, ARRAY[n]), array_fill(%s::uuid, ARRAY[n]), %s::int[],
       array_fill(0, ARRAY[n]), %s::int[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], false
FROM (SELECT %s::int) AS u (n)

-- name: write_instants
-- Leaves the instant of a count that changed nothing on locked positions. Index: position_pkey.
UPDATE position p
SET counted_at = timestamptz 'epoch' + u.counted_us * interval '1 microsecond'
FROM unnest(%s::int[], %s::bigint[]) AS u (id, counted_us)
WHERE p.id = u.id

-- name: write_count_note
-- Leaves the instants of counts that changed nothing.
INSERT INTO count_note (pass_id, source_id, position_ids, counted_ats) VALUES (%s, %s, %s, %s)

-- name: movements_since
-- On-hand movements of positions after an instant, for counts taken before them; as columns. The
-- ids are joined, because a generic plan looks through `= ANY` one by one. Index: journal_movements.
SELECT array_agg(e.position_id), array_agg(e.delta),
       array_agg(coalesce(e.occurred_us, (extract(epoch FROM j.occurred_at) * 1000000)::bigint))
FROM journal j
CROSS JOIN LATERAL unnest(j.position_ids, j.on_hand_deltas, j.cause_kinds, j.occurred_us)
     AS e (position_id, delta, cause_kind, occurred_us)
JOIN unnest(%s::int[]) AS u (id) ON u.id = e.position_id
WHERE j.moves_on_hand AND j.occurred_at > %s AND e.delta <> 0 AND e.cause_kind IN (2, 6, 11, 12)
