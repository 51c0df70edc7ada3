-- name: evidence
-- What became of allocations since an instant, by location, age bucket of the last count and units
-- left behind: weighted trials and misses (half-life in days), and counts. A line that was sent
-- or collected was there; one whose reservation a shortage took was not; a rejected fulfilment lacked
-- one of its lines. Reads journal, events and fulfilments of these days as a whole; partitions of
-- earlier months are left out. Indexes: order_line_pkey, fulfilment_line_pkey.
WITH asked AS (
    SELECT %s::timestamptz AS now, %s::timestamptz AS since, %s::float8 AS half_life_days,
           %s::float8[] AS age_hours, %s::int AS most_left
), taken AS (
    SELECT DISTINCT ON (e.cause_id, e.location_id, e.product_id)
           e.cause_id AS root_id, e.location_id, e.product_id, j.occurred_at,
           CASE WHEN e.counted_us > 0
                THEN extract(epoch FROM j.occurred_at)::float8 / 3600 - e.counted_us / 3.6e9 END AS age_h,
           e.on_hand - e.reserved AS units_left
    FROM asked
    JOIN journal AS j ON j.recorded_at >= asked.since
    CROSS JOIN LATERAL unnest(j.cause_ids, j.location_ids, j.product_ids, j.cause_kinds,
                              j.reserved_deltas, j.on_hands, j.reserveds, j.counted_ats)
         AS e (cause_id, location_id, product_id, cause_kind, delta, on_hand, reserved, counted_us)
    WHERE e.cause_kind = 3 AND e.delta > 0
    ORDER BY e.cause_id, e.location_id, e.product_id, j.occurred_at DESC
), ended AS (
    SELECT f.root_id, f.origin_id AS location_id, l.product_id,
           CASE WHEN f.status = 'rejected' THEN 1.0 / count(*) OVER (PARTITION BY f.id) ELSE 0.0 END
           AS missed
    FROM asked
    JOIN fulfilment AS f ON f.created_at >= asked.since
    JOIN fulfilment_line AS l ON l.fulfilment_id = f.id
    WHERE f.status IN ('shipped', 'collected', 'rejected') AND l.qty > 0
    UNION ALL
    SELECT e.root_id, f.origin_id, n.product_id, 1.0
    FROM asked
    JOIN event AS e ON e.recorded_at >= asked.since AND e.name = 'fulfilment.stock_lost'
    JOIN fulfilment AS f ON f.id = e.entity_id
    JOIN order_line AS n ON n.id = (e.payload->>'line_id')::uuid
), trials AS (
    SELECT t.location_id, t.age_h, t.units_left, max(ended.missed)::float8 AS missed,
           power(0.5, extract(epoch FROM asked.now - t.occurred_at)::float8 / 86400
                      / asked.half_life_days) AS weight
    FROM asked, taken AS t JOIN ended USING (root_id, location_id, product_id)
    GROUP BY t.root_id, t.location_id, t.product_id, t.age_h, t.units_left, t.occurred_at,
             asked.now, asked.half_life_days
)
SELECT location_id,
       CASE WHEN age_h IS NULL THEN cardinality(asked.age_hours) + 1
            ELSE width_bucket(age_h, asked.age_hours) END AS age,
       greatest(least(units_left, asked.most_left), 0) AS units_left,
       sum(weight), sum(weight * missed), count(*)::float8, sum(missed)
FROM trials, asked
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: put_confidence
-- Stores what was learnt, in place of what was. Index: learnt_confidence_pkey.
INSERT INTO learnt_confidence (id, learnt_at, document) VALUES (1, %s, %s)
ON CONFLICT (id) DO UPDATE SET learnt_at = excluded.learnt_at, document = excluded.document

-- name: confidence
-- What was learnt last. Index: learnt_confidence_pkey.
SELECT document::text FROM learnt_confidence
