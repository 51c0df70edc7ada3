-- name: unknown_refs
-- Refs that buffers name and nothing has.
SELECT 'channel', u.channel FROM jsonb_to_recordset(%s::jsonb) AS u (channel text)
WHERE u.channel IS NOT NULL AND NOT EXISTS (SELECT 1 FROM channel c WHERE c.ref = u.channel)
UNION ALL
SELECT 'location', u.location FROM jsonb_to_recordset(%s::jsonb) AS u (location text)
WHERE u.location IS NOT NULL AND NOT EXISTS (SELECT 1 FROM location l WHERE l.ref = u.location)
UNION ALL
SELECT 'SKU', u.sku FROM jsonb_to_recordset(%s::jsonb) AS u (sku text)
WHERE u.sku IS NOT NULL AND NOT EXISTS (SELECT 1 FROM product p WHERE p.ref = u.sku)
LIMIT 1

-- name: clear_buffers
-- Takes out the buffers that are set anew.
DELETE FROM control b
USING jsonb_to_recordset(%s::jsonb) AS u
    (channel text, sku text, location text, location_kind text)
LEFT JOIN channel c ON c.ref = u.channel
LEFT JOIN product p ON p.ref = u.sku
LEFT JOIN location l ON l.ref = u.location
WHERE (b.channel_id, b.product_id, b.location_id, b.location_kind)
    IS NOT DISTINCT FROM (c.id, p.id, l.id, u.location_kind)

-- name: insert_buffers
-- Adds buffers, a row per product of that SKU.
INSERT INTO control (channel_id, product_id, location_id, location_kind, qty)
SELECT c.id, p.id, l.id, u.location_kind, u.qty
FROM jsonb_to_recordset(%s::jsonb) AS u
    (channel text, sku text, location text, location_kind text, qty int)
LEFT JOIN channel c ON c.ref = u.channel
LEFT JOIN product p ON p.ref = u.sku
LEFT JOIN location l ON l.ref = u.location

-- name: bump_control
-- Tells every process that controls changed.
UPDATE revision SET value = value + 1 WHERE name = 'control'
