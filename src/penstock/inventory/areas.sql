-- name: areas_asked
-- What is known of areas that are put: their location's id (none: unknown) and their kind. Indexes:
-- location_ref_unique, area_ref_unique.
SELECT u.location, u.ref, c.id, a.kind
FROM json_to_recordset(%s::json) AS u (location text, ref text)
LEFT JOIN location AS c ON c.ref = u.location
LEFT JOIN area AS a ON a.location_id = c.id AND a.ref = u.ref

-- name: put_areas
-- Makes or changes areas; says which are new. Unchanged ones are not written, and an id is taken for
-- new ones only. Indexes: location_ref_unique, area_ref_unique.
WITH asked AS (
    SELECT u.*, c.id AS location_id, a.id, a.id IS NULL AS is_new
    FROM json_to_recordset(%s::json) AS u (location text, ref text, kind text, name text)
    JOIN location AS c ON c.ref = u.location
    LEFT JOIN area AS a ON a.location_id = c.id AND a.ref = u.ref
    WHERE a.id IS NULL OR (a.kind, a.name) IS DISTINCT FROM (u.kind, coalesce(u.name, ''))
), written AS (
    INSERT INTO area (id, location_id, ref, kind, name)
    SELECT coalesce(id, nextval('area_id_seq')), location_id, ref, kind, coalesce(name, '')
    FROM asked ORDER BY location_id, ref
    ON CONFLICT ON CONSTRAINT area_ref_unique DO UPDATE
    SET kind = excluded.kind, name = excluded.name
)
SELECT location, ref, is_new FROM asked

-- name: list_areas
-- Areas by location and ref, with what lies in them. Indexes: location_ref_unique, lot_stock_area.
SELECT c.ref, a.ref, a.kind, a.name,
       coalesce((SELECT sum(qty) FROM lot_stock AS s WHERE s.area_id = a.id AND s.area_id <> 0), 0)::int
FROM area AS a JOIN location AS c ON c.id = a.location_id
WHERE (%s::text IS NULL OR c.ref = %s) AND c.ref > %s
ORDER BY c.ref, a.ref LIMIT %s

-- name: find_areas
-- Ids and kinds of areas by location and ref. Index: area_ref_unique.
SELECT a.location_id, a.ref, a.id, a.kind
FROM unnest(%s::int[], %s::text[]) AS u (location_id, ref)
JOIN area AS a ON a.location_id = u.location_id AND a.ref = u.ref
