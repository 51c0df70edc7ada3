-- name: claim_carts
-- Makes carts that are not there yet, in sorted order; a taken ref comes back to nobody.
-- Index: cart_ref_unique.
INSERT INTO cart (id, channel_id, ref, status, expires_at, all_or_nothing, document, created_at,
                  changed_at)
SELECT id, channel_id, ref, 'held', at, true, '{}', at, at
FROM (SELECT u.*, %s::timestamptz AS at
      FROM unnest(%s::uuid[], %s::int[], %s::text[]) AS u (id, channel_id, ref)) AS u
ORDER BY channel_id, ref
ON CONFLICT DO NOTHING RETURNING id

-- name: lock_carts
-- Locks carts by ref, in id order. Index: cart_ref_unique.
SELECT id, channel_id, ref, customer_id, tier, identity, status, expires_at, all_or_nothing,
       document, order_id, created_at, changed_at
FROM cart WHERE (channel_id, ref) IN (SELECT * FROM unnest(%s::int[], %s::text[]))
ORDER BY id FOR NO KEY UPDATE

-- name: read_cart
-- Reads a cart. Index: cart_ref_unique.
SELECT id, channel_id, ref, customer_id, tier, identity, status, expires_at, all_or_nothing,
       document, order_id, created_at, changed_at
FROM cart WHERE channel_id = %s AND ref = %s

-- name: page_of_carts
-- Carts of a channel in a status, those that changed last first, after a place. Index: cart_changed.
SELECT id, channel_id, ref, customer_id, tier, identity, status, expires_at, all_or_nothing,
       document, order_id, created_at, changed_at
FROM cart
WHERE channel_id = %s AND (changed_at, id) < (%s, %s::uuid)
  AND (%s::text IS NULL OR %s =
       CASE WHEN status = 'held' AND expires_at <= %s THEN 'expired' ELSE status END)
ORDER BY changed_at DESC, id DESC LIMIT %s

-- name: update_carts
-- Writes locked carts. Index: cart_pkey.
UPDATE cart c
SET customer_id = u.customer_id, tier = u.tier, identity = u.identity, status = u.status,
    expires_at = u.expires_at, all_or_nothing = u.all_or_nothing, document = u.document,
    order_id = u.order_id, changed_at = %s
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
            %s::boolean[], %s::jsonb[], %s::uuid[])
     AS u (id, customer_id, tier, identity, status, expires_at, all_or_nothing, document, order_id)
WHERE c.id = u.id

-- name: order_carts
-- Says of locked carts that they have become orders. Index: cart_pkey.
UPDATE cart c SET status = 'ordered', order_id = u.order_id, changed_at = %s
FROM unnest(%s::uuid[], %s::uuid[]) AS u (id, order_id) WHERE c.id = u.id

-- name: drop_carts
-- Takes out carts made in this pass that came to nothing. Index: cart_pkey.
DELETE FROM cart WHERE id = ANY(%s::uuid[])

-- name: expire_carts
-- Marks carts whose time is over, oldest first, but for those that somebody is at.
-- Indexes: cart_expiry, cart_pkey.
UPDATE cart SET status = 'expired', changed_at = %s WHERE id IN (
    SELECT id FROM cart WHERE status = 'held' AND expires_at <= %s
    ORDER BY expires_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
