-- name: note_mentioned
-- Keeps which positions a chunk of a full feed names. No index is read.
INSERT INTO stock_mention (job_id, position_ids) VALUES (%s, %s)

-- name: mentioned_by
-- The positions that a full feed has named so far. Index: stock_mention_job.
SELECT position_ids FROM stock_mention WHERE job_id = %s

-- name: forget_mentioned
-- Lets go of them once the feed has ended. Index: stock_mention_job.
DELETE FROM stock_mention WHERE job_id = %s

-- name: positions_of_source
-- The next positions with anything on hand that a source counted last (of one pool, if it is
-- named), as columns. Index: position_pkey.
SELECT array_agg(id), array_agg(product_id), array_agg(location_id), array_agg(pool_id),
       array_agg(on_hand), array_agg(reserved), array_agg(version),
       array_agg(coalesce((extract(epoch FROM counted_at) * 1000000)::bigint, 0))
FROM (SELECT * FROM position
      WHERE id > %s AND source_id = %s AND on_hand <> 0
        AND (%s::smallint IS NULL OR pool_id = %s::smallint)
      ORDER BY id LIMIT %s) AS p

-- name: named_positions
-- Positions by their refs, for people. Indexes: position_pkey, and those of the refs' tables.
SELECT o.ref, l.ref, q.ref, p.on_hand
FROM position AS p
JOIN product AS o ON o.id = p.product_id
JOIN location AS l ON l.id = p.location_id
JOIN pool AS q ON q.id = p.pool_id
WHERE p.id = ANY(%s) ORDER BY p.id

-- name: add_retired
-- Adds to what a feed has retired. Index: stock_retirement_pkey.
INSERT INTO stock_retirement AS r (job_id, positions, units) VALUES (%s, %s, %s)
ON CONFLICT (job_id) DO UPDATE
SET positions = r.positions + excluded.positions, units = r.units + excluded.units
RETURNING positions, units

-- name: retired_by
-- What a feed has retired so far. Index: stock_retirement_pkey.
SELECT positions, units FROM stock_retirement WHERE job_id = %s

-- name: open_stock_job
-- Opens a job, unless its ref is there. Index: stock_job_ref_unique.
INSERT INTO stock_job (id, ref, body_hash, source_id, pool_id, catalogue_id, mode, counted_at,
    status, opened_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'running', %s)
ON CONFLICT ON CONSTRAINT stock_job_ref_unique DO NOTHING

-- name: stock_job_of_ref
-- The job that has a ref, and what it was opened with. Index: stock_job_ref_unique.
SELECT id, body_hash FROM stock_job WHERE ref = %s

-- name: stock_jobs
-- Jobs with what came of them: one by id, or the newest of some status before an instant and id.
-- Indexes: stock_job_pkey, stock_job_opened, stock_batch_ref_unique.
SELECT j.id, j.ref, s.ref, p.ref, j.mode, j.counted_at, j.status, j.retire_at_most, j.error,
       j.opened_at, j.ended_at, b.batches, b.waiting, b.rows, b.rows_done, b.changed, b.unchanged,
       b.failed, coalesce(r.positions, 0), coalesce(r.units, 0), j.source_id, j.pool_id,
       j.catalogue_id
FROM stock_job AS j
JOIN stock_source AS s ON s.id = j.source_id
LEFT JOIN pool AS p ON p.id = j.pool_id
LEFT JOIN stock_retirement AS r ON r.job_id = j.id
CROSS JOIN LATERAL (
    SELECT count(*) AS batches, count(*) FILTER (WHERE done_at IS NULL) AS waiting,
           coalesce(sum(rows), 0) AS rows, coalesce(sum(rows_done), 0) AS rows_done,
           coalesce(sum(changed), 0) AS changed, coalesce(sum(unchanged), 0) AS unchanged,
           coalesce(sum(failed), 0) AS failed
    FROM stock_batch WHERE job_id = j.id
) AS b
WHERE (%(id)s::uuid IS NULL OR j.id = %(id)s::uuid)
  AND (%(status)s::text IS NULL OR j.status = %(status)s::text)
ORDER BY j.opened_at DESC, j.id LIMIT %(limit)s

-- name: share_stock_job
-- Keeps a job from ending while a batch of it is taken in or moved on. Index: stock_job_pkey.
SELECT status, retire_at_most FROM stock_job WHERE id = %s FOR SHARE

