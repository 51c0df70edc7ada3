-- Pruning the journal: what positions were is written first, then old rows go.

-- name: old_rows
-- The next journal rows recorded before an instant, by id. Index: journal_row.
SELECT id, position_ids, cause_kinds, on_hand_deltas, reserved_deltas, on_hands, reserveds,
       versions, previous_ids
FROM journal WHERE recorded_at < %s AND id > %s
ORDER BY id FETCH FIRST (%s::int) ROWS WITH TIES

-- name: count_old_rows
-- How many journal rows were recorded before an instant. No index: partitions are left out.
SELECT count(*) FROM journal WHERE recorded_at < %s

-- name: old_passes
-- How many passes, begun before an instant, have no number yet. Index: pass_unnumbered.
SELECT count(*) FROM pass WHERE number IS NULL AND started_at < %s

-- name: broken_journals
-- Findings that say a journal is broken: it is not pruned away. Index: audit_finding_open.
SELECT count(*) FROM audit_finding WHERE resolved_at IS NULL AND check_name = 'journal'

-- name: set_journal_from
-- Says since when the journal is kept. One row.
UPDATE audit_checkpoint SET journal_from = greatest(journal_from, %s)

-- name: delete_old_rows
-- Takes old journal rows out of the default partition, so many at a time. No index: a scan of it.
DELETE FROM journal_default WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM journal_default WHERE recorded_at < %s LIMIT 2000))

-- name: delete_old_marks
-- Takes marks out whose journal rows are gone. No index: few rows.
DELETE FROM journal_mark WHERE recorded_at < %s
