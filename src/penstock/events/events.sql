-- name: try_lead
-- Takes the lock of an account's sequencer, if nobody holds it. No index.
SELECT pg_try_advisory_lock(%s)

-- name: number_passes
-- Numbers the visible passes in the order of their stamps, after the newest number, without a gap.
-- Indexes: pass_unnumbered, pass_number, pass_pkey.
WITH next AS (
    SELECT id, row_number() OVER (ORDER BY stamp, id) AS place
    FROM (SELECT id, stamp FROM pass WHERE number IS NULL ORDER BY stamp, id LIMIT %s) AS waiting
)
UPDATE pass SET number = coalesce((SELECT max(number) FROM pass), 0) + next.place
FROM next WHERE pass.id = next.id
