-- The audit that goes on where it was. Only the tables of the audit itself are written.

-- name: checkpoint
-- How far the audit has come. One row.
SELECT number, next_position FROM audit_checkpoint

-- name: newest_number
-- The largest number of a pass. Index: pass_number.
SELECT coalesce(max(number), 0) FROM pass

-- name: newest_position
-- The largest id of a position, or of one the journal has known. Indexes: position_pkey,
-- position_baseline_pkey.
SELECT greatest((SELECT coalesce(max(id), 0) FROM position),
                (SELECT coalesce(max(position_id), 0) FROM position_baseline WHERE kind = 2))

-- name: claim
-- Takes the audit for a while, if nobody has it. One row.
UPDATE audit_checkpoint SET claimed_until = now() + %s * interval '1 second'
WHERE claimed_until <= now() RETURNING number

-- name: hold
-- Says for how long the audit is left to whoever has it, or to nobody. One row.
UPDATE audit_checkpoint SET claimed_until = now() + %s * interval '1 second'

-- name: advance
-- Moves the checkpoint on from where it is known to be; of two who try, one.
UPDATE audit_checkpoint SET number = %s WHERE number = %s

-- name: advance_positions
-- Remembers where looking at positions goes on. One row.
UPDATE audit_checkpoint SET next_position = %s

-- name: passes_after
-- The next numbered passes. Index: pass_number.
SELECT id, number FROM pass WHERE number > %s ORDER BY number LIMIT %s

-- name: passes_beyond
-- Passes that a snapshot sees beyond the checkpoint. Indexes: pass_number, pass_unnumbered.
SELECT id FROM pass WHERE number > %s
UNION ALL
SELECT id FROM pass WHERE number IS NULL

-- name: rows_of_passes
-- The journal rows of passes. Index: journal_pass.
SELECT id, position_ids, cause_kinds, on_hand_deltas, reserved_deltas, on_hands, reserveds,
       versions, previous_ids, recorded_at
FROM journal WHERE pass_id = ANY(%s::uuid[])

-- name: roots_of_passes
-- Orders and other entities that passes have moved. Index: event_pass.
SELECT DISTINCT root_id FROM event WHERE pass_id = ANY(%s::uuid[]) AND root_kind <> 'position'

-- name: baselines
-- What positions were at the checkpoint, as columns. Index: position_baseline_pkey.
SELECT array_agg(position_id), array_agg(version), array_agg(on_hand), array_agg(reserved),
       array_agg(journal_id), array_agg(lack_cause)
FROM (SELECT * FROM position_baseline WHERE kind = %s AND position_id = ANY(%s::int[])
      ORDER BY position_id) AS b

-- name: write_baselines
-- Writes what positions are at the checkpoint. Index: position_baseline_pkey.
INSERT INTO position_baseline AS b
    (kind, position_id, version, on_hand, reserved, journal_id, lack_cause)
SELECT %s, u.* FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::int[])
    AS u (position_id, version, on_hand, reserved, journal_id, lack_cause)
ON CONFLICT (kind, position_id) DO UPDATE
SET version = excluded.version, on_hand = excluded.on_hand, reserved = excluded.reserved,
    journal_id = excluded.journal_id, lack_cause = excluded.lack_cause

-- name: write_marks
-- Leaves marks, where a walk into the past may begin. Index: journal_mark_pkey.
INSERT INTO journal_mark (position_id, version, journal_id, recorded_at)
SELECT u.position_id, u.version, u.journal_id,
       timestamptz 'epoch' + u.recorded_us * interval '1 microsecond'
FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[])
    AS u (position_id, version, journal_id, recorded_us)
ON CONFLICT DO NOTHING

-- name: positions_by_id
-- Positions as columns. Index: position_pkey.
SELECT array_agg(id), array_agg(product_id), array_agg(location_id), array_agg(pool_id),
       array_agg(on_hand), array_agg(reserved), array_agg(version), array_agg(journal_id)
