-- name: lock_controls
-- Who changes controls waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'control' FOR NO KEY UPDATE

-- name: named_ids
-- Ids of what controls name; a SKU may be in several catalogues.
-- Indexes: channel_ref_unique, product_ref_unique, location_ref_unique, network_ref_unique.
SELECT 'channel', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN channel USING (ref)
UNION ALL
SELECT 'sku', u.ref, p.id FROM product_catalogue AS c CROSS JOIN unnest(%s::text[]) AS u (ref)
JOIN product AS p ON p.catalogue_id = c.id AND p.ref = u.ref
UNION ALL
SELECT 'location', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN location USING (ref)
UNION ALL
SELECT 'network', ref, id FROM unnest(%s::text[]) AS u (ref) JOIN network USING (ref)

-- name: stored_controls
-- Controls by ref, as they would be written. Index: control_ref.
SELECT row_to_json(one) FROM (
    SELECT id, ref, kind, channel_id, product_id, location_id, location_kind, network_id,
           category_ref, qty, percent_bp, group_name, combine, priority,
           to_char(active_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ') AS active_from,
           to_char(active_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ') AS active_until,
           to_char(daily_from, 'HH24:MI:SS') AS daily_from,
           to_char(daily_until, 'HH24:MI:SS') AS daily_until,
           per_location, kept_channels, kept_tiers, basket_min_minor, basket_currency
    FROM control WHERE ref = ANY(%s) ORDER BY id
) AS one

-- name: groups_of_others
-- How the controls that are not being put are combined, by group. No index: small.
SELECT group_name, combine, min(ref) FROM control
WHERE kind IN ('buffer', 'safety_stock') AND ref <> ALL(%s) GROUP BY 1, 2

-- name: drop_controls
-- Takes out rows that controls no longer have. Index: control_pkey.
DELETE FROM control WHERE id = ANY(%s)

-- name: remove_controls
-- Removes controls by ref. Index: control_ref.
DELETE FROM control WHERE ref = ANY(%s) RETURNING ref

-- name: change_controls
-- Changes rows in their place. Index: control_pkey.
UPDATE control AS c
SET channel_id = u.channel_id, location_id = u.location_id, location_kind = u.location_kind,
    network_id = u.network_id, category_ref = u.category_ref, qty = u.qty,
    percent_bp = u.percent_bp, group_name = u.group_name, combine = u.combine,
    priority = u.priority, active_from = u.active_from, active_until = u.active_until,
    daily_from = u.daily_from, daily_until = u.daily_until, kept_channels = u.kept_channels,
    kept_tiers = u.kept_tiers, basket_min_minor = u.basket_min_minor,
    basket_currency = u.basket_currency
FROM json_populate_recordset(NULL::control, %s::json) AS u
WHERE c.id = u.id

-- name: add_controls
-- Adds rows of controls.
INSERT INTO control (ref, kind, channel_id, product_id, location_id, location_kind, network_id,
    category_ref, qty, percent_bp, group_name, combine, priority, active_from, active_until,
    daily_from, daily_until, per_location, kept_channels, kept_tiers, basket_min_minor,
    basket_currency)
SELECT ref, kind, channel_id, product_id, location_id, location_kind, network_id,
    category_ref, qty, percent_bp, group_name, combine, priority, active_from, active_until,
    daily_from, daily_until, per_location, kept_channels, kept_tiers, basket_min_minor,
    basket_currency
FROM json_populate_recordset(NULL::control, %s::json)

-- name: bump_control
-- Tells every process that controls changed.
UPDATE revision SET value = value + 1 WHERE name = 'control'

-- name: list_controls
-- Controls in words, with what is used of them; a SKU that several catalogues have is there once.
-- No index: all of them, or those of a channel.
SELECT DISTINCT ON (c.ref) c.ref, c.kind, ch.ref, p.ref, l.ref, c.location_kind, n.ref,
       c.category_ref, c.qty, c.percent_bp, c.group_name, c.combine, c.priority, c.active_from,
       c.active_until, c.daily_from::text, c.daily_until::text, c.per_location,
       (SELECT array_agg(ref ORDER BY ref) FROM channel WHERE id = ANY(c.kept_channels)),
       c.kept_tiers, c.basket_min_minor, c.basket_currency,
       coalesce(used.reserved, 0), coalesce(used.shipped, 0)
FROM control AS c
LEFT JOIN (
    SELECT o.ref, sum(u.reserved)::bigint AS reserved, sum(u.shipped)::bigint AS shipped
    FROM control_use AS u JOIN control AS o ON o.id = u.control_id GROUP BY o.ref
) AS used ON used.ref = c.ref
LEFT JOIN channel AS ch ON ch.id = c.channel_id
LEFT JOIN product AS p ON p.id = c.product_id
LEFT JOIN location AS l ON l.id = c.location_id
LEFT JOIN network AS n ON n.id = c.network_id
WHERE (%s::text IS NULL OR ch.ref = %s) AND (%s::text IS NULL OR c.ref > %s)
ORDER BY c.ref, c.id LIMIT %s
