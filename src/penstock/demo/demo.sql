-- name: jobs
-- How far the demo has come in this account. Index: bulk_job_file.
SELECT kind, file_name, file_hash, rows_done, rows_failed, finished_at,
       extract(epoch FROM finished_at - started_at)::float8
FROM bulk_job WHERE kind IN ('demo.retailer', 'demo.orders', 'demo.audit')

-- name: begin_job
-- Notes that a part of the demo is begun. Index: bulk_job_file.
INSERT INTO bulk_job (id, kind, file_name, file_hash, started_at)
VALUES (%s, %s, %s, %s, now()) ON CONFLICT ON CONSTRAINT bulk_job_file DO NOTHING

-- name: finish_retailer
-- Notes that the retailer is loaded, and how many orders its sample has. Index: bulk_job_file.
UPDATE bulk_job SET finished_at = now(), rows_done = %s WHERE kind = 'demo.retailer'

-- name: note_orders
-- Notes how many orders are taken in, and adds the time a chunk took: finish less start is time
-- worked, without the pauses between two runs. Index: bulk_job_file.
UPDATE bulk_job SET rows_done = %s,
    finished_at = coalesce(finished_at, started_at) + make_interval(secs => %s)
WHERE kind = 'demo.orders'

-- name: note_audit
-- Notes how many invariants an audit checked after the last order, and the breaches it found.
-- Index: bulk_job_file.
UPDATE bulk_job SET finished_at = now(), rows_done = %s, rows_failed = %s WHERE kind = 'demo.audit'

-- name: taken_refs
-- Which of these refs are taken in. Index: order_ref_unique (one channel after the other).
SELECT r.ref FROM channel c JOIN order_ref r ON r.channel_id = c.id
WHERE c.ref = ANY(%s) AND r.ref = ANY(%s)

-- name: is_foreign
-- Whether an account without the demo's notes holds something else.
SELECT EXISTS (SELECT 1 FROM channel) OR EXISTS (SELECT 1 FROM product)
    OR EXISTS (SELECT 1 FROM location)

-- name: order_figures
-- Orders, and how much money they are worth. Sequential: a summary looks at everything.
SELECT count(*), coalesce(sum(total_minor), 0)::bigint, min(placed_at), max(placed_at),
       coalesce(min(currency), '')
FROM orders

-- name: orders_by_status
-- Sequential, as above.
SELECT status, count(*) FROM orders GROUP BY status ORDER BY count(*) DESC, status

-- name: line_figures
-- Lines, and units asked, allocated and shipped, not asked any more. Sequential, as above.
SELECT count(*), coalesce(sum(qty), 0)::bigint,
       coalesce(sum(qty_allocated + qty_shipped), 0)::bigint,
       coalesce(sum(qty_cancelled), 0)::bigint
FROM order_line WHERE is_stocked

-- name: fulfilment_figures
-- Fulfilments that stand, of how many orders, how many of these in several; their mean distance
-- in metres and total cost. Sequential, as above.
SELECT coalesce(sum(parts), 0)::bigint, count(*), count(*) FILTER (WHERE parts > 1),
       coalesce(sum(distance_m) / nullif(sum(parts), 0), 0)::float8,
       coalesce(sum(cost_minor), 0)::bigint
FROM (
    SELECT count(*) AS parts, sum(distance_m)::numeric AS distance_m,
           sum(cost_minor)::bigint AS cost_minor
    FROM fulfilment WHERE status NOT IN ('rejected', 'cancelled') GROUP BY root_id
) AS of_order

-- name: places
-- How many of each kind of location there are, and how many of them have work.
SELECT l.kind, count(*), count(*) FILTER (WHERE w.origin_id IS NOT NULL),
       coalesce(sum(w.parts), 0)::bigint
FROM location l
LEFT JOIN (
    SELECT origin_id, count(*) AS parts FROM fulfilment
    WHERE status NOT IN ('rejected', 'cancelled') GROUP BY origin_id
) AS w ON w.origin_id = l.id
GROUP BY l.kind ORDER BY l.kind DESC

-- name: stock_figures
-- Products, positions, and those that promise more than they have. Sequential, as above.
SELECT (SELECT count(*) FROM product), count(*),
       count(*) FILTER (WHERE reserved > greatest(on_hand, 0))
FROM position
