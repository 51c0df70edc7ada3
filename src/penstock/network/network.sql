-- name: locations
-- Every location, in order of id. Index: location_pkey.
SELECT id, ref, kind, latitude, longitude, time_zone, opening_hours, capabilities,
       handling_cost_minor, handling_min, daily_capacity, calendar
FROM location ORDER BY id

-- name: network_locations
-- Who is in which network.
SELECT network_id, location_id FROM network_location ORDER BY 1, 2

-- name: channel_networks
-- Which networks may serve a channel.
SELECT channel_id, network_id FROM channel_network ORDER BY 1, 2

-- name: location_switches
-- Services of locations that are switched off.
SELECT location_id, service, off_from, off_until FROM location_switch ORDER BY 1, 2

-- name: network_switches
-- Services of networks that are switched off.
SELECT network_id, service, off_from, off_until FROM network_switch ORDER BY 1, 2

-- name: active_profiles
-- The active sourcing profiles.
SELECT ref, version, channel_id, document FROM sourcing_profile WHERE is_active ORDER BY ref

-- name: lock_sourcing
-- Who stores a profile waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'sourcing' FOR NO KEY UPDATE

-- name: next_profile_version
-- The version a profile's next document gets. Index: sourcing_profile_pkey.
SELECT coalesce(max(version), 0) + 1 FROM sourcing_profile WHERE ref = %s

-- name: deactivate_profiles
-- Takes back what a profile replaces: its other versions, and what its channel had.
UPDATE sourcing_profile SET is_active = false
WHERE is_active AND (ref = %s OR channel_id IS NOT DISTINCT FROM %s)

-- name: insert_profile
-- Stores a version of a profile.
INSERT INTO sourcing_profile (ref, version, channel_id, document, is_active)
VALUES (%s, %s, %s, %s::jsonb, %s)

-- name: bump_sourcing
-- Tells every process that profiles changed.
UPDATE revision SET value = value + 1 WHERE name = 'sourcing'

-- name: lock_network
-- Who changes the network waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'network' FOR NO KEY UPDATE

-- name: bump_network
-- Tells every process that the network changed.
UPDATE revision SET value = value + 1 WHERE name = 'network'

-- name: upsert_locations
-- Makes or changes locations; says which are new. Unchanged ones are not written, and an id is
-- taken for new ones only: processes hold columns by id. Index: location_ref_unique.
WITH asked AS (
    SELECT u.*, l.id, l.id IS NULL AS is_new
    FROM json_to_recordset(%s::json) AS u
        (ref text, kind text, name text, address jsonb, latitude double precision,
         longitude double precision, time_zone text, opening_hours jsonb, capabilities text[],
         handling_cost_minor bigint, handling_min int, daily_capacity jsonb, attributes jsonb,
         calendar jsonb)
    LEFT JOIN location AS l ON l.ref = u.ref
    WHERE l.id IS NULL
       OR (l.kind, l.name, l.address, l.latitude, l.longitude, l.time_zone, l.opening_hours,
           l.capabilities, l.handling_cost_minor, l.handling_min, l.daily_capacity, l.attributes,
           l.calendar)
       IS DISTINCT FROM (u.kind, u.name, u.address, u.latitude, u.longitude, u.time_zone,
           u.opening_hours, u.capabilities, u.handling_cost_minor, u.handling_min,
           u.daily_capacity, u.attributes, u.calendar)
), written AS (
    INSERT INTO location (id, ref, kind, name, address, latitude, longitude, time_zone,
        opening_hours, capabilities, handling_cost_minor, handling_min, daily_capacity, attributes,
        calendar)
    SELECT coalesce(id, nextval('location_id_seq')), ref, kind, name, address, latitude, longitude,
        time_zone, opening_hours, capabilities, handling_cost_minor, handling_min, daily_capacity,
        attributes, calendar
    FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT location_ref_unique DO UPDATE
    SET kind = excluded.kind, name = excluded.name, address = excluded.address,
        latitude = excluded.latitude, longitude = excluded.longitude,
        time_zone = excluded.time_zone, opening_hours = excluded.opening_hours,
        capabilities = excluded.capabilities, handling_cost_minor = excluded.handling_cost_minor,
        handling_min = excluded.handling_min, daily_capacity = excluded.daily_capacity,
        attributes = excluded.attributes, calendar = excluded.calendar
)
SELECT ref, is_new FROM asked

