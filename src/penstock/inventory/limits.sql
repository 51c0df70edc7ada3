-- name: lock_limits
-- Makes and locks who is counted under limits, in key order. Index: limit_use_pkey.
INSERT INTO limit_use AS l (limit_id, identity)
SELECT limit_id, identity FROM unnest(%s::int[], %s::text[]) AS u (limit_id, identity)
ORDER BY 1, 2
ON CONFLICT (limit_id, identity) DO UPDATE SET identity = l.identity
RETURNING limit_id

-- name: entries_of_limits
-- What counts under locked limits; a statement after the lock, so that it sees who had it before.
-- Index: limit_entry_pkey.
SELECT e.limit_id, e.identity, e.root_id, e.demand_id, e.qty, e.counted_at, e.expires_at
FROM unnest(%s::int[], %s::text[]) AS u (limit_id, identity)
JOIN limit_entry e USING (limit_id, identity)

-- name: held_of_products
-- What there is of products, and what carts hold. Indexes: position_unique, reservation_hold.
SELECT p.product_id, sum(greatest(p.on_hand, 0))::int,
       coalesce(sum((SELECT sum(r.qty) FROM reservation r WHERE r.position_id = p.id
                     AND r.expires_at > %s)), 0)::int
FROM position p WHERE p.product_id = ANY(%s::int[]) GROUP BY p.product_id

-- name: write_entries
-- Counts lines, or counts them anew. Index: limit_entry_pkey.
INSERT INTO limit_entry (limit_id, identity, root_id, demand_id, qty, counted_at, expires_at)
SELECT * FROM unnest(%s::int[], %s::text[], %s::uuid[], %s::uuid[], %s::int[], %s::timestamptz[],
                     %s::timestamptz[]) AS u ORDER BY 1, 2, 4
ON CONFLICT (limit_id, identity, demand_id)
DO UPDATE SET qty = excluded.qty, root_id = excluded.root_id, expires_at = excluded.expires_at

-- name: end_entries
-- Ends what counts for carts or orders. Index: limit_entry_root.
DELETE FROM limit_entry WHERE root_id = ANY(%s::uuid[])

-- name: recount_entries
-- Counts lines for what is left of them. Index: limit_entry_root.
WITH left_over AS (
    SELECT e.ctid AS row, u.qty
    FROM unnest(%s::uuid[], %s::int[]) AS u (line_id, qty)
    JOIN order_line l ON l.id = u.line_id
    JOIN limit_entry e ON e.root_id = l.order_id AND e.demand_id = l.id
), ended AS (
    DELETE FROM limit_entry e USING left_over o WHERE e.ctid = o.row AND o.qty = 0
)
UPDATE limit_entry e SET qty = o.qty FROM left_over o
WHERE e.ctid = o.row AND o.qty > 0 AND e.qty <> o.qty

-- name: drop_ended_entries
-- Takes out what has long ceased to count. Index: limit_entry_expiry.
DELETE FROM limit_entry WHERE (limit_id, identity, demand_id) IN (
    SELECT limit_id, identity, demand_id FROM limit_entry WHERE expires_at <= %s
    ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)

-- name: limits
-- Every limit that is not over, with the products it is about; there are few.
SELECT array_agg(p.id), l.id, l.ref, l.channel_id, l.qty, l.period_s, l.held_percent, l.starts_at,
       l.ends_at
FROM purchase_limit l JOIN product p ON p.ref = l.sku OR p.category_ref = l.category
WHERE l.ends_at IS NULL OR l.ends_at > now() - interval '1 day' GROUP BY l.id ORDER BY l.id

-- name: limits_there
-- Every limit, as it was set; there are few.
SELECT l.ref, l.sku, l.category, c.ref, l.qty, l.period_s / 3600, l.held_percent, l.starts_at,
       l.ends_at
FROM purchase_limit l LEFT JOIN channel c ON c.id = l.channel_id ORDER BY l.ref

-- name: lock_limit_rules
-- Who sets limits waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'limit' FOR NO KEY UPDATE

-- name: channels_of_limits
-- Which channels there are. Index: channel_ref_unique.
SELECT ref FROM channel WHERE ref = ANY(%s::text[])

-- name: upsert_limits
-- Sets limits; says which are new. Unchanged ones are not written, nor those of channels there are
-- not. Index: purchase_limit_ref_unique.
WITH asked AS MATERIALIZED (
    SELECT u.*, c.id AS channel_id, u.period_h * 3600 AS period_s
    FROM json_to_recordset(%s::json) AS u
        (ref text, sku text, category text, channel text, qty integer, period_h integer,
         held_percent integer, starts_at timestamptz, ends_at timestamptz)
    LEFT JOIN channel c ON c.ref = u.channel
    WHERE u.channel IS NULL OR c.id IS NOT NULL
), changed AS (
    SELECT a.*, l.id IS NULL AS is_new
    FROM asked a LEFT JOIN purchase_limit l ON l.ref = a.ref
    WHERE l.id IS NULL
       OR (l.sku, l.category, l.channel_id, l.qty, l.period_s, l.held_percent, l.starts_at,
           l.ends_at)
       IS DISTINCT FROM (a.sku, a.category, a.channel_id, a.qty, a.period_s, a.held_percent,
                         a.starts_at, a.ends_at)
), written AS (
    INSERT INTO purchase_limit (ref, sku, category, channel_id, qty, period_s, held_percent,
                                starts_at, ends_at)
    SELECT ref, sku, category, channel_id, qty, period_s, held_percent, starts_at, ends_at
    FROM changed ORDER BY ref
    ON CONFLICT ON CONSTRAINT purchase_limit_ref_unique DO UPDATE
    SET sku = excluded.sku, category = excluded.category, channel_id = excluded.channel_id,
        qty = excluded.qty, period_s = excluded.period_s, held_percent = excluded.held_percent,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, changed_at = now()
)
SELECT ref, is_new FROM changed

-- name: drop_limit
-- Takes a limit away. Index: purchase_limit_ref_unique.
DELETE FROM purchase_limit WHERE ref = %s

-- name: bump_limit
-- Tells every process that limits changed.
UPDATE revision SET value = value + 1 WHERE name = 'limit'
