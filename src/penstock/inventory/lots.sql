-- name: track_products
-- Begins to keep lots of products. Index: lot_tracked_pkey.
INSERT INTO lot_tracked (product_id) SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING
RETURNING product_id

-- name: bump_lots
-- Tells every process that lots are kept of other products.
UPDATE revision SET value = value + 1 WHERE name = 'lot'

-- name: tracked_products
-- The products of which lots are kept: a small set that every process holds. Index: none.
SELECT coalesce(array_agg(product_id ORDER BY product_id), '{}') FROM lot_tracked

-- name: tracked_of
-- Of which products lots are kept. Index: lot_tracked_pkey.
SELECT product_id FROM lot_tracked WHERE product_id = ANY(%s)

-- name: lots_of_positions
-- What positions are made of. Indexes: lot_stock_pkey, lot_pkey, area_pkey.
SELECT s.position_id, s.lot_id, s.area_id, s.qty, l.ref, l.expires_on, coalesce(a.ref, ''),
       coalesce(a.kind, 'pick'), s.is_blocked
FROM lot_stock AS s
JOIN lot AS l ON l.id = s.lot_id
LEFT JOIN area AS a ON a.id = s.area_id
WHERE s.position_id = ANY(%s) ORDER BY s.position_id, s.lot_id, s.area_id

-- name: pegs_of_positions
-- Pegs, oldest first, with what is left of their reservations. Indexes: lot_peg_position,
-- reservation_pkey.
SELECT g.position_id, g.reservation_id, g.root_id, g.lot_id, g.qty, g.is_fixed, coalesce(r.qty, 0)
FROM lot_peg AS g LEFT JOIN reservation AS r ON r.id = g.reservation_id
WHERE g.position_id = ANY(%s) ORDER BY g.position_id, g.pegged_at, g.reservation_id, g.lot_id

-- name: days_of_positions
-- What is on hand, the day it is there, and what is blocked. Indexes: position_pkey,
-- location_pkey, reservation_blocked.
SELECT p.id, p.on_hand, (%s::timestamptz AT TIME ZONE c.time_zone)::date, coalesce(r.qty, 0)
FROM position AS p
JOIN location AS c ON c.id = p.location_id
LEFT JOIN reservation AS r ON r.position_id = p.id AND r.kind = 3
WHERE p.id = ANY(%s)

-- name: put_lots
-- Makes or changes lots, in order of their keys; returns all with their ids. What is not said of an
-- expiry or a supplier stays. Index: lot_ref_unique.
INSERT INTO lot AS l (product_id, ref, expires_on, supplier)
SELECT product_id, ref, expires_on, coalesce(supplier, '')
FROM unnest(%s::int[], %s::text[], %s::date[], %s::text[])
     AS u (product_id, ref, expires_on, supplier)
ORDER BY product_id, ref
ON CONFLICT ON CONSTRAINT lot_ref_unique DO UPDATE
SET expires_on = coalesce(excluded.expires_on, l.expires_on),
    supplier = coalesce(nullif(excluded.supplier, ''), l.supplier)
RETURNING product_id, ref, id, expires_on

-- name: write_lot_stock
-- Writes the lots of locked positions; those with nothing left are taken out. Index: lot_stock_pkey.
WITH u AS (
    SELECT * FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::bool[])
         AS u (position_id, lot_id, area_id, qty, is_blocked)
), gone AS (
    DELETE FROM lot_stock AS s USING u
    WHERE s.position_id = u.position_id AND s.lot_id = u.lot_id AND s.area_id = u.area_id
      AND u.qty = 0
)
INSERT INTO lot_stock (position_id, lot_id, area_id, qty, is_blocked)
SELECT position_id, lot_id, area_id, qty, is_blocked FROM u WHERE qty > 0
ON CONFLICT (position_id, lot_id, area_id) DO UPDATE
SET qty = excluded.qty, is_blocked = excluded.is_blocked

-- name: write_pegs
-- Writes pegs on locked positions; those with nothing left are taken out. Index: lot_peg_pkey.
WITH u AS (
    SELECT * FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::uuid[], %s::int[], %s::bool[])
         AS u (reservation_id, lot_id, position_id, root_id, qty, is_fixed)
), gone AS (
    DELETE FROM lot_peg AS g USING u
    WHERE g.reservation_id = u.reservation_id AND g.lot_id = u.lot_id AND u.qty = 0
)
INSERT INTO lot_peg (reservation_id, lot_id, position_id, root_id, qty, is_fixed, pegged_at)
SELECT reservation_id, lot_id, position_id, root_id, qty, is_fixed, %s FROM u WHERE qty > 0
ON CONFLICT (reservation_id, lot_id) DO UPDATE
SET qty = excluded.qty, is_fixed = excluded.is_fixed