-- name: lock_stock_job
-- Locks a job that is to end. Index: stock_job_pkey.
SELECT status, retire_at_most FROM stock_job WHERE id = %s FOR NO KEY UPDATE

-- name: add_batch
-- Takes a batch in, unless its ref is there. Index: stock_batch_ref_unique.
INSERT INTO stock_batch (job_id, ref, body_hash, body, rows, received_at)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT stock_batch_ref_unique DO NOTHING

-- name: batches_of_job
-- A job's batches in order of arrival after one, or the one of a ref. Index:
-- stock_batch_ref_unique.
SELECT id, ref, rows, rows_done, changed, unchanged, failed, received_at, done_at, body_hash
FROM stock_batch
WHERE job_id = %(job_id)s AND id > %(after)s AND (%(ref)s::text IS NULL OR ref = %(ref)s::text)
ORDER BY id LIMIT %(limit)s

-- name: waiting_batches
-- How many batches of a job are not done. Index: stock_batch_ref_unique.
SELECT count(*) FROM stock_batch WHERE job_id = %s AND done_at IS NULL

-- name: results_of_batch
-- What became of a batch's rows, chunk by chunk, after a row. Index: stock_batch_result_pkey.
SELECT first_row, outcomes, faults FROM stock_batch_result
WHERE batch_id = %s AND first_row + length(outcomes) > %s ORDER BY first_row

-- name: sources_due
-- Sources with a batch that waits, or a job that is to retire. Indexes: stock_batch_waiting,
-- stock_job_running.
SELECT s.id, s.ref FROM stock_source AS s
WHERE s.id IN (
    SELECT j.source_id FROM stock_job AS j
    WHERE j.ended_at IS NULL
      AND (j.retire_at_most IS NOT NULL
           OR EXISTS (SELECT FROM stock_batch AS b WHERE b.job_id = j.id AND b.done_at IS NULL))
) ORDER BY 1

-- name: next_batch
-- The next batch of a source: the one that has waited longest. Indexes: stock_batch_waiting,
-- stock_job_pkey.
SELECT b.id, b.job_id, b.ref, b.body, b.rows_done, b.attempts
FROM stock_batch AS b JOIN stock_job AS j ON j.id = b.job_id
WHERE b.done_at IS NULL AND j.ended_at IS NULL AND j.source_id = %s
ORDER BY b.id LIMIT 1

-- name: retiring_job
-- The job of a source that is to retire. Index: stock_job_running.
SELECT id FROM stock_job
WHERE ended_at IS NULL AND retire_at_most IS NOT NULL AND source_id = %s
ORDER BY opened_at LIMIT 1

-- name: try_batch
-- Notes an attempt before it is made: one that kills its process is not made for ever. Index:
-- stock_batch_pkey.
UPDATE stock_batch SET attempts = attempts + 1 WHERE id = %s

-- name: advance_batch
-- Moves a batch on from where it is known to be; of two who try, one. Its rows go when all are
-- done. Index: stock_batch_pkey.
UPDATE stock_batch
SET rows_done = %(rows_done)s, changed = changed + %(changed)s, unchanged = unchanged + %(unchanged)s,
    failed = failed + %(failed)s, attempts = 0,
    done_at = CASE WHEN rows = %(rows_done)s THEN %(now)s::timestamptz END,
    body = CASE WHEN rows = %(rows_done)s THEN NULL ELSE body END
WHERE id = %(id)s AND rows_done = %(known)s AND done_at IS NULL

-- name: add_results
-- Keeps what became of a chunk's rows. No index is read.
INSERT INTO stock_batch_result (batch_id, first_row, outcomes, faults) VALUES (%s, %s, %s, %s)

-- name: tell_retiring
-- Notes that a job is to retire what it did not mention. Index: stock_job_pkey.
UPDATE stock_job SET retire_at_most = %s WHERE id = %s AND status = 'running'

-- name: end_stock_job
-- Ends a job. Index: stock_job_pkey.
UPDATE stock_job SET status = %s, error = %s, ended_at = %s WHERE id = %s AND status = 'running'

-- name: drop_bodies
-- Lets go of rows that will not be counted any more. Index: stock_batch_ref_unique.
UPDATE stock_batch SET body = NULL WHERE job_id = %s AND body IS NOT NULL
