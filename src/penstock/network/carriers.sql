-- name: carriers
-- Every carrier with its services. Index: none, there are few.
SELECT ref, services FROM carrier ORDER BY ref

-- name: lanes
-- Every lane. Index: none, all are read.
SELECT c.ref, l.service, l.origin, l.destination, l.days
FROM lane AS l JOIN carrier AS c ON c.id = l.carrier_id ORDER BY 1, 2, 3, 4

-- name: page_of_carriers
-- Carriers by ref, after one. Index: carrier_ref_unique.
SELECT ref, name, services FROM carrier WHERE ref > %s ORDER BY ref LIMIT %s

-- name: page_of_lanes
-- Lanes in order of their names, after one, of a carrier if one is named. Index: lane_pkey.
SELECT c.ref, l.service, l.origin, l.destination, l.days
FROM lane AS l JOIN carrier AS c ON c.id = l.carrier_id
WHERE (%s::text IS NULL OR c.ref = %s)
  AND (c.ref, l.service, l.origin, l.destination) > (%s, %s, %s, %s)
ORDER BY 1, 2, 3, 4 LIMIT %s

-- name: transit_seen
-- Every histogram of transit days. Index: none, all are read.
SELECT c.ref, t.service, t.lane, t.days, t.seen
FROM transit_seen AS t JOIN carrier AS c ON c.id = t.carrier_id ORDER BY 1, 2, 3, 4

-- name: handling_seen
-- Histograms of handling minutes of a service. Index: none, all are read.
SELECT location_id, minutes_upto, seen FROM handling_seen WHERE service = %s ORDER BY 1, 2

-- name: lock_carriers
-- Who changes carriers or lanes waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'carrier' FOR NO KEY UPDATE

-- name: bump_carriers
-- Tells every process that carriers or lanes changed.
UPDATE revision SET value = value + 1 WHERE name = 'carrier'

-- name: carrier_ids
-- Ids of carriers by ref. Index: carrier_ref_unique.
SELECT ref, id FROM unnest(%s::text[]) AS u (ref) JOIN carrier USING (ref)

-- name: upsert_carriers
-- Makes or changes carriers; says which are new, and writes no others. Index: carrier_ref_unique.
WITH asked AS (
    SELECT u.*, c.id IS NULL AS is_new
    FROM json_to_recordset(%s::json) AS u (ref text, name text, services jsonb)
    LEFT JOIN carrier AS c ON c.ref = u.ref
    WHERE c.id IS NULL OR (c.name, c.services) IS DISTINCT FROM (u.name, u.services)
), written AS (
    INSERT INTO carrier (ref, name, services)
    SELECT ref, name, services FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT carrier_ref_unique DO UPDATE
    SET name = excluded.name, services = excluded.services
)
SELECT ref, is_new FROM asked

-- name: drop_lanes
-- Takes lanes away; returns which were there. Index: lane_pkey.
DELETE FROM lane AS l
USING unnest(%s::int[], %s::text[], %s::text[], %s::text[]) AS u (carrier_id, service, origin, destination)
WHERE (l.carrier_id, l.service, l.origin, l.destination)
    = (u.carrier_id, u.service, u.origin, u.destination)
RETURNING l.carrier_id, l.service, l.origin, l.destination

-- name: upsert_lanes
-- Makes or changes lanes; returns those written, and whether each is new. Index: lane_pkey.
INSERT INTO lane AS l (carrier_id, service, origin, destination, days)
SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::smallint[])
ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT lane_pkey DO UPDATE SET days = excluded.days
WHERE l.days <> excluded.days
RETURNING carrier_id, service, origin, destination, xmax = 0

-- name: add_transit
-- Adds observations to histograms of transit days. Index: transit_seen_pkey.
INSERT INTO transit_seen AS t (carrier_id, service, lane, days, seen)
SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::smallint[], %s::bigint[])
ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT transit_seen_pkey DO UPDATE SET seen = t.seen + excluded.seen

-- name: add_handling
-- Adds observations to histograms of handling minutes. Index: handling_seen_pkey.
INSERT INTO handling_seen AS h (location_id, service, minutes_upto, seen)
SELECT * FROM unnest(%s::int[], %s::text[], %s::int[], %s::bigint[])
ORDER BY 1, 2, 3
ON CONFLICT ON CONSTRAINT handling_seen_pkey DO UPDATE SET seen = h.seen + excluded.seen

-- name: places_of_locations
-- Where locations are and how they work, by ref. Index: location_ref_unique.
SELECT ref, id, address, latitude, longitude, time_zone, opening_hours, calendar, handling_min
FROM unnest(%s::text[]) AS u (ref) JOIN location USING (ref)

-- name: slots_used
-- What is counted on the slots of a location between two instants. Index: slot_capacity_pkey.
SELECT slot_at, used FROM slot_capacity
WHERE location_id = %s AND service = %s AND slot_at >= %s AND slot_at < %s AND used > 0

-- name: all_slots_used
-- What is counted on slots that begin between two instants. Index: slot_capacity_from.
SELECT location_id, service, slot_at, used FROM slot_capacity
WHERE slot_at >= %s AND slot_at < %s AND used > 0

-- name: make_slots
-- Makes slots that were never counted, before they are locked. Index: slot_capacity_pkey.
INSERT INTO slot_capacity (location_id, service, slot_at, used)
SELECT l, s, a, 0 FROM unnest(%s::int[], %s::text[], %s::timestamptz[]) AS u (l, s, a)
ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING

-- name: lock_slots
-- Locks slots in order of their key and reads what is counted. Index: slot_capacity_pkey.
SELECT c.location_id, c.service, c.slot_at, c.used
FROM unnest(%s::int[], %s::text[], %s::timestamptz[]) AS u (l, s, a)
JOIN slot_capacity AS c ON (c.location_id, c.service, c.slot_at) = (u.l, u.s, u.a)
ORDER BY 1, 2, 3 FOR NO KEY UPDATE OF c

-- name: count_slots
-- Writes what is counted on slots that are locked. Index: slot_capacity_pkey.
UPDATE slot_capacity AS c SET used = u.used
FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::int[]) AS u (l, s, a, used)
WHERE (c.location_id, c.service, c.slot_at) = (u.l, u.s, u.a)
