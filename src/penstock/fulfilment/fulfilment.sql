-- name: fulfilments_of_roots
-- Index: fulfilment_root.
SELECT id, root_id, choice_id, ordinal, service, origin_id, created_at, status, demand_kind,
       destination_id, next_leg_id, capacity_day, cost_minor, distance_m, weight_g, released_at,
       workflow_id, due_at, expected_from, expected_until, carrier, carrier_service
FROM fulfilment WHERE root_id = ANY(%s::uuid[]) ORDER BY root_id, ordinal

-- name: lines_of_fulfilments
-- Index: fulfilment_line_pkey (fulfilment first).
SELECT fulfilment_id, line_id, product_id, qty, qty_picked
FROM fulfilment_line WHERE fulfilment_id = ANY(%s::uuid[]) ORDER BY fulfilment_id, line_id

-- name: update_fulfilments
-- Writes the status of fulfilments under their root's lock. Index: fulfilment_pkey.
UPDATE fulfilment f
SET status = u.status, released_at = u.released_at, workflow_id = u.workflow_id
FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::int[])
     AS u (id, status, released_at, workflow_id)
WHERE f.id = u.id AND (f.status, f.workflow_id) IS DISTINCT FROM (u.status, u.workflow_id)

-- name: update_dates
-- Writes the dates of fulfilments under their root's lock. Index: fulfilment_pkey.
UPDATE fulfilment f
SET due_at = u.due_at, expected_from = u.expected_from, expected_until = u.expected_until,
    carrier = u.carrier, carrier_service = u.carrier_service
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[])
     AS u (id, due_at, expected_from, expected_until, carrier, carrier_service)
WHERE f.id = u.id

-- name: update_lines
-- Writes quantities of fulfilment lines that shrank. Index: fulfilment_line_pkey.
UPDATE fulfilment_line l SET qty = u.qty
FROM unnest(%s::uuid[], %s::uuid[], %s::int[]) AS u (fulfilment_id, line_id, qty)
WHERE l.fulfilment_id = u.fulfilment_id AND l.line_id = u.line_id AND l.qty <> u.qty

-- name: delete_lines
-- Takes out fulfilment lines of which nothing is left. Index: fulfilment_line_pkey.
DELETE FROM fulfilment_line l
USING unnest(%s::uuid[], %s::uuid[]) AS u (fulfilment_id, line_id)
WHERE l.fulfilment_id = u.fulfilment_id AND l.line_id = u.line_id

-- name: root_of_fulfilments
-- The orders that guard fulfilments. Index: fulfilment_pkey.
SELECT id, root_id FROM fulfilment WHERE id = ANY(%s::uuid[])
