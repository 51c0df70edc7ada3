-- name: pool_refs
-- Every pool by id. No index: small.
SELECT id, ref FROM pool
