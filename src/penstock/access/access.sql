-- name: channels
-- Every channel; there are few.
SELECT id, ref, parent_id, currency, catalogue_id FROM channel ORDER BY id

-- name: make_catalogues
-- Makes product catalogues that channels name. Index: product_catalogue_ref_unique.
INSERT INTO product_catalogue (ref) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING

-- name: upsert_channels
-- Makes or changes channels, parents apart. Index: channel_ref_unique.
INSERT INTO channel (ref, kind, name, currency, tax_id, catalogue_id, settings)
SELECT c.ref, c.kind, c.name, c.currency, c.tax_id, p.id, coalesce(c.settings, '{}')
FROM jsonb_to_recordset(%s::jsonb) AS c
     (ref text, kind text, name text, currency text, tax_id text, product_catalogue text,
      settings jsonb)
LEFT JOIN product_catalogue p ON p.ref = c.product_catalogue
ORDER BY c.ref
ON CONFLICT (ref) DO UPDATE
SET kind = excluded.kind, name = excluded.name, currency = excluded.currency,
    tax_id = excluded.tax_id, catalogue_id = excluded.catalogue_id, settings = excluded.settings

-- name: set_parents
-- Hangs channels below their parents. Index: channel_ref_unique.
UPDATE channel c SET parent_id = p.id
FROM jsonb_to_recordset(%s::jsonb) AS u (ref text, parent text)
LEFT JOIN channel p ON p.ref = u.parent
WHERE c.ref = u.ref AND c.parent_id IS DISTINCT FROM p.id

-- name: bump_channel
-- Tells every process that channels changed.
UPDATE revision SET value = value + 1 WHERE name = 'channel'