FROM (SELECT * FROM position WHERE id = ANY(%s::int[]) ORDER BY id) AS p

-- name: reserved_by_id
-- What live reservations keep of positions. Index: reservation_position.
SELECT array_agg(position_id), array_agg(qty)
FROM (SELECT position_id, sum(qty)::bigint AS qty
      FROM reservation WHERE position_id = ANY(%s::int[]) GROUP BY position_id) AS r

-- name: note_finding
-- Keeps a breach, or that it is still there. Index: audit_finding_open.
INSERT INTO audit_finding AS f
    (check_name, subject, subject_key, sentence, first_seen_at, last_seen_at)
SELECT u.check_name, u.subject, u.subject_key, u.sentence, now(), now()
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    AS u (check_name, subject, subject_key, sentence)
ON CONFLICT (check_name, subject) WHERE resolved_at IS NULL
DO UPDATE SET sentence = excluded.sentence, last_seen_at = excluded.last_seen_at,
    subject_key = excluded.subject_key

-- name: resolve_findings
-- Findings about what was looked at again and not found again. Index: audit_finding_open.
UPDATE audit_finding SET resolved_at = now()
WHERE resolved_at IS NULL AND check_name = ANY(%s::text[])
  AND (%s::boolean OR subject_key = ANY(%s::text[]))
  AND (check_name, subject) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))

-- name: open_findings
-- What is wrong, oldest first. Index: audit_finding_open.
SELECT id, check_name, subject, subject_key, sentence, first_seen_at, last_seen_at
FROM audit_finding WHERE resolved_at IS NULL ORDER BY id LIMIT %s

-- name: resolved_findings
-- What was wrong, the last first. No index: few.
SELECT id, check_name, subject, subject_key, sentence, first_seen_at, last_seen_at, resolved_at
FROM audit_finding WHERE resolved_at IS NOT NULL ORDER BY resolved_at DESC, id DESC LIMIT %s

-- name: count_findings
-- How many breaches are open, by check. Index: audit_finding_open.
SELECT check_name, count(*) FROM audit_finding WHERE resolved_at IS NULL GROUP BY 1

-- name: finding
-- One finding. Index: audit_finding_pkey.
SELECT id, check_name, subject, subject_key, sentence, first_seen_at, last_seen_at, resolved_at
FROM audit_finding WHERE id = %s

-- name: write_run
-- Keeps what a run did. No index is read.
INSERT INTO audit_run
    (kind, started_at, ended_at, from_number, to_number, entries, positions, orders, breaches)
VALUES (%s, %s, now(), %s, %s, %s, %s, %s,
        (SELECT count(*) FROM audit_finding WHERE resolved_at IS NULL))

-- name: count_run
-- Adds what a run has looked at. One row.
UPDATE audit_checkpoint SET entries_read = entries_read + %s, positions_read = positions_read + %s

-- name: forget_runs
-- Keeps the last thousand runs. Index: audit_run_pkey.
DELETE FROM audit_run WHERE id <= (SELECT max(id) FROM audit_run) - 1000

-- name: last_runs
-- The last runs. Index: audit_run_pkey.
SELECT id, kind, started_at, ended_at, from_number, to_number, entries, positions, orders, breaches
FROM audit_run ORDER BY id DESC LIMIT %s

-- name: totals
-- What metrics tell: seconds since the last run (-1: never), passes not added up yet, what all runs
-- have looked at, and how many there were. Indexes: audit_run_pkey, pass_number.
SELECT coalesce((SELECT extract(epoch FROM now() - ended_at)::float8 FROM audit_run
                 ORDER BY id DESC LIMIT 1), -1),
       (SELECT coalesce(max(number), 0) FROM pass) - (SELECT number FROM audit_checkpoint),
       (SELECT positions_read FROM audit_checkpoint), (SELECT entries_read FROM audit_checkpoint),
       (SELECT coalesce(max(id), 0) FROM audit_run)
