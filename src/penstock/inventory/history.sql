-- Reading the journal position by position. A position names its last journal row, each entry the
-- row before: so the past is walked back, row by row, and no index of the journal by position is
-- needed. `journal_mark` has every 256th entry, where a walk to a past instant may begin.

-- name: note_cause
-- Keeps what a cause id stands for. Index: stock_cause_pkey.
INSERT INTO stock_cause (id, kind, source, reference) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO NOTHING

-- name: positions_of_skus
-- Positions of SKUs, at some locations or all, as they are. Indexes: product_ref_unique,
-- position_unique (product first), location_pkey, pool_pkey.
SELECT p.id, o.ref, l.ref, q.ref, p.on_hand, p.reserved, p.version, p.counted_at
FROM product_catalogue k
JOIN product o ON o.catalogue_id = k.id AND o.ref = ANY(%(skus)s::text[])
JOIN position p ON p.product_id = o.id
JOIN location l ON l.id = p.location_id
JOIN pool q ON q.id = p.pool_id
WHERE (%(catalogue)s::text IS NULL OR k.ref = %(catalogue)s::text)
  AND (%(locations)s::text[] IS NULL OR l.ref = ANY(%(locations)s::text[]))
  AND (%(pool)s::text IS NULL OR q.ref = %(pool)s::text)
ORDER BY o.ref, l.ref, q.ref, p.id
LIMIT %(most)s

-- name: refs_not_there
-- Which of the SKUs and locations asked for do not exist. Indexes: product_ref_unique,
-- location_ref_unique.
SELECT 'sku', u.ref FROM unnest(%(skus)s::text[]) AS u (ref)
WHERE NOT EXISTS (SELECT FROM product_catalogue k
                  JOIN product o ON o.catalogue_id = k.id AND o.ref = u.ref
                  WHERE %(catalogue)s::text IS NULL OR k.ref = %(catalogue)s::text)
UNION ALL
SELECT 'location', u.ref FROM unnest(%(locations)s::text[]) AS u (ref)
WHERE NOT EXISTS (SELECT FROM location l WHERE l.ref = u.ref)

-- name: stock_as_of
-- What positions were at an instant: from each position's last row, or the first mark after the
-- instant, back until a row that was there by then. A mark is trusted if it is a minute later: no
-- transaction of ours lasts as long. Nothing is returned of the way but its end: `next_id` 0 is
-- the beginning of the position, another one a row that is not there.
-- Indexes: position_pkey, journal_mark_pkey, journal_row, position_baseline_pkey.
WITH RECURSIVE walk AS (
    SELECT p.id AS position_id, coalesce(m.journal_id, p.journal_id) AS next_id, 0 AS step,
           false AS is_found, NULL::int AS on_hand, NULL::int AS reserved, NULL::int AS version,
           NULL::timestamptz AS recorded_at
    FROM position p
    LEFT JOIN LATERAL (SELECT journal_id FROM journal_mark
                       WHERE position_id = p.id
                         AND recorded_at > %(at)s::timestamptz + interval '1 minute'
                       ORDER BY version LIMIT 1) AS m ON true
    WHERE p.id = ANY(%(ids)s::int[])
    UNION ALL
    SELECT w.position_id, e.previous_id, w.step + 1, e.recorded_at <= %(at)s::timestamptz,
           e.on_hand, e.reserved, e.version, e.recorded_at
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT j.recorded_at, j.previous_ids[s.places[1]] AS previous_id,
               j.on_hands[s.last] AS on_hand, j.reserveds[s.last] AS reserved,
               j.versions[s.last] AS version
        FROM journal j
        CROSS JOIN LATERAL (SELECT places, places[cardinality(places)] AS last
                            FROM array_positions(j.position_ids, w.position_id) AS p (places)) AS s
        WHERE j.id = w.next_id AND s.last IS NOT NULL
        LIMIT 1) AS e
    WHERE NOT w.is_found AND w.next_id > 0 AND w.step < %(most)s
)
SELECT e.position_id, e.is_found, e.next_id, e.step, e.on_hand, e.reserved, e.version,
       e.recorded_at, b.journal_id, b.on_hand, b.reserved, b.version
