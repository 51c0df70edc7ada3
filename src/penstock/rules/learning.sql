-- name: note_times
-- Keeps when steps of fulfilments happened; the first told stays. Index: fulfilment_time_pkey.
INSERT INTO fulfilment_time (fulfilment_id, step, at, carrier, carrier_service, is_learnt)
SELECT id, step, at, carrier, service, false
FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::text[], %s::text[])
     AS u (id, step, at, carrier, service)
ORDER BY id, step ON CONFLICT DO NOTHING RETURNING fulfilment_id, step

-- name: take_unlearnt
-- Marks the oldest steps that were not learnt from, and returns them. Index: fulfilment_time_to_learn.
WITH due AS (
    SELECT fulfilment_id, step FROM fulfilment_time WHERE NOT is_learnt
    ORDER BY at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE fulfilment_time AS t SET is_learnt = true FROM due
WHERE (t.fulfilment_id, t.step) = (due.fulfilment_id, due.step)
RETURNING t.fulfilment_id, t.step

-- name: times_of_fulfilments
-- What is known of steps. Index: fulfilment_time_pkey.
SELECT fulfilment_id, step, at, carrier, carrier_service
FROM fulfilment_time WHERE fulfilment_id = ANY(%s::uuid[]) ORDER BY fulfilment_id, at

-- name: facts_of_fulfilments
-- What fulfilments were to do, and where they go. Indexes: fulfilment_pkey, choice_pkey.
SELECT f.id, f.origin_id, f.service, f.released_at, f.due_at, f.carrier, f.carrier_service,
       f.distance_m, c.destination, c.wish
FROM fulfilment AS f LEFT JOIN choice AS c ON c.id = f.choice_id
WHERE f.id = ANY(%s::uuid[])
