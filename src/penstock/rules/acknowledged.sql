-- name: basis_of_source
-- What a source counts. Index: stock_source_pkey.
SELECT basis FROM stock_source WHERE id = %s

-- name: handed_until
-- Until when a source had acknowledged, by location and instant of the count, as one array (0:
-- never): the newest acknowledgement that it had made by then, there or for all its locations.
-- Index: stock_acknowledgement_key.
SELECT array_agg(greatest(
           coalesce((extract(epoch FROM here.until) * 1000000)::bigint, 0),
           coalesce((extract(epoch FROM anywhere.until) * 1000000)::bigint, 0)) ORDER BY u.place)
FROM unnest(%s::int[], %s::bigint[]) WITH ORDINALITY AS u (location_id, counted_us, place)
LEFT JOIN LATERAL (
    SELECT a.handed_until AS until FROM stock_acknowledgement AS a
    WHERE a.source_id = %s AND a.location_id = u.location_id
      AND a.acknowledged_at <= timestamptz 'epoch' + u.counted_us * interval '1 microsecond'
    ORDER BY a.acknowledged_at DESC LIMIT 1
) AS here ON true
LEFT JOIN LATERAL (
    SELECT a.handed_until AS until FROM stock_acknowledgement AS a
    WHERE a.source_id = %s AND a.location_id IS NULL
      AND a.acknowledged_at <= timestamptz 'epoch' + u.counted_us * interval '1 microsecond'
    ORDER BY a.acknowledged_at DESC LIMIT 1
) AS anywhere ON true

-- name: handed_over
-- What is reserved of positions for fulfilments that were handed over, and when, as columns.
-- Indexes: reservation_position, fulfilment_pkey.
SELECT array_agg(r.position_id), array_agg(r.qty),
       array_agg((extract(epoch FROM f.released_at) * 1000000)::bigint)
FROM unnest(%s::int[]) AS u (id)
JOIN reservation AS r ON r.position_id = u.id AND r.kind = %s
JOIN fulfilment AS f ON f.id = r.fulfilment_id AND f.released_at IS NOT NULL

-- name: left_since
-- What left positions (shipped or picked) after an instant, when the last fulfilment of its order
-- there was handed over, and when it left, as columns. Indexes: journal_movements, fulfilment_root.
SELECT array_agg(e.position_id), array_agg(-e.delta),
       array_agg((extract(epoch FROM f.released_at) * 1000000)::bigint),
       array_agg((extract(epoch FROM j.occurred_at) * 1000000)::bigint)
FROM journal AS j
CROSS JOIN LATERAL unnest(j.position_ids, j.location_ids, j.on_hand_deltas, j.cause_kinds,
                          j.cause_ids) AS e (position_id, location_id, delta, cause_kind, cause_id)
JOIN unnest(%s::int[]) AS u (id) ON u.id = e.position_id
CROSS JOIN LATERAL (
    SELECT max(released_at) AS released_at FROM fulfilment
    WHERE root_id = e.cause_id AND origin_id = e.location_id
) AS f
WHERE j.moves_on_hand AND j.occurred_at > %s AND e.delta < 0 AND e.cause_kind IN (6, 11)
  AND f.released_at IS NOT NULL
