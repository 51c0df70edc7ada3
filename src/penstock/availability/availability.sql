-- name: snapshot_head
-- The newest numbered pass of this snapshot, the highest position id, and the heap's size in blocks.
-- Indexes: pass_number, position_pkey.
SELECT coalesce((SELECT max(number) FROM pass), 0),
       (SELECT id FROM pass WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1)::text,
       coalesce((SELECT max(id) FROM position), 0),
       pg_relation_size('position') / current_setting('block_size')::int

-- name: snapshot_page
-- Positions of some heap blocks as columns: read in the order of the heap, so no index.
SELECT array_agg(id), array_agg(product_id), array_agg(location_id), array_agg(pool_id),
       array_agg(on_hand), array_agg(reserved), array_agg(version),
       array_agg(coalesce((date_part('epoch', counted_at) * 1e6)::bigint, 0))
FROM position WHERE ctid >= %s::tid AND ctid < %s::tid

-- name: pulse
-- What a follower asks of an idle account: oldest and newest number, the newest pass, all revisions.
-- Index: pass_number.
SELECT coalesce((SELECT min(number) FROM pass), 0), coalesce(newest.number, 0), newest.id::text,
       (SELECT json_object_agg(name, value) FROM revision)
FROM (SELECT) AS always
LEFT JOIN (SELECT number, id FROM pass WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1)
     AS newest ON true

-- name: pass_at
-- The pass that has a number: the anchor of a cursor. Index: pass_number.
SELECT id::text FROM pass WHERE number = %s

-- name: journal_page
-- The next journal rows after one (pass number, journal id), up to the pass `last`; the limit stands
-- here as a number, so that the planner walks the index. Indexes: pass_number, journal_pass.
SELECT p.number, j.id, j.position_ids, j.product_ids, j.location_ids, j.pool_ids, j.on_hands,
       j.reserveds, j.versions, j.counted_ats
FROM pass p JOIN journal j ON j.pass_id = p.id
WHERE p.number >= %(number)s AND p.number <= %(last)s AND (p.number, j.id) > (%(number)s, %(row)s)
ORDER BY p.number, j.id LIMIT 16

-- name: count_notes_page
-- The next notes of unchanged counts after one (pass number, note id), up to the pass `last`.
-- Indexes: pass_number, count_note_pass.
SELECT p.number, n.id, n.position_ids, n.counted_ats
FROM pass p JOIN count_note n ON n.pass_id = p.id
WHERE p.number >= %(number)s AND p.number <= %(last)s AND (p.number, n.id) > (%(number)s, %(row)s)
ORDER BY p.number, n.id LIMIT 16

-- name: snapshot_count_notes
-- The next notes of unchanged counts, whatever their pass. Index: count_note_pkey.
SELECT id, position_ids, counted_ats FROM count_note WHERE id > %s ORDER BY id LIMIT 16
