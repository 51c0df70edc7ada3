-- name: lock_thresholds
-- Who changes thresholds waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'threshold' FOR NO KEY UPDATE

-- name: thresholds
-- Every threshold, in a stable order. No index: small.
SELECT watch, channel_id, product_id, category_ref, location_id, at_risk, out_of_stock
FROM threshold ORDER BY id

-- name: threshold_ids
-- Ids of what thresholds name; a SKU may be in several catalogues.
-- Indexes: channel_ref_unique, product_ref_unique, location_ref_unique.
SELECT 'channel', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN channel USING (ref)
UNION ALL
SELECT 'sku', u.ref, p.id FROM product_catalogue AS c CROSS JOIN unnest(%s::text[]) AS u (ref)
JOIN product AS p ON p.catalogue_id = c.id AND p.ref = u.ref
UNION ALL
SELECT 'location', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN location USING (ref)

-- name: stored_thresholds
-- Thresholds by ref, as they would be written. Index: threshold_ref.
SELECT ref, watch, channel_id, product_id, category_ref, location_id, at_risk, out_of_stock
FROM threshold WHERE ref = ANY(%s) ORDER BY ref, product_id

-- name: drop_thresholds
-- Takes thresholds out by ref. Index: threshold_ref.
DELETE FROM threshold WHERE ref = ANY(%s) RETURNING ref

-- name: add_thresholds
-- Adds rows of thresholds.
INSERT INTO threshold (ref, watch, channel_id, product_id, category_ref, location_id, at_risk,
                       out_of_stock)
SELECT ref, watch, channel_id, product_id, category_ref, location_id, at_risk, out_of_stock
FROM json_populate_recordset(NULL::threshold, %s::json)

-- name: bump_threshold
-- Tells every process that thresholds changed.
UPDATE revision SET value = value + 1 WHERE name = 'threshold'

-- name: list_thresholds
-- Thresholds in words; a SKU that several catalogues have is there once. No index: small.
SELECT DISTINCT ON (t.ref) t.ref, t.at_risk, t.out_of_stock, t.watch, ch.ref, p.ref,
       t.category_ref, l.ref
FROM threshold AS t
LEFT JOIN channel AS ch ON ch.id = t.channel_id
LEFT JOIN product AS p ON p.id = t.product_id
LEFT JOIN location AS l ON l.id = t.location_id
WHERE %s::text IS NULL OR t.ref > %s
ORDER BY t.ref, t.id LIMIT %s
