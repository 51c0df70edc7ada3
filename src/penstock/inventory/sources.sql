-- name: upsert_sources
-- Makes or changes stock sources; says which are new. What is not given stays, or is the default;
-- unchanged ones are not written, and an id is taken for new ones only. Index:
-- stock_source_ref_unique.
WITH asked AS (
    SELECT u.ref, s.id, s.id IS NULL AS is_new,
           coalesce(u.basis, s.basis, 'on_hand') AS basis,
           coalesce(u.leaves_at, s.leaves_at, 'ship') AS leaves_at
    FROM json_to_recordset(%s::json) AS u (ref text, basis text, leaves_at text)
    LEFT JOIN stock_source AS s ON s.ref = u.ref
    WHERE s.id IS NULL OR (s.basis, s.leaves_at)
          <> (coalesce(u.basis, s.basis), coalesce(u.leaves_at, s.leaves_at))
), written AS (
    INSERT INTO stock_source (id, ref, basis, leaves_at)
    SELECT coalesce(id, nextval('stock_source_id_seq')), ref, basis, leaves_at
    FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT stock_source_ref_unique DO UPDATE
    SET basis = excluded.basis, leaves_at = excluded.leaves_at
)
SELECT ref, is_new FROM asked

-- name: sources
-- Stock sources in order of ref, with their newest acknowledgement. Indexes:
-- stock_source_ref_unique, stock_acknowledgement_key.
SELECT s.ref, s.basis, s.leaves_at, max(a.acknowledged_at), max(a.handed_until)
FROM stock_source AS s LEFT JOIN stock_acknowledgement AS a ON a.source_id = s.id
GROUP BY s.id ORDER BY s.ref

-- name: source_id
-- A source by ref. Index: stock_source_ref_unique.
SELECT id FROM stock_source WHERE ref = %s

-- name: acknowledge
-- Keeps since when a source has taken into account what was handed over until an instant. Index:
-- stock_acknowledgement_key.
INSERT INTO stock_acknowledgement (source_id, location_id, acknowledged_at, handed_until)
SELECT %s, location_id, %s, %s FROM unnest(%s::int[]) AS u (location_id)
ON CONFLICT (source_id, location_id, acknowledged_at) DO UPDATE
SET handed_until = excluded.handed_until

-- name: forget_acknowledgements
-- Lets go of old acknowledgements but for the newest of the old ones. Index:
-- stock_acknowledgement_key.
DELETE FROM stock_acknowledgement AS a
WHERE a.source_id = %s AND a.acknowledged_at < %s
  AND EXISTS (SELECT FROM stock_acknowledgement AS b
              WHERE b.source_id = a.source_id
                AND b.location_id IS NOT DISTINCT FROM a.location_id
                AND b.acknowledged_at > a.acknowledged_at AND b.acknowledged_at < %s)

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
