-- name: count_traces
-- How many traces are older than an instant.
SELECT count(*) FROM trace WHERE recorded_at < %s

-- name: prune_traces
-- Takes old traces out, so many at a time.
DELETE FROM trace t USING (
    SELECT tableoid, ctid FROM trace WHERE recorded_at < %s LIMIT 10000
) AS old WHERE t.tableoid = old.tableoid AND t.ctid = old.ctid

-- name: count_jobs
-- How many jobs were over before an instant; failed ones wait for a person.
SELECT count(*) FROM job WHERE status IN ('done', 'skipped') AND ended_at < %s

-- name: prune_jobs
-- Takes jobs out that are over, so many at a time.
DELETE FROM job WHERE id IN (
    SELECT id FROM job WHERE status IN ('done', 'skipped') AND ended_at < %s LIMIT 10000
)

-- name: count_dead_letters
-- How many dead letters were dealt with before an instant.
SELECT count(*) FROM dead_letter WHERE resolved_at < %s

-- name: prune_dead_letters
-- Takes dead letters out that were dealt with, so many at a time.
DELETE FROM dead_letter WHERE id IN (
    SELECT id FROM dead_letter WHERE resolved_at < %s LIMIT 10000
)

-- name: count_unhandled
-- How many unhandled events were dealt with before an instant.
SELECT count(*) FROM unhandled_event WHERE resolved_at < %s

-- name: prune_unhandled
-- Takes unhandled events out that were dealt with, so many at a time.
DELETE FROM unhandled_event WHERE id IN (
    SELECT id FROM unhandled_event WHERE resolved_at < %s LIMIT 10000
)

-- name: count_stock_jobs
-- How many stock jobs had ended before an instant.
SELECT count(*) FROM stock_job WHERE ended_at < %s

-- name: prune_stock_jobs
-- Takes stock jobs out that have ended, with their batches and results, so many at a time.
WITH gone AS (
    DELETE FROM stock_job WHERE id IN (
        SELECT id FROM stock_job WHERE ended_at < %s LIMIT 1000
    ) RETURNING id
), retired AS (
    DELETE FROM stock_retirement WHERE job_id IN (SELECT id FROM gone)
)
SELECT id FROM gone
