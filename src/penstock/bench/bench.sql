-- name: make_catalogue
-- The one catalogue of a benchmark's retailer.
INSERT INTO product_catalogue (ref) VALUES ('main')

-- name: make_products
-- So many products, `S1` upwards, of made weights.
INSERT INTO product (catalogue_id, ref, weight_g)
SELECT 1, 'S' || n, 50 + (n * 7919) %% 2000 FROM generate_series(1, %s::int) AS n

-- name: make_locations
-- So many locations spread over an island; every tenth is a warehouse.
INSERT INTO location (ref, kind, latitude, longitude, handling_cost_minor)
SELECT 'L' || n, CASE WHEN n %% 10 = 0 THEN 'warehouse' ELSE 'store' END,
       50 + (n * 7919 %% 8000) / 1000.0, -5 + (n * 6271 %% 6000) / 1000.0, n * 97 %% 300
FROM generate_series(1, %s::int) AS n

-- name: make_networks
-- Two networks: everyone, and the warehouses with every second store.
INSERT INTO network (ref) VALUES ('all'), ('half')

-- name: make_network_locations
-- Who is in which of them.
INSERT INTO network_location
SELECT 1, id FROM location UNION ALL SELECT 2, id FROM location WHERE id %% 2 = 0

-- name: make_channel_networks
-- The site is served by the first network, the other two channels by the second.
INSERT INTO channel_network
SELECT id, CASE WHEN ref = 'web' THEN 1 ELSE 2 END FROM channel

-- name: make_controls
-- Buffers of the channels that are not the site: two of everything, five in shops.
INSERT INTO control (channel_id, location_kind, qty)
SELECT c.id, u.kind, u.qty
FROM channel c, (VALUES (NULL, 2), ('store', 5)) AS u (kind, qty) WHERE c.ref <> 'web'

-- name: bump_revisions
-- Tells every process that all of this is new.
UPDATE revision SET value = value + 1

-- name: make_pass
-- A pass that fills stock: stamped, to be numbered by the sequencer. Returns its journal block.
INSERT INTO pass (id, kind, stamp) VALUES (%s, 'fill', nextval('pass_stamp')) RETURNING journal_base

-- name: fill_positions
-- Positions of the block that starts at an id: product by product, every location, so much on hand.
INSERT INTO position (id, product_id, location_id, pool_id, on_hand, reserved, version, journal_id,
                      counted_at)
SELECT n, (n - 1) / %(locations)s::int + 1, (n - 1) %% %(locations)s::int + 1, 1, %(on_hand)s::int,
       0, 1, %(journal_base)s::bigint + (n - %(first)s::int) / 5000, %(now)s::timestamptz
FROM generate_series(%(first)s::int, %(last)s::int) AS n

-- name: fill_journal
-- The journal rows of the same block: a count of each position.
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
SELECT %(journal_base)s::bigint + row_number, %(pass_id)s::uuid, %(now)s::timestamptz,
       array_agg(n), array_agg((n - 1) / %(locations)s::int + 1),
       array_agg((n - 1) %% %(locations)s::int + 1), array_agg(1::smallint), array_agg(1::smallint),
       array_agg(%(pass_id)s::uuid), array_agg(%(on_hand)s::int), array_agg(0),
       array_agg(%(on_hand)s::int), array_agg(0), array_agg(1), array_agg(0::bigint),
       array_agg((date_part('epoch', %(now)s::timestamptz) * 1e6)::bigint), false
FROM (SELECT n, (n - %(first)s::int) / 5000 AS row_number
      FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS numbered
GROUP BY row_number

-- name: restart_position_ids
-- Ids go on after those that were filled.
SELECT setval('position_id', (SELECT max(id) FROM position))

-- name: stock_sums
-- What is on hand, reserved, promised above what is there, and reserved without a live reservation.
SELECT coalesce(sum(on_hand), 0), coalesce(sum(reserved), 0),
       coalesce(sum(greatest(reserved - greatest(on_hand, 0), 0)), 0),
       coalesce(sum(reserved), 0) - (SELECT coalesce(sum(qty), 0) FROM reservation)
FROM position

-- name: order_counts
-- How many orders there are, and how many by status.
SELECT status, count(*) FROM orders GROUP BY status

-- name: positions_to_limit
-- Positions for the raw limit, in an order that spreads products. Index: position_pkey.
SELECT id, product_id, location_id FROM position ORDER BY id * 7919::bigint %% 100003, id LIMIT %s

-- name: hot_positions
-- The positions of one product. Index: position_unique.
SELECT id, location_id, on_hand, reserved FROM position WHERE product_id = %s ORDER BY id

-- name: free_units
-- Units of one product that are free, and cart holds still there on it. Index: position_unique.
SELECT coalesce(sum(greatest(on_hand - reserved, 0)), 0)::int,
       (SELECT count(*)::int FROM reservation WHERE kind = 1)
FROM position WHERE product_id = %s

-- name: movements
-- Every movement of one product's positions with its pass: what was free after it, who moved it,
-- and when. In the order of versions.
SELECT e.position_id, e.on_hand - e.reserved, e.cause_kind = 8, e.cause_id::text,
       p.id::text, p.kind, p.stamp, date_part('epoch', p.started_at)
FROM journal j JOIN pass p ON p.id = j.pass_id,
     unnest(j.position_ids, j.product_ids, j.versions, j.on_hands, j.reserveds, j.cause_kinds,
            j.cause_ids)
     AS e (position_id, product_id, version, on_hand, reserved, cause_kind, cause_id)
WHERE e.product_id = %s ORDER BY e.position_id, e.version

-- name: passes_of_orders
-- The passes that wrote events of orders. Index: event_root.
SELECT e.root_id::text, p.id::text, p.stamp, date_part('epoch', p.started_at)
FROM event e JOIN pass p ON p.id = e.pass_id
WHERE e.root_id = ANY(%s::uuid[]) AND e.name = %s

-- name: inbox_is_empty
-- Whether nothing is due any more. Index: inbox_due.
SELECT NOT EXISTS (SELECT 1 FROM inbox WHERE due_at <= %s)

-- name: entities_ended
-- How many entities of a label came to their end. Index: entity_ref_unique.
SELECT count(*) FROM entity WHERE kind = 'thing' AND ref LIKE %s AND status = 'ended'

-- name: timers_done
-- The entities of a label that their timer has moved on. Index: entity_ref_unique.
SELECT id FROM entity WHERE kind = 'thing' AND ref LIKE %s AND status <> 'new'

-- name: give_hours
-- Gives every location of a benchmark opening hours.
UPDATE location SET opening_hours = (
    SELECT jsonb_object_agg(day, '[["08:00", "18:00"]]'::jsonb)
    FROM unnest(ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat']) AS d (day)
)