-- name: location_ids
-- Ids of locations by ref. Index: location_ref_unique.
SELECT ref, id FROM unnest(%s::text[]) AS u (ref) JOIN location USING (ref)

-- name: network_ids
-- Ids of networks by ref. Index: network_ref_unique.
SELECT ref, id FROM unnest(%s::text[]) AS u (ref) JOIN network USING (ref)

-- name: channel_ids
-- Ids of channels by ref. Index: channel_ref_unique.
SELECT ref, id FROM unnest(%s::text[]) AS u (ref) JOIN channel USING (ref)

-- name: make_networks
-- Makes networks that are not there. Index: network_ref_unique.
INSERT INTO network (ref) SELECT unnest(%s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING

-- name: drop_network_locations
-- Takes out the locations that networks no longer have. Index: network_location_pkey.
DELETE FROM network_location AS m
WHERE m.network_id = ANY(%s)
  AND NOT EXISTS (SELECT FROM unnest(%s::int[], %s::int[]) AS u (network_id, location_id)
                  WHERE u.network_id = m.network_id AND u.location_id = m.location_id)
RETURNING m.network_id

-- name: add_network_locations
-- Adds the locations that networks have. Index: network_location_pkey.
INSERT INTO network_location (network_id, location_id)
SELECT DISTINCT u.n, u.l FROM unnest(%s::int[], %s::int[]) AS u (n, l)
ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING network_id

-- name: drop_channel_networks
-- Takes out the networks that channels no longer name. Index: channel_network_pkey.
DELETE FROM channel_network AS m
WHERE m.channel_id = ANY(%s)
  AND NOT EXISTS (SELECT FROM unnest(%s::int[], %s::int[]) AS u (channel_id, network_id)
                  WHERE u.channel_id = m.channel_id AND u.network_id = m.network_id)
RETURNING m.channel_id

-- name: add_channel_networks
-- Adds the networks that channels name. Index: channel_network_pkey.
INSERT INTO channel_network (channel_id, network_id)
SELECT DISTINCT u.c, u.n FROM unnest(%s::int[], %s::int[]) AS u (c, n)
ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING channel_id

-- name: switch_locations_on
-- Services of locations that are no longer off. Index: location_switch_pkey.
DELETE FROM location_switch AS s USING unnest(%s::int[], %s::text[]) AS u (id, service)
WHERE s.location_id = u.id AND s.service = u.service RETURNING s.location_id, s.service

-- name: switch_locations_off
-- Services of locations that are off from an instant: the one asked for, else the one they are off
-- from already, else now. Index: location_switch_pkey.
INSERT INTO location_switch AS s (location_id, service, off_from, off_until, reason)
SELECT u.id, u.service,
       coalesce(u.off_from, CASE WHEN o.off_from <= u.now AND (o.off_until > u.now) IS NOT FALSE
                                 THEN o.off_from END, u.now),
       u.off_until, u.reason
FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[],
            %s::timestamptz[]) AS u (id, service, off_from, off_until, reason, now)
LEFT JOIN location_switch AS o ON o.location_id = u.id AND o.service = u.service
ORDER BY 1, 2
ON CONFLICT ON CONSTRAINT location_switch_pkey DO UPDATE
SET off_from = excluded.off_from, off_until = excluded.off_until, reason = excluded.reason
WHERE (s.off_from, s.off_until, s.reason)
      IS DISTINCT FROM (excluded.off_from, excluded.off_until, excluded.reason)
RETURNING s.location_id, s.service

-- name: switch_networks_on
-- Services of networks that are no longer off. Index: network_switch_pkey.
DELETE FROM network_switch AS s USING unnest(%s::int[], %s::text[]) AS u (id, service)
WHERE s.network_id = u.id AND s.service = u.service RETURNING s.network_id, s.service