FROM (SELECT DISTINCT ON (position_id) * FROM walk ORDER BY position_id, step DESC) AS e
LEFT JOIN position_baseline b ON b.kind = 1 AND b.position_id = e.position_id

-- name: journal_from
-- Since when the journal is kept; null: since ever. One row.
SELECT journal_from FROM audit_checkpoint

-- name: last_row_of_position
-- A position's last journal row, and where its kept journal begins. Indexes: position_pkey,
-- position_baseline_pkey.
SELECT p.journal_id, b.version
FROM position p LEFT JOIN position_baseline b ON b.kind = 1 AND b.position_id = p.id
WHERE p.id = %s

-- name: history_page
-- Entries of a position, newest first, from a journal row back, each with what its cause stands
-- for. Every step is a journal row with at least one entry. Indexes: journal_row, orders_pkey,
-- channel_pkey, stock_cause_pkey, adjustment_note_pass.
WITH RECURSIVE walk AS (
    SELECT %(journal_id)s::bigint AS next_id, 0 AS step, NULL::bigint AS id, NULL::int[] AS places
    UNION ALL
    SELECT e.previous_id, w.step + 1, e.id, e.places
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT j.id, s.places, j.previous_ids[s.places[1]] AS previous_id
        FROM journal j
        CROSS JOIN LATERAL array_positions(j.position_ids, %(position_id)s::int) AS s (places)
        WHERE j.id = w.next_id AND cardinality(s.places) > 0
        LIMIT 1) AS e
    WHERE w.next_id > 0 AND w.step <= %(most)s
), entry AS (
    SELECT w.id AS journal_id, j.*
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT r.pass_id, r.recorded_at, r.cause_kinds[n.n] AS cause_kind,
               r.cause_ids[n.n] AS cause_id, r.on_hand_deltas[n.n] AS on_hand_delta,
               r.reserved_deltas[n.n] AS reserved_delta, r.on_hands[n.n] AS on_hand,
               r.reserveds[n.n] AS reserved, r.versions[n.n] AS version,
               coalesce(timestamptz 'epoch' + r.occurred_us[n.n] * interval '1 microsecond',
                        r.occurred_at) AS occurred_at,
               r.occurred_us[n.n] AS occurred_us, nullif(r.counted_ats[n.n], 0) AS counted_us,
               r.product_ids[n.n] AS product_id, r.location_ids[n.n] AS location_id,
               r.pool_ids[n.n] AS pool_id
        FROM (SELECT * FROM journal WHERE id = w.id LIMIT 1) AS r
        CROSS JOIN unnest(w.places) AS n (n)) AS j
    WHERE j.version < %(below)s
    ORDER BY j.version DESC
    LIMIT %(most)s
)
SELECT e.version, e.journal_id, e.pass_id, e.recorded_at, e.occurred_at, e.cause_kind, e.cause_id,
       e.on_hand_delta, e.reserved_delta, e.on_hand, e.reserved,
       CASE WHEN e.cause_kind = 1
            THEN timestamptz 'epoch' + e.counted_us * interval '1 microsecond' END,
       o.ref, c.ref, s.kind, s.source, s.reference, a.reason
FROM entry e
LEFT JOIN orders o ON o.id = e.cause_id
LEFT JOIN channel c ON c.id = o.channel_id
LEFT JOIN stock_cause s ON s.id = e.cause_id
LEFT JOIN LATERAL (SELECT string_agg(DISTINCT n.reason, '; ') AS reason FROM adjustment_note n
                   WHERE e.cause_kind = 2 AND n.pass_id = e.pass_id AND n.pool_id = e.pool_id
                     AND (n.product_id, n.location_id) = (e.product_id, e.location_id)
                     AND n.occurred_us = e.occurred_us) AS a ON true
ORDER BY e.version DESC
