-- name: watch_turn
-- Who told last of a watch. Index: crossing_watch_pkey.
SELECT turn, told_to FROM crossing_watch WHERE watch = %s AND channel_id = %s

-- name: watch_states
-- What was last told of everything in a watch. Index: crossing_state_pkey.
SELECT block, states FROM crossing_state WHERE watch = %s AND channel_id = %s

-- name: take_turn
-- Takes the next turn of a watch; nothing comes back where another process took it first, whose
-- transaction is waited for. Index: crossing_watch_pkey.
INSERT INTO crossing_watch AS w (watch, channel_id, turn, told_to, told_at)
VALUES (%s, %s, %s::bigint + 1, %s, now())
ON CONFLICT (watch, channel_id) DO UPDATE
SET turn = w.turn + 1, told_to = excluded.told_to, told_at = excluded.told_at
WHERE w.turn + 1 = excluded.turn
RETURNING turn

-- name: put_states
-- Writes blocks of states. Index: crossing_state_pkey.
INSERT INTO crossing_state (watch, channel_id, block, states)
SELECT %s, %s, u.block, u.states FROM unnest(%s::integer[], %s::bytea[]) AS u (block, states)
ON CONFLICT (watch, channel_id, block) DO UPDATE SET states = excluded.states

-- name: skus_of
-- SKU and catalogue of products, new ones too. Index: product_pkey.
SELECT id, ref, catalogue_id FROM product WHERE id = ANY(%s)
