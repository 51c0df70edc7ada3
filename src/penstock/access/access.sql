-- name: channels
-- Every channel; there are few.
SELECT id, ref, parent_id, currency::text, catalogue_id, settings FROM channel ORDER BY id

-- name: lock_channels
-- Who changes channels waits here: a cycle cannot be closed from two sides. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'channel' FOR NO KEY UPDATE

-- name: make_catalogues
-- Makes product catalogues that channels name. Index: product_catalogue_ref_unique.
INSERT INTO product_catalogue (ref)
SELECT u.ref FROM unnest(%s::text[]) AS u (ref)
WHERE NOT EXISTS (SELECT FROM product_catalogue AS c WHERE c.ref = u.ref)
ORDER BY 1 ON CONFLICT DO NOTHING

-- name: upsert_channels
-- Makes or changes channels, below parents that are there or in the same list; says which are new.
-- Unchanged ones are not written. Index: channel_ref_unique.
WITH asked AS MATERIALIZED (
    SELECT u.*, c.id IS NULL AS is_new, coalesce(c.id, nextval('channel_id_seq')) AS id
    FROM json_to_recordset(%s::json) AS u
        (ref text, parent text, kind text, name text, currency text, tax_id text,
         product_catalogue text, settings jsonb)
    LEFT JOIN channel AS c ON c.ref = u.ref
), placed AS (
    SELECT a.*, coalesce(s.id, p.id) AS parent_id, k.id AS catalogue_id
    FROM asked AS a
    LEFT JOIN asked AS s ON s.ref = a.parent
    LEFT JOIN channel AS p ON p.ref = a.parent
    LEFT JOIN product_catalogue AS k ON k.ref = a.product_catalogue
), changed AS (
    SELECT n.* FROM placed AS n LEFT JOIN channel AS c ON c.id = n.id
    WHERE n.is_new OR (c.parent_id, c.kind, c.name, c.currency::text, c.tax_id, c.catalogue_id,
                       c.settings)
        IS DISTINCT FROM (n.parent_id, n.kind, n.name, n.currency, n.tax_id, n.catalogue_id,
                          n.settings)
), written AS (
    INSERT INTO channel (id, ref, parent_id, kind, name, currency, tax_id, catalogue_id, settings)
    SELECT id, ref, parent_id, kind, name, currency, tax_id, catalogue_id, settings
    FROM changed ORDER BY ref
    ON CONFLICT ON CONSTRAINT channel_ref_unique DO UPDATE
    SET parent_id = excluded.parent_id, kind = excluded.kind, name = excluded.name,
        currency = excluded.currency, tax_id = excluded.tax_id,
        catalogue_id = excluded.catalogue_id, settings = excluded.settings
)
SELECT ref, is_new FROM changed

-- name: bump_channel
-- Tells every process that channels changed.
UPDATE revision SET value = value + 1 WHERE name = 'channel'

-- name: settings
-- Every setting of the account.
SELECT name, value FROM setting ORDER BY name

-- name: settings_in_full
-- Every setting of the account, with what packs gave.
SELECT name, value, pack, given FROM setting ORDER BY name

-- name: set_settings
-- Sets settings; what a pack gave is kept beside. Index: setting_pkey.
INSERT INTO setting (name, value)
SELECT * FROM unnest(%s::text[], %s::jsonb[]) AS u (name, value) ORDER BY name
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: give_settings
-- Sets settings as a pack gives them. Index: setting_pkey.
INSERT INTO setting (name, value, pack, given)
SELECT u.name, u.value, p.pack, u.value
FROM (SELECT %s::text) AS p (pack), unnest(%s::text[], %s::jsonb[]) AS u (name, value)
ORDER BY u.name
ON CONFLICT (name) DO UPDATE
SET value = excluded.value, pack = excluded.pack, given = excluded.given

-- name: unset_settings
-- Takes settings out. Index: setting_pkey.
DELETE FROM setting WHERE name = ANY(%s::text[]) RETURNING name

-- name: leave_settings
-- Makes settings the account's own. Index: setting_pkey.
UPDATE setting SET pack = NULL, given = NULL WHERE name = ANY(%s::text[])
-- name: attribute_types
-- What is declared of attributes, of one kind of entity or (null) of all. Index:
-- attribute_type_pkey.
SELECT entity, name, type, label, unit, options, is_required FROM attribute_type
WHERE %s::text IS NULL OR entity = %s ORDER BY entity, name

-- name: lock_attribute_types
-- Who declares attributes waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'attribute' FOR NO KEY UPDATE

-- name: upsert_attribute_types
-- Declares attributes or changes them; says which are new. Unchanged ones are not written.
-- Index: attribute_type_pkey.
WITH asked AS (
    SELECT u.*, t.name IS NULL AS is_new
    FROM json_to_recordset(%s::json) AS u
        (entity text, name text, type text, label text, unit text, options jsonb,
         is_required boolean)
    LEFT JOIN attribute_type AS t ON t.entity = u.entity AND t.name = u.name
    WHERE t.name IS NULL OR (t.type, t.label, t.unit, t.options, t.is_required)
        IS DISTINCT FROM (u.type, u.label, u.unit, u.options, u.is_required)
), written AS (
    INSERT INTO attribute_type (entity, name, type, label, unit, options, is_required)
    SELECT entity, name, type, label, unit, options, is_required FROM asked ORDER BY 1, 2
    ON CONFLICT (entity, name) DO UPDATE
    SET type = excluded.type, label = excluded.label, unit = excluded.unit,
        options = excluded.options, is_required = excluded.is_required
)
SELECT entity, name, is_new FROM asked

-- name: bump_attribute
-- Tells every process that declared attributes changed.
UPDATE revision SET value = value + 1 WHERE name = 'attribute'
