-- name: changes_page
-- The next journal rows after one (pass number, journal id), up to the pass `last`, pass by pass.
-- Indexes: pass_number, journal_pass.
SELECT p.number, j.*
FROM (SELECT id, number FROM pass WHERE number >= %s AND number <= %s) AS p
CROSS JOIN LATERAL (
    SELECT id, position_ids, product_ids, location_ids, pool_ids, on_hand_deltas, reserved_deltas,
           on_hands, reserveds, versions
    FROM journal WHERE pass_id = p.id OFFSET 0  -- looked up pass by pass, whatever the statistics say
) AS j
WHERE (p.number, j.id) > (%s::bigint, %s::bigint)
ORDER BY p.number, j.id LIMIT 64

-- name: oldest_pass
-- The oldest pass that is still there. Index: pass_number.
SELECT coalesce(min(number), 0) FROM pass

-- name: products_changed
-- Products of a catalogue that changed after a revision. Index: product_revision.
SELECT array_agg(id) FROM (
    SELECT id FROM product WHERE revision > 0 AND revision > %s AND catalogue_id = %s LIMIT %s
) AS found

-- name: skus_in_catalogue
-- SKUs of those products that a catalogue has. Index: product_pkey.
SELECT id, ref FROM product WHERE id = ANY(%s) AND catalogue_id = %s ORDER BY id
