-- name: find_customers
-- Ids and tiers by ref. Index: customer_ref_unique.
SELECT ref, id, tier FROM customer WHERE ref = ANY(%s)
