-- name: sources_by_ref
-- Every stock source, a handful. Index: none.
SELECT ref, id FROM stock_source

-- name: pools_by_ref
-- Every pool, a handful. Index: none.
SELECT ref, id FROM pool

-- name: orders_about
-- How many orders there are, as last estimated by PostgreSQL; -1: never. Index: none.
SELECT reltuples::bigint, relpages FROM pg_catalog.pg_class
WHERE oid = 'orders'::pg_catalog.regclass

-- name: orders_by_status
-- Orders counted by status, for accounts where that is quick. Index: none.
SELECT status, count(*) FROM orders GROUP BY status ORDER BY 2 DESC

-- name: orders_by_status_sampled
-- The same from a sample of pages (percent), for large accounts. Index: none.
SELECT status, count(*) FROM orders TABLESAMPLE SYSTEM (%s) GROUP BY status ORDER BY 2 DESC
