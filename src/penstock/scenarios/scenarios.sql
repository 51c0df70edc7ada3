-- name: next_due
-- When the next event of the inbox is due, up to an instant. Index: inbox_due.
SELECT min(due_at) FROM inbox WHERE due_at <= %s

-- name: newest_pass
-- The newest pass, so that what comes after it can be told. Index: pass_pkey.
SELECT coalesce(max(id::text), '') FROM pass

-- name: events_since
-- What the stream has had since a pass, in its order. Index: event_pass.
SELECT name FROM event WHERE pass_id::text > %s ORDER BY pass_id, ordinal

-- name: jobs
-- Every outside call, oldest first. Index: none, a scenario has few.
SELECT id, kind, status, request, attempts FROM job ORDER BY id

-- name: timers
-- The names of what waits for its instant, soonest first. Index: inbox_due.
SELECT coalesce(timer, name) FROM inbox WHERE due_at > %s ORDER BY due_at, id

-- name: dead_letters
-- What has failed for good and nobody has resolved. Index: dead_letter_open.
SELECT name, error FROM dead_letter WHERE resolved_at IS NULL ORDER BY died_at, id

-- name: unhandled
-- Events that no ruleset handled. Index: unhandled_event_open.
SELECT name FROM unhandled_event WHERE resolved_at IS NULL ORDER BY met_at, id

-- name: position
-- What a position holds. Indexes: product_ref_unique, location_ref_unique, position_unique.
SELECT p.on_hand, p.reserved FROM position p
JOIN product s ON s.id = p.product_id JOIN location l ON l.id = p.location_id
WHERE s.ref = %s AND l.ref = %s
