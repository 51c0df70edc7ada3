-- name: reservations_there
-- Which reservations on locked positions have not ended. Index: reservation_pkey.
SELECT id, qty FROM reservation WHERE id = ANY(%s::uuid[])

-- name: turn_reservations
-- Makes holds into what takes their place, in their own rows. Index: reservation_pkey.
UPDATE reservation r
SET qty = u.qty, kind = u.kind, priority = u.priority, root_id = u.root_id,
    demand_id = u.demand_id, fulfilment_id = u.fulfilment_id, promised_at = u.promised_at,
    expires_at = u.expires_at, counted_by = u.counted_by::int[]
FROM unnest(%s::uuid[], %s::int[], %s::smallint[], %s::smallint[], %s::uuid[], %s::uuid[],
            %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[])
     AS u (id, qty, kind, priority, root_id, demand_id, fulfilment_id, promised_at, expires_at,
           counted_by)
WHERE r.id = u.id

-- name: end_reservations
-- Ends holds that nothing took the place of. Index: reservation_pkey.
DELETE FROM reservation WHERE id = ANY(%s::uuid[])

-- name: holds_of_carts
-- The holds of locked carts, with where they are, those that are over left out. Indexes:
-- reservation_root, position_pkey.
SELECT r.id, r.root_id, r.demand_id, r.position_id, p.product_id, p.location_id, r.qty,
    r.counted_by
FROM reservation r JOIN position p ON p.id = r.position_id
WHERE r.root_id = ANY(%s::uuid[]) AND r.kind = 1 AND r.expires_at > %s ORDER BY r.id
