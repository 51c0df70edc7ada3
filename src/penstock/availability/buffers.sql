-- name: lock_controls
-- Who sets buffers waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'control' FOR NO KEY UPDATE

-- name: named_ids
-- Ids of what buffers name; a SKU may be in several catalogues.
-- Indexes: channel_ref_unique, product_ref_unique, location_ref_unique.
SELECT 'channel', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN channel USING (ref)
UNION ALL
SELECT 'sku', u.ref, p.id FROM product_catalogue AS c CROSS JOIN unnest(%s::text[]) AS u (ref)
JOIN product AS p ON p.catalogue_id = c.id AND p.ref = u.ref
UNION ALL
SELECT 'location', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN location USING (ref)

-- name: buffers
-- Every buffer: processes hold them all too.
SELECT id, channel_id, product_id, location_id, location_kind, qty FROM control
WHERE kind = 'buffer'

-- name: drop_buffers
-- Takes out buffers that are set anew. Index: control_pkey.
DELETE FROM control WHERE id = ANY(%s)

-- name: add_buffers
-- Adds buffers, given as columns.
INSERT INTO control (channel_id, product_id, location_id, location_kind, qty)
SELECT * FROM unnest(%s::int[], %s::int[], %s::int[], %s::text[], %s::int[])

-- name: bump_control
-- Tells every process that controls changed.
UPDATE revision SET value = value + 1 WHERE name = 'control'
