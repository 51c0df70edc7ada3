-- name: next_entries
-- How many lines that count come next, and the last of their roots. Index: limit_entry_root.
SELECT count(*) OVER (), root_id
FROM (SELECT root_id FROM limit_entry WHERE root_id > %s::uuid
      ORDER BY root_id FETCH FIRST (%s::int) ROWS WITH TIES) AS page
ORDER BY root_id DESC LIMIT 1

-- name: entries_astray
-- What counts for no line, or for another quantity than is left of it. Indexes: limit_entry_root,
-- order_line_pkey, cart_pkey.
SELECT format('%%s units count under limit %%s for line %%s of %%s, of which %%s are left.', e.qty,
              e.limit_id, e.demand_id, e.root_id,
              coalesce((l.qty - l.qty_cancelled)::text, 'none'))
FROM limit_entry e
LEFT JOIN order_line l ON l.id = e.demand_id AND l.order_id = e.root_id
WHERE e.root_id > %s::uuid AND e.root_id <= %s::uuid
  AND ((e.expires_at IS NULL AND l.qty - l.qty_cancelled IS DISTINCT FROM e.qty)
       OR (e.expires_at IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM cart c WHERE c.id = e.root_id
                           AND c.status IN ('held', 'expired'))))

-- name: limits_exceeded
-- Who has more than a limit that has stood since allows. Index: limit_entry_pkey.
SELECT format('%%s has %%s units under limit %%s (%%s), which allows %%s.', e.identity, sum(e.qty),
              l.id, l.ref, l.qty)
FROM purchase_limit l JOIN limit_entry e ON e.limit_id = l.id
WHERE l.qty IS NOT NULL AND e.counted_at >= l.changed_at
  AND (e.expires_at IS NULL OR e.expires_at > now())
  AND e.counted_at >= greatest(now() - l.period_s * interval '1 second', l.starts_at,
                               l.changed_at)
GROUP BY l.id, e.identity HAVING sum(e.qty) > l.qty

-- name: next_holds
-- How many holds come next, and the last of their carts. Index: reservation_root.
SELECT count(*) OVER (), root_id
FROM (SELECT root_id FROM reservation WHERE root_id > %s::uuid AND kind = 1
      ORDER BY root_id FETCH FIRST (%s::int) ROWS WITH TIES) AS page
ORDER BY root_id DESC LIMIT 1

-- name: holds_astray
-- Holds of a cart that has become an order or was released. Indexes: reservation_root, cart_pkey.
SELECT format('Hold %%s of %%s units is of cart %%s (%%s), which is %%s.', r.id, r.qty, c.id, c.ref,
              c.status)
FROM reservation r JOIN cart c ON c.id = r.root_id
WHERE r.root_id > %s::uuid AND r.root_id <= %s::uuid AND r.kind = 1
  AND (c.status IN ('released', 'ordered') AND r.expires_at > now()
       OR (c.status = 'held' AND r.expires_at <> c.expires_at AND r.expires_at > now()))
