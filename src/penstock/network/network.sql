-- name: locations
-- Every location, in order of id. Index: location_pkey.
SELECT id, ref, kind, latitude, longitude, time_zone, opening_hours, capabilities,
       handling_cost_minor, handling_min, daily_capacity
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

-- name: next_profile_version
-- The version a profile's next document gets. Index: sourcing_profile_pkey.
SELECT coalesce(max(version), 0) + 1 FROM sourcing_profile WHERE ref = %s

-- name: deactivate_profile
-- Index: sourcing_profile_pkey.
UPDATE sourcing_profile SET is_active = false WHERE ref = %s AND is_active

-- name: insert_profile
-- Stores a version of a profile.
INSERT INTO sourcing_profile (ref, version, channel_id, document, is_active)
VALUES (%s, %s, %s, %s::jsonb, %s)

-- name: bump_sourcing
-- Tells every process that profiles changed.
UPDATE revision SET value = value + 1 WHERE name = 'sourcing'

-- name: upsert_locations
-- Makes or changes locations; unchanged ones are not written. Index: location_ref_unique.
INSERT INTO location AS l (ref, kind, name, address, latitude, longitude, time_zone, opening_hours,
    capabilities, handling_cost_minor, handling_min, daily_capacity, attributes)
SELECT u.* FROM jsonb_to_recordset(%s::jsonb) AS u
    (ref text, kind text, name text, address jsonb, latitude double precision,
     longitude double precision, time_zone text, opening_hours jsonb, capabilities text[],
     handling_cost_minor bigint, handling_min int, daily_capacity jsonb, attributes jsonb)
ORDER BY u.ref
ON CONFLICT ON CONSTRAINT location_ref_unique DO UPDATE
SET kind = excluded.kind, name = excluded.name, address = excluded.address,
    latitude = excluded.latitude, longitude = excluded.longitude,
    time_zone = excluded.time_zone, opening_hours = excluded.opening_hours,
    capabilities = excluded.capabilities, handling_cost_minor = excluded.handling_cost_minor,
    handling_min = excluded.handling_min, daily_capacity = excluded.daily_capacity,
    attributes = excluded.attributes
WHERE (l.kind, l.name, l.address, l.latitude, l.longitude, l.time_zone, l.opening_hours,
       l.capabilities, l.handling_cost_minor, l.handling_min, l.daily_capacity, l.attributes)
   IS DISTINCT FROM (excluded.kind, excluded.name, excluded.address, excluded.latitude,
       excluded.longitude, excluded.time_zone, excluded.opening_hours, excluded.capabilities,
       excluded.handling_cost_minor, excluded.handling_min, excluded.daily_capacity,
       excluded.attributes)
RETURNING l.ref, (l.xmax = 0)

-- name: locations_missing_in_networks
-- Refs that networks name and no location has. Index: location_ref_unique.
SELECT r.ref FROM jsonb_to_recordset(%s::jsonb) AS u (ref text, locations text[]),
    unnest(u.locations) AS r (ref)
WHERE NOT EXISTS (SELECT 1 FROM location l WHERE l.ref = r.ref) ORDER BY 1 LIMIT 1

-- name: make_networks
-- Index: network_ref_unique.
INSERT INTO network (ref)
SELECT ref FROM jsonb_to_recordset(%s::jsonb) AS u (ref text) ORDER BY 1 ON CONFLICT DO NOTHING

-- name: clear_network_locations
-- Takes out the locations that a network no longer has. Index: network_location_pkey.
DELETE FROM network_location nl
USING jsonb_to_recordset(%s::jsonb) AS u (ref text, locations text[]), network n, location l
WHERE n.ref = u.ref AND nl.network_id = n.id AND l.id = nl.location_id
  AND l.ref <> ALL (u.locations)

-- name: set_network_locations
-- Adds the locations that a network has. Index: network_location_pkey.
INSERT INTO network_location (network_id, location_id)
SELECT n.id, l.id
FROM jsonb_to_recordset(%s::jsonb) AS u (ref text, locations text[])
JOIN network n ON n.ref = u.ref JOIN location l ON l.ref = ANY (u.locations)
ORDER BY 1, 2 ON CONFLICT DO NOTHING

-- name: known_channels
-- Index: channel_ref_unique.
SELECT ref FROM channel WHERE ref = ANY(%s)

-- name: known_networks
-- Index: network_ref_unique.
SELECT ref FROM network WHERE ref = ANY(%s)

-- name: known_locations
-- Index: location_ref_unique.
SELECT ref FROM location WHERE ref = ANY(%s)

-- name: clear_channel_networks
-- Index: channel_network_pkey.
DELETE FROM channel_network cn USING channel c WHERE c.id = cn.channel_id AND c.ref = ANY(%s)

-- name: set_channel_networks
-- Index: channel_network_pkey.
INSERT INTO channel_network (channel_id, network_id)
SELECT c.id, n.id FROM unnest(%s::text[], %s::text[]) AS u (channel, network)
JOIN channel c ON c.ref = u.channel JOIN network n ON n.ref = u.network
ORDER BY 1, 2 ON CONFLICT DO NOTHING

-- name: switch_locations_on
-- Index: location_switch_pkey.
DELETE FROM location_switch s
USING unnest(%s::text[], %s::text[]) AS u (ref, service), location l
WHERE l.ref = u.ref AND s.location_id = l.id AND s.service = u.service

-- name: switch_locations_off
-- Index: location_switch_pkey.
INSERT INTO location_switch (location_id, service, off_from, off_until, reason)
SELECT l.id, u.service, u.off_from, u.off_until, u.reason
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])
     AS u (ref, service, off_from, off_until, reason)
JOIN location l USING (ref) ORDER BY 1, 2

-- name: switch_networks_on
-- Index: network_switch_pkey.
DELETE FROM network_switch s
USING unnest(%s::text[], %s::text[]) AS u (ref, service), network n
WHERE n.ref = u.ref AND s.network_id = n.id AND s.service = u.service

-- name: switch_networks_off
-- Index: network_switch_pkey.
INSERT INTO network_switch (network_id, service, off_from, off_until, reason)
SELECT n.id, u.service, u.off_from, u.off_until, u.reason
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])
     AS u (ref, service, off_from, off_until, reason)
JOIN network n USING (ref) ORDER BY 1, 2

-- name: bump_network
-- Tells every process that the network changed.
UPDATE revision SET value = value + 1 WHERE name = 'network'
