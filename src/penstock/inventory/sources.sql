-- name: make_sources
-- Makes stock sources that are not there; an id is taken for new ones only. Index:
-- stock_source_ref_unique.
INSERT INTO stock_source (ref)
SELECT u.ref FROM unnest(%s::text[]) AS u (ref)
WHERE NOT EXISTS (SELECT FROM stock_source AS s WHERE s.ref = u.ref)
ORDER BY 1 ON CONFLICT DO NOTHING RETURNING ref

-- name: upsert_pools
-- Makes or changes pools; says which are new. Unchanged ones are not written, and an id is taken
-- for new ones only. Index: pool_ref_unique.
WITH asked AS (
    SELECT u.*, p.id, p.id IS NULL AS is_new
    FROM json_to_recordset(%s::json) AS u (ref text, catalogue text, condition text, owner text)
    LEFT JOIN pool AS p ON p.ref = u.ref
    WHERE p.id IS NULL
       OR (p.catalogue, p.condition, p.owner) IS DISTINCT FROM (u.catalogue, u.condition, u.owner)
), written AS (
    INSERT INTO pool (id, ref, catalogue, condition, owner)
    SELECT coalesce(id, nextval('pool_id_seq')), ref, catalogue, condition, owner
    FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT pool_ref_unique DO UPDATE
    SET catalogue = excluded.catalogue, condition = excluded.condition, owner = excluded.owner
)
SELECT ref, is_new FROM asked

-- name: lock_pools
-- Who changes pools waits here, as who sets buffers does. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'control' FOR NO KEY UPDATE

-- name: bump_pools
-- Tells every process that other pools are for sale.
UPDATE revision SET value = value + 1 WHERE name = 'control'
