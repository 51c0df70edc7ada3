-- name: begin_job
-- Notes that a file is begun, unless it was before. Index: bulk_job_file.
INSERT INTO bulk_job (id, kind, file_name, file_hash, started_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT bulk_job_file DO NOTHING

-- name: begin_job_again
-- Forgets how far a file came. Index: bulk_job_file.
UPDATE bulk_job SET rows_done = 0, rows_failed = 0, rows_unchanged = 0, started_at = %s,
    finished_at = NULL
WHERE kind = %s AND file_hash = %s

-- name: begin_retiring_again
-- Forgets what a full feed has retired. Index: stock_retirement_pkey.
DELETE FROM stock_retirement WHERE job_id = %s

-- name: job_of_file
-- How far a file came. Index: bulk_job_file.
SELECT id, rows_done, rows_failed, rows_unchanged, finished_at IS NOT NULL
FROM bulk_job WHERE kind = %s AND file_hash = %s

-- name: advance_job
-- Moves a job on from where it is known to be; of two who try, one. Index: bulk_job_pkey.
UPDATE bulk_job SET rows_done = %s, rows_failed = %s, rows_unchanged = %s
WHERE id = %s AND rows_done = %s AND finished_at IS NULL

-- name: finish_job
-- Notes that every row is done. Index: bulk_job_pkey.
UPDATE bulk_job SET finished_at = %s WHERE id = %s AND rows_done = %s AND finished_at IS NULL

-- name: try_import_lock
-- Takes the lock of a feed or file for as long as the connection lives, if it is free.
SELECT pg_try_advisory_lock(%s)

-- name: pass_number
-- The number of a pass, once the sequencer has given one. Index: pass_pkey.
SELECT number FROM pass WHERE id = %s

-- name: passes_after
-- What was done after a pass number; the limit stands here as a number, so that the planner walks
-- the index. Index: pass_number.
SELECT number, kind FROM pass WHERE number > %s ORDER BY number DESC LIMIT 200

-- name: sources_by_ref
-- Who counts stock. No index: small.
SELECT ref, id FROM stock_source

-- name: pools_by_ref
-- Where stock may be kept apart. No index: small.
SELECT ref, id FROM pool

-- name: catalogues_by_ref
-- The product catalogues. No index: small.
SELECT ref, id FROM product_catalogue ORDER BY id
