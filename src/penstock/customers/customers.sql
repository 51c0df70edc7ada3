-- name: find_customers
-- Ids, and what expressions may read, by ref. Index: customer_ref_unique.
SELECT ref, id, tier, name, email, attributes
FROM unnest(%s::text[]) AS u (ref) JOIN customer USING (ref)

-- name: upsert_customers
-- Makes or changes customers, with an id each for new ones; says which are new. Unchanged ones are
-- not written. Index: customer_ref_unique.
WITH changed AS (
    SELECT u.*, c.id IS NULL AS is_new
    FROM ROWS FROM (
        json_to_recordset(%s::json) AS (ref text, tier text, name text, email text, address jsonb,
                                        attributes jsonb),
        unnest(%s::uuid[])
    ) AS u (ref, tier, name, email, address, attributes, id)
    LEFT JOIN customer AS c ON c.ref = u.ref
    WHERE c.id IS NULL
       OR (c.tier, c.name, c.email, c.address, c.attributes)
       IS DISTINCT FROM (u.tier, u.name, u.email, u.address, u.attributes)
), written AS (
    INSERT INTO customer (id, ref, tier, name, email, address, attributes)
    SELECT id, ref, tier, name, email, address, attributes FROM changed ORDER BY ref
    ON CONFLICT ON CONSTRAINT customer_ref_unique DO UPDATE
    SET tier = excluded.tier, name = excluded.name, email = excluded.email,
        address = excluded.address, attributes = excluded.attributes
)
SELECT ref, is_new FROM changed

-- name: customers_of_ids
-- What expressions may read of customers. Index: customer_pkey.
SELECT id, ref, tier, name, email, attributes FROM customer WHERE id = ANY(%s::uuid[])
