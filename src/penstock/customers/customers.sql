-- name: find_customers
-- Ids and tiers by ref. Index: customer_ref_unique.
SELECT ref, id, tier FROM customer WHERE ref = ANY(%s)

-- name: upsert_customers
-- Makes or changes customers; unchanged ones are not written. Index: customer_ref_unique.
INSERT INTO customer AS c (id, ref, tier, name, email, address, attributes)
SELECT i.id, u.ref, u.tier, u.name, u.email, u.address, u.attributes
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (ref text, tier text, name text, email text,
                address jsonb, attributes jsonb), unnest(%s::uuid[]))
     AS u (ref, tier, name, email, address, attributes, id)
     CROSS JOIN LATERAL (SELECT u.id) AS i (id)
ORDER BY u.ref
ON CONFLICT ON CONSTRAINT customer_ref_unique DO UPDATE
SET tier = excluded.tier, name = excluded.name, email = excluded.email,
    address = excluded.address, attributes = excluded.attributes
WHERE (c.tier, c.name, c.email, c.address, c.attributes)
   IS DISTINCT FROM (excluded.tier, excluded.name, excluded.email, excluded.address,
       excluded.attributes)
