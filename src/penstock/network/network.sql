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
