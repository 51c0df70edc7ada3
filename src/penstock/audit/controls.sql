-- name: counts_that_do_not_add_up
-- Caps and ring-fences of which the count is not the sum of the live reservations that name them.
-- One reading of what is counted. Index: reservation_counted.
WITH kept AS (
    SELECT abs(n.mark) AS control_id, p.product_id,
           CASE WHEN n.mark < 0 THEN p.location_id ELSE 0 END AS location_id, sum(r.qty) AS qty
    FROM reservation AS r
    JOIN position AS p ON p.id = r.position_id
    CROSS JOIN LATERAL unnest(r.counted_by) AS n (mark)
    WHERE r.counted_by IS NOT NULL
    GROUP BY 1, 2, 3
)
SELECT format('Control %%s (%%s) has counted %%s of product %%s%%s, but live reservations keep %%s.',
              control_id, coalesce(c.ref, 'removed'), coalesce(u.reserved, 0), product_id,
              CASE WHEN location_id <> 0 THEN ' at location ' || location_id ELSE '' END,
              coalesce(kept.qty, 0))
FROM kept FULL JOIN control_use AS u USING (control_id, product_id, location_id)
LEFT JOIN LATERAL (SELECT min(ref) AS ref FROM control WHERE id = control_id) AS c ON true
WHERE coalesce(u.reserved, 0) <> coalesce(kept.qty, 0) OR u.shipped < 0
ORDER BY control_id, product_id, location_id

-- name: counted_controls
-- How many counts there are. No index: small.
SELECT count(*) FROM control_use