-- name: switch_networks_off
-- Services of networks that are off from an instant, as with locations. Index: network_switch_pkey.
INSERT INTO network_switch AS s (network_id, service, off_from, off_until, reason)
SELECT u.id, u.service,
       coalesce(u.off_from, CASE WHEN o.off_from <= u.now AND (o.off_until > u.now) IS NOT FALSE
                                 THEN o.off_from END, u.now),
       u.off_until, u.reason
FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[],
            %s::timestamptz[]) AS u (id, service, off_from, off_until, reason, now)
LEFT JOIN network_switch AS o ON o.network_id = u.id AND o.service = u.service
ORDER BY 1, 2
ON CONFLICT ON CONSTRAINT network_switch_pkey DO UPDATE
SET off_from = excluded.off_from, off_until = excluded.off_until, reason = excluded.reason
WHERE (s.off_from, s.off_until, s.reason)
      IS DISTINCT FROM (excluded.off_from, excluded.off_until, excluded.reason)
RETURNING s.network_id, s.service

-- name: search_locations
-- Locations of a kind, in a network, around a point or in a box (west of east over the date line),
-- the nearest first or in order of ref, with what is off now. Index: none, there are few.
WITH asked AS (
    SELECT %s::text AS kind, %s::text AS network, %s::float8 AS latitude, %s::float8 AS longitude,
           %s::float8 AS within_km, %s::float8 AS south, %s::float8 AS west, %s::float8 AS north,
           %s::float8 AS east, %s::text AS after, %s::timestamptz AS now, %s::int AS most
), placed AS (
    SELECT l.*, CASE WHEN a.latitude IS NOT NULL THEN 2 * 6371.0088 * asin(sqrt(least(1,
               sin(radians(l.latitude - a.latitude) / 2) ^ 2
               + cos(radians(l.latitude)) * cos(radians(a.latitude))
               * sin(radians(l.longitude - a.longitude) / 2) ^ 2))) END AS km
    FROM location AS l, asked AS a
    WHERE (a.kind IS NULL OR l.kind = a.kind)
      AND (a.after IS NULL OR l.ref COLLATE "C" > a.after)
      AND (a.south IS NULL OR (l.latitude BETWEEN a.south AND a.north
           AND CASE WHEN a.west <= a.east THEN l.longitude BETWEEN a.west AND a.east
                    ELSE l.longitude >= a.west OR l.longitude <= a.east END))
      AND (a.network IS NULL OR EXISTS (
           SELECT FROM network_location AS m JOIN network AS n ON n.id = m.network_id
           WHERE m.location_id = l.id AND n.ref = a.network))
)
SELECT p.ref, p.kind, p.name, p.address, p.latitude, p.longitude, p.time_zone, p.km,
       ARRAY(SELECT s.service FROM location_switch AS s
             WHERE s.location_id = p.id AND s.off_from <= a.now
               AND (s.off_until > a.now) IS NOT FALSE ORDER BY 1)
FROM placed AS p, asked AS a
WHERE a.within_km IS NULL OR p.km <= a.within_km
ORDER BY p.km, p.ref COLLATE "C" LIMIT (SELECT most FROM asked)

-- name: location_by_ref
-- Everything of one location. Index: location_ref_unique.
SELECT id, ref, kind, name, address, latitude, longitude, time_zone, opening_hours, capabilities,
       handling_cost_minor, handling_min, daily_capacity, attributes, calendar
FROM location WHERE ref = %s

-- name: networks_of
-- The networks a location is in. Index: none, there are few.
SELECT n.ref FROM network_location AS m JOIN network AS n ON n.id = m.network_id
WHERE m.location_id = %s ORDER BY 1

-- name: switches_of
-- Services of a location that are switched off, or will be. Index: location_switch_pkey.
SELECT service, off_from, off_until, reason FROM location_switch WHERE location_id = %s ORDER BY 1
