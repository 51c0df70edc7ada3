-- name: claim_refs
-- Claims order refs in sorted order; a taken one comes back to nobody. Index: order_ref_unique.
INSERT INTO order_ref (channel_id, ref, order_id, body_hash)
SELECT * FROM unnest(%s::int[], %s::text[], %s::uuid[], %s::bytea[]) ORDER BY 1, 2
ON CONFLICT DO NOTHING RETURNING order_id

-- name: find_refs
-- Reads who holds refs. Index: order_ref_unique.
SELECT channel_id, ref, order_id, body_hash FROM order_ref
WHERE (channel_id, ref) IN (SELECT * FROM unnest(%s::int[], %s::text[]))

-- name: claim_keys
-- Claims idempotency keys in sorted order. Index: idempotency_pkey.
INSERT INTO idempotency (key, body_hash, pass_id)
SELECT key, body_hash, %s FROM unnest(%s::text[], %s::bytea[]) AS u (key, body_hash) ORDER BY 1
ON CONFLICT DO NOTHING RETURNING key

-- name: find_keys
-- Reads stored answers. Index: idempotency_pkey.
SELECT key, body_hash, answer FROM idempotency WHERE key = ANY(%s)

-- name: write_answers
-- Stores the answers under claimed keys. Index: idempotency_pkey.
UPDATE idempotency i SET answer = u.answer::json
FROM unnest(%s::text[], %s::text[]) AS u (key, answer) WHERE i.key = u.key

-- name: drop_keys
-- Gives up keys claimed in the same pass. Index: idempotency_pkey.
DELETE FROM idempotency WHERE key = ANY(%s::text[])

-- name: lock_orders_waiting
-- Locks orders by id for a request, waiting for whoever holds them. Index: orders_pkey.
SELECT id, channel_id, ref, type, workflow_id, status, currency, customer_id, placed_at,
       created_at, seq, version, total_minor, attributes, priority
FROM orders WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock_orders_skipping
-- Locks those orders that nobody holds, for a worker. Index: orders_pkey.
SELECT id, channel_id, ref, type, workflow_id, status, currency, customer_id, placed_at,
       created_at, seq, version, total_minor, attributes, priority
FROM orders WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED

-- name: read_orders
-- Reads orders without locking. Index: orders_pkey.
SELECT id, channel_id, ref, type, workflow_id, status, currency, customer_id, placed_at,
       created_at, seq, version, total_minor, attributes, priority
FROM orders WHERE id = ANY(%s::uuid[]) ORDER BY id

-- name: choices_of_orders
-- Index: choice_order.
SELECT order_id, id, ordinal, service, destination, pickup_location_id, ship_complete,
       max_parcels, promised_at, workflow_id, state, promised_from, expected_from,
       expected_until, wish, slot_at, slot_location_id, slot_held_at
FROM choice WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id, ordinal

-- name: lines_of_orders
-- Lines, those of a kit's components after the kit's. Index: order_line_order.
SELECT choice_id, id, ordinal, ref, product_id, sku, qty, is_stocked, amount_minor,
       charges::text, parent_line_id, pinned_location_id, qty_allocated, qty_unsourced,
       qty_shipped, qty_cancelled, coalesce(per_kit, 0), may_ship_apart
FROM order_line WHERE order_id = ANY(%s::uuid[])
ORDER BY order_id, ordinal, per_kit NULLS FIRST, id

-- name: holds_of_orders
-- Index: order_hold_order.
SELECT order_id, id, scope_id, kind, reason, placed_by, placed_at, until_at, cleared_at, cleared_by
FROM order_hold WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id, placed_at, id

-- name: update_orders
-- Writes locked orders. Index: orders_pkey.
UPDATE orders o SET status = u.status, seq = u.seq, version = o.version + 1,
    workflow_id = u.workflow_id, attributes = u.attributes, changed_at = u.changed_at
FROM (SELECT u.*, %s::timestamptz AS changed_at
      FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::jsonb[])
      AS u (id, status, seq, workflow_id, attributes)) AS u
WHERE o.id = u.id

-- name: update_choices
-- Writes the rolled-up status of choices, that of their workflow, dates, slots. Index: choice_pkey.
UPDATE choice c SET status = u.status, state = u.state, workflow_id = u.workflow_id,
    promised_from = u.promised_from, promised_at = u.promised_at, expected_from = u.expected_from,
    expected_until = u.expected_until, slot_at = u.slot_at, slot_location_id = u.slot_location_id,
    slot_held_at = u.slot_held_at
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::int[], %s::timestamptz[], %s::timestamptz[],
            %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::timestamptz[])
     AS u (id, status, state, workflow_id, promised_from, promised_at, expected_from,
           expected_until, slot_at, slot_location_id, slot_held_at)
WHERE c.id = u.id
  AND (c.status, c.state, c.workflow_id, c.promised_from, c.promised_at, c.expected_from,
       c.expected_until, c.slot_at, c.slot_location_id, c.slot_held_at)
      IS DISTINCT FROM (u.status, u.state, u.workflow_id, u.promised_from, u.promised_at,
       u.expected_from, u.expected_until, u.slot_at, u.slot_location_id, u.slot_held_at)

-- name: update_lines
-- Writes counters and status of lines. Index: order_line_pkey.
UPDATE order_line l
SET status = u.status, qty_allocated = u.allocated, qty_unsourced = u.unsourced,
    qty_shipped = u.shipped, qty_cancelled = u.cancelled
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::int[], %s::int[])
     AS u (id, status, allocated, unsourced, shipped, cancelled)
WHERE l.id = u.id
  AND (l.qty_allocated, l.qty_unsourced, l.qty_shipped, l.qty_cancelled)
      <> (u.allocated, u.unsourced, u.shipped, u.cancelled)

-- name: clear_holds
-- Clears holds. Index: order_hold_pkey.
UPDATE order_hold h SET cleared_at = u.cleared_at, cleared_by = u.cleared_by
FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[]) AS u (id, cleared_at, cleared_by)
WHERE h.id = u.id

-- name: history_of_order
-- The events of an order, in order. Index: event_root.
SELECT seq, name, entity, entity_id, payload, occurred_at
FROM event WHERE root_id = %s ORDER BY seq

-- name: explanations_of_order
-- Sourcing decisions of an order, oldest first. Index: sourcing_decision_order.
SELECT choice_id, explanation, recorded_at FROM sourcing_decision
WHERE order_id = %s ORDER BY recorded_at

-- name: root_of_choices
-- The orders that guard choices. Index: choice_pkey.
SELECT id, order_id FROM choice WHERE id = ANY(%s::uuid[])
