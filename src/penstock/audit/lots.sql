-- name: lots_above_stock
-- Positions of which the lots are more than what is on hand. Indexes: lot_stock_pkey, position_pkey.
SELECT format('Position %%s has %%s on hand, but its lots add up to %%s.',
              s.position_id, coalesce(p.on_hand, 0), s.qty)
FROM (SELECT position_id, sum(qty) AS qty FROM lot_stock GROUP BY position_id) AS s
LEFT JOIN position AS p ON p.id = s.position_id
WHERE p.id IS NULL OR s.qty > greatest(p.on_hand, 0)
ORDER BY s.position_id

-- name: lots_against_their_entries
-- Lots in areas of positions whose entries do not add up to them. Indexes: none, all is read.
SELECT format('Lot %%s in area %%s of position %%s has %%s units, but its entries add up to %%s.',
              lot_id, area_id, position_id, coalesce(s.qty, 0), coalesce(e.qty, 0))
FROM lot_stock AS s
FULL JOIN (SELECT position_id, lot_id, area_id, sum(qty_delta) AS qty
           FROM lot_entry GROUP BY position_id, lot_id, area_id) AS e
     USING (position_id, lot_id, area_id)
WHERE coalesce(s.qty, 0) <> coalesce(e.qty, 0)
ORDER BY position_id, lot_id, area_id

-- name: pegs_above_lots
-- Lots of positions that are pegged to live reservations for more than is there. Indexes:
-- reservation_pkey, lot_stock_pkey.
SELECT format('Lot %%s of position %%s has %%s units, but %%s are pegged.',
              g.lot_id, g.position_id, coalesce(s.qty, 0), g.qty)
FROM (SELECT g.position_id, g.lot_id, sum(least(g.qty, r.qty)) AS qty
      FROM lot_peg AS g JOIN reservation AS r ON r.id = g.reservation_id
      GROUP BY g.position_id, g.lot_id) AS g
LEFT JOIN (SELECT position_id, lot_id, sum(qty) AS qty FROM lot_stock
           GROUP BY position_id, lot_id) AS s USING (position_id, lot_id)
WHERE g.qty > coalesce(s.qty, 0)
ORDER BY g.position_id, g.lot_id

-- name: pegs_astray
-- Live reservations with more pegged than they keep, or pegged at another position. Index:
-- reservation_pkey.
SELECT format('Reservation %%s keeps %%s units of position %%s, but %%s are pegged at %%s.',
              r.id, r.qty, r.position_id, sum(g.qty), string_agg(DISTINCT g.position_id::text, ', '))
FROM lot_peg AS g JOIN reservation AS r ON r.id = g.reservation_id
GROUP BY r.id HAVING sum(g.qty) > r.qty OR bool_or(g.position_id <> r.position_id)
ORDER BY r.id

-- name: blocked_not_kept
-- Positions that keep other than what is blocked of their lots; what lies in a blocked area always
-- is. Indexes: lot_stock_pkey, reservation_blocked.
SELECT format('Position %%s keeps %%s units as blocked, but %%s of its lots are.',
              position_id, coalesce(r.qty, 0), coalesce(s.qty, 0))
FROM (SELECT s.position_id, sum(s.qty) AS qty
      FROM lot_stock AS s LEFT JOIN area AS a ON a.id = s.area_id
      WHERE s.is_blocked OR a.kind IN ('quarantine', 'returns') GROUP BY s.position_id) AS s
FULL JOIN (SELECT position_id, sum(qty) AS qty FROM reservation WHERE kind = 3
           GROUP BY position_id) AS r USING (position_id)
WHERE coalesce(r.qty, 0) <> coalesce(s.qty, 0)
ORDER BY position_id

-- name: lots_kept
-- How many quantities of lots there are, and whether anything says of them. No index.
SELECT (SELECT count(*) FROM lot_stock), EXISTS (SELECT 1 FROM lot_entry)