-- name: write_blocked
-- Writes what locked positions have blocked, a reservation each. Index: reservation_blocked.
WITH u AS (
    SELECT * FROM unnest(%s::int[], %s::uuid[], %s::uuid[], %s::int[])
         AS u (position_id, id, root_id, qty)
), gone AS (
    DELETE FROM reservation AS r USING u
    WHERE r.position_id = u.position_id AND r.kind = 3 AND u.qty = 0
)
INSERT INTO reservation (id, position_id, qty, kind, root_id, demand_id)
SELECT id, position_id, qty, 3, root_id, root_id FROM u WHERE qty > 0
ON CONFLICT (position_id) WHERE kind = 3 DO UPDATE SET qty = excluded.qty

-- name: lot_moves_since
-- What has left or come of lots after an instant, for counts taken before. Index:
-- lot_entry_position.
SELECT position_id, lot_id, area_id, qty_delta, (extract(epoch FROM occurred_at) * 1000000)::bigint
FROM lot_entry WHERE position_id = ANY(%s) AND occurred_at > %s AND cause_kind <> 1

-- name: reservations_by_id
-- Live reservations of demands. Index: reservation_pkey.
SELECT id, position_id, qty, root_id FROM reservation WHERE id = ANY(%s::uuid[]) AND kind < 3

-- name: reservations_of_fulfilment
-- What a fulfilment's order keeps for it. Indexes: reservation_root, position_pkey.
SELECT r.id, p.product_id, r.position_id, r.qty
FROM reservation AS r JOIN position AS p ON p.id = r.position_id
WHERE r.root_id = %s AND r.fulfilment_id = %s ORDER BY p.product_id, r.id

-- name: positions_out_of_date
-- Positions with lots that have expired since, or whose expiry was put right. Indexes: lot_expiry,
-- lot_stock_lot, lot_stock_blocked.
WITH day AS (SELECT %s::timestamptz AS now)
SELECT s.position_id
FROM day
JOIN lot AS l ON l.expires_on <= (day.now AT TIME ZONE 'UTC')::date
JOIN lot_stock AS s ON s.lot_id = l.id AND NOT s.is_blocked
JOIN position AS p ON p.id = s.position_id
JOIN location AS c ON c.id = p.location_id
WHERE l.expires_on < (day.now AT TIME ZONE c.time_zone)::date
UNION
SELECT s.position_id
FROM day
JOIN lot_stock AS s ON s.is_blocked
JOIN lot AS l ON l.id = s.lot_id
JOIN position AS p ON p.id = s.position_id
JOIN location AS c ON c.id = p.location_id
LEFT JOIN area AS a ON a.id = s.area_id
WHERE coalesce(a.kind, 'pick') NOT IN ('quarantine', 'returns')
  AND (l.expires_on IS NULL OR l.expires_on >= (day.now AT TIME ZONE c.time_zone)::date)
LIMIT %s

-- name: list_lots
-- What lies where, first expired first. Indexes: lot_ref_unique, lot_stock_lot, position_pkey.
SELECT o.ref, c.ref, u.ref, l.ref, l.expires_on, l.supplier, coalesce(a.ref, ''), s.qty,
       s.is_blocked,
       coalesce((SELECT sum(g.qty) FROM lot_peg AS g
                 WHERE g.position_id = s.position_id AND g.lot_id = s.lot_id), 0)::int
FROM lot AS l
JOIN lot_stock AS s ON s.lot_id = l.id
JOIN position AS p ON p.id = s.position_id
JOIN product AS o ON o.id = p.product_id
JOIN location AS c ON c.id = p.location_id
JOIN pool AS u ON u.id = p.pool_id
LEFT JOIN area AS a ON a.id = s.area_id
WHERE (%s::text IS NULL OR o.ref = %s) AND (%s::text IS NULL OR c.ref = %s)
  AND (%s::text IS NULL OR l.ref = %s) AND (%s::date IS NULL OR l.expires_on < %s)
ORDER BY l.expires_on NULLS LAST, o.ref, l.ref, c.ref, a.ref NULLS FIRST LIMIT %s

-- name: lot_history
-- What became of a lot, newest first, with the order that it left for. Indexes: lot_ref_unique,
-- lot_entry_lot, orders_pkey.
SELECT o.ref, c.ref, e.occurred_at, e.qty_delta, coalesce(a.ref, ''), e.cause_kind,
       e.cause_id, d.ref, e.is_assumed
FROM product AS o
JOIN lot AS l ON l.product_id = o.id
JOIN lot_entry AS e ON e.lot_id = l.id
JOIN position AS p ON p.id = e.position_id
JOIN location AS c ON c.id = p.location_id
LEFT JOIN area AS a ON a.id = e.area_id
LEFT JOIN orders AS d ON d.id = e.cause_id AND e.cause_kind = 6
WHERE o.ref = %s AND l.ref = %s
ORDER BY e.occurred_at DESC, e.id DESC LIMIT %s
