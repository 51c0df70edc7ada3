-- Queries that find breaches return one sentence a breach, for rows after (exclusive) one key up
-- to another (inclusive), so that each runs on a bounded piece in a short snapshot.

-- name: head
-- The last pass number, position and journal row there are. Indexes: pass_number, position_pkey,
-- journal_row.
SELECT coalesce((SELECT max(number) FROM pass), -1), coalesce((SELECT max(id) FROM position), 0),
       coalesce((SELECT max(id) FROM journal), 0)

-- name: unnumbered_passes
-- Passes the sequencer has not numbered yet: few. Index: pass_unnumbered.
SELECT id FROM pass WHERE number IS NULL

-- name: passes_numbered
-- Passes by number, after one up to another. Index: pass_number.
SELECT id, number FROM pass WHERE number > %s AND number <= %s

-- name: journal_page
-- The next journal rows by id (all of an id that is there twice), with what is known of their
-- pass. Indexes: journal_row, pass_pkey.
SELECT j.pass_id, p.id IS NOT NULL, p.number, j.id, j.position_ids, j.cause_kinds,
       j.on_hand_deltas, j.reserved_deltas, j.on_hands, j.reserveds, j.versions, j.previous_ids
FROM (SELECT * FROM journal WHERE id > %s ORDER BY id FETCH FIRST (%s::int) ROWS WITH TIES) AS j
LEFT JOIN pass p ON p.id = j.pass_id
ORDER BY j.id

-- name: journal_of_passes
-- The journal rows of passes. Index: journal_pass.
SELECT pass_id, id, position_ids, cause_kinds, on_hand_deltas, reserved_deltas, on_hands,
       reserveds, versions, previous_ids
FROM journal WHERE pass_id = ANY(%s::uuid[])

-- name: journal_page_end
-- The last of the next journal rows by id. Index: journal_row.
SELECT max(id) FROM (SELECT id FROM journal WHERE id > %s ORDER BY id LIMIT %s) AS page

-- name: journal_of_positions
-- The entries of a few positions in a range of journal rows, to explain them. Index: journal_row.
SELECT j.id, e.*
FROM journal j, unnest(j.position_ids, j.cause_kinds, j.on_hand_deltas, j.reserved_deltas,
                       j.on_hands, j.reserveds, j.versions, j.previous_ids) AS e (position_id)
WHERE j.id > %s AND j.id <= %s AND e.position_id = ANY(%s::int[])

-- name: floors
-- Where the kept journals of the next positions begin, as columns. Index: position_baseline_pkey.
SELECT array_agg(position_id), array_agg(version), array_agg(on_hand), array_agg(reserved),
       array_agg(journal_id), array_agg(lack_cause)
FROM (SELECT * FROM position_baseline WHERE kind = 1 AND position_id > %s
      ORDER BY position_id LIMIT %s) AS b

-- name: journal_from
-- Since when the journal is kept. One row.
SELECT journal_from FROM audit_checkpoint

-- name: positions
-- Positions from one id to another, as columns. Index: position_pkey.
SELECT array_agg(id), array_agg(product_id), array_agg(location_id), array_agg(pool_id),
       array_agg(on_hand), array_agg(reserved), array_agg(version), array_agg(journal_id)
FROM (SELECT * FROM position WHERE id BETWEEN %s AND %s ORDER BY id) AS p

-- name: reserved_by_position
-- What live reservations keep, by position. Index: reservation_position.
SELECT array_agg(position_id), array_agg(qty)
FROM (SELECT position_id, sum(qty)::bigint AS qty
      FROM reservation WHERE position_id BETWEEN %s AND %s GROUP BY position_id) AS r

-- name: products
-- Which of the products exist. Index: product_pkey.
SELECT coalesce(array_agg(id), '{}') FROM product WHERE id = ANY(%s::int[])

-- name: locations
-- Which of the locations exist. Index: location_pkey.
SELECT coalesce(array_agg(id), '{}') FROM location WHERE id = ANY(%s::int[])

-- name: pools
-- Which of the pools exist. Index: pool_pkey.
SELECT coalesce(array_agg(id::int), '{}') FROM pool WHERE id = ANY(%s::int[])

-- name: next_orders
-- How many orders come next, and the last of them. Index: orders_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM orders WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: lines_that_do_not_add_up
-- Order lines whose quantities do not make the quantity ordered. Index: order_line_order.
SELECT format('Line %%s of order %%s has a quantity of %%s, but %%s allocated, %%s unsourced, '
              '%%s shipped and %%s cancelled.', id, order_id, qty, qty_allocated, qty_unsourced,
              qty_shipped, qty_cancelled)
FROM order_line
WHERE order_id > %s::uuid AND order_id <= %s::uuid
  AND (qty <> qty_allocated + qty_unsourced + qty_shipped + qty_cancelled
       OR least(qty_allocated, qty_unsourced, qty_shipped, qty_cancelled) < 0)

-- name: lines_without_their_reservations
-- Stocked lines, not pinned, no kits (their components have lines), that have another quantity allocated than is reserved for them. Looked
-- up line by line, here and below: no statistics, no plan to go wrong.
-- Indexes: order_line_order, reservation_root.
SELECT format('Line %%s of order %%s (%%s) has %%s allocated, but its live reservations keep '
              '%%s.', l.id, l.order_id, l.sku, l.qty_allocated, r.qty)
FROM order_line l
CROSS JOIN LATERAL (SELECT coalesce(sum(qty), 0) AS qty FROM reservation
                    WHERE root_id = l.order_id AND demand_id = l.id AND kind = 2) AS r
WHERE l.order_id > %s::uuid AND l.order_id <= %s::uuid
  AND l.is_stocked AND l.pinned_location_id IS NULL AND l.qty_allocated <> r.qty
  AND l.per_kit IS DISTINCT FROM 0

-- name: lines_without_their_fulfilments
-- Stocked lines that live fulfilments (the customer's leg) work for in another quantity than is
-- allocated or shipped; a pinned line may have come with less, as it was fulfilled elsewhere.
-- Indexes: order_line_order, fulfilment_root, fulfilment_line_pkey.
SELECT format('Line %%s of order %%s (%%s) has %%s allocated and %%s shipped, but its live '
              'fulfilments have %%s.', l.id, l.order_id, l.sku, l.qty_allocated, l.qty_shipped,
              w.qty)
FROM order_line l
CROSS JOIN LATERAL (SELECT coalesce(sum(fl.qty), 0) AS qty
                    FROM fulfilment f
                    JOIN fulfilment_line fl ON fl.fulfilment_id = f.id AND fl.line_id = l.id
                    WHERE f.root_id = l.order_id AND f.next_leg_id IS NULL
                      AND f.status NOT IN ('cancelled', 'rejected')) AS w
WHERE l.order_id > %s::uuid AND l.order_id <= %s::uuid AND l.is_stocked
  AND l.per_kit IS DISTINCT FROM 0
  AND (w.qty > l.qty_allocated + l.qty_shipped
       OR (w.qty < l.qty_allocated + l.qty_shipped AND l.pinned_location_id IS NULL))

-- name: kits_that_do_not_add_up
-- Kits whose components are too many or few, or that count as sourced, shipped or cancelled what
-- their components do not bear out. Index: order_line_order.
SELECT format('Kit %%s of order %%s (%%s) has a quantity of %%s with %%s unsourced, %%s shipped and '
              '%%s cancelled, which its components do not bear out.', k.id, k.order_id, k.sku,
              k.qty, k.qty_unsourced, k.qty_shipped, k.qty_cancelled)
FROM order_line k
CROSS JOIN LATERAL (SELECT count(*) AS parts, bool_and(c.qty = k.qty * c.per_kit) AS is_right,
                           min(c.qty_shipped / c.per_kit) AS shipped,
                           min(c.qty_cancelled / c.per_kit) AS cancelled,
                           min((c.qty_allocated + c.qty_shipped) / c.per_kit) AS there
                    FROM order_line c
                    WHERE c.order_id = k.order_id AND c.parent_line_id = k.id AND c.per_kit > 0) AS c
WHERE k.order_id > %s::uuid AND k.order_id <= %s::uuid AND k.per_kit = 0
  AND (c.parts = 0 OR NOT c.is_right
       OR (k.qty_shipped, k.qty_cancelled, k.qty_shipped + k.qty_allocated)
          <> (c.shipped, c.cancelled, c.there))

-- name: kits_torn_apart
-- Kits that have to ship whole, of which a live fulfilment has parts that make no whole kits.
-- Indexes: order_line_order, fulfilment_root, fulfilment_line_pkey.
SELECT format('Kit %%s of order %%s (%%s) has to ship whole, but fulfilment %%s has parts of it that '
              'make no whole kits.', k.id, k.order_id, k.sku, f.id)
FROM order_line k
JOIN fulfilment f ON f.root_id = k.order_id AND f.next_leg_id IS NULL
     AND f.status NOT IN ('cancelled', 'rejected')
CROSS JOIN LATERAL (SELECT min(coalesce(fl.qty, 0) / c.per_kit) AS least,
                           max(coalesce(fl.qty, 0)::numeric / c.per_kit) AS most
                    FROM order_line c
                    LEFT JOIN fulfilment_line fl
                         ON fl.fulfilment_id = f.id AND fl.line_id = c.id
                    WHERE c.order_id = k.order_id AND c.parent_line_id = k.id AND c.per_kit > 0) AS p
WHERE k.order_id > %s::uuid AND k.order_id <= %s::uuid AND k.per_kit = 0 AND NOT k.may_ship_apart
  AND p.least <> p.most

-- name: orders_that_wait_for_nothing
-- Orders in an open status (by their workflow's document; else by the status's name) that nothing
-- will ever move. A status of category waiting waits for a person or the outside by declaration,
-- a pinned line that came reserved for whoever reserved it.
-- Indexes: orders_pkey, inbox_root, order_hold_order, order_line_order, fulfilment_root.
WITH category AS (
    SELECT w.id AS workflow_id, s ->> 'name' AS status, s ->> 'category' AS category
    FROM workflow w, jsonb_array_elements(
        CASE jsonb_typeof(w.document -> 'statuses')
            WHEN 'array' THEN w.document -> 'statuses' ELSE '[]' END) AS s
)
SELECT format('Order %%s (%%s) is %%s, but no event, timer, job, hold, dead letter, unsourced line '
              'or live fulfilment will ever move it.', o.id, o.ref, o.status)
FROM orders o
LEFT JOIN category c ON c.workflow_id = o.workflow_id AND c.status = o.status
WHERE o.id > %s::uuid AND o.id <= %s::uuid
  AND CASE WHEN c.category IS NULL THEN o.status NOT IN ('cancelled', 'completed', 'shipped')
           ELSE c.category = 'open' END
  AND NOT EXISTS (SELECT 1 FROM order_line l WHERE l.order_id = o.id
                  AND (l.qty_unsourced > 0
                       OR (l.qty_allocated > 0 AND l.pinned_location_id IS NOT NULL)))
  AND NOT EXISTS (SELECT 1 FROM fulfilment f WHERE f.root_id = o.id
                  AND f.status NOT IN ('cancelled', 'rejected'))
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.root_id = o.id)
  AND NOT EXISTS (SELECT 1 FROM order_hold h WHERE h.order_id = o.id AND h.cleared_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.root_id = o.id AND j.status = 'due')
  AND o.id NOT IN (SELECT root_id FROM dead_letter WHERE resolved_at IS NULL)
  AND o.id NOT IN (SELECT root_id FROM unhandled_event WHERE resolved_at IS NULL)

-- name: next_entities
-- How many entities come next, and the last of them. Index: entity_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM entity WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: entities_that_wait_for_nothing
-- Entities in a status of category open that nothing will ever move.
-- Indexes: entity_pkey, inbox_root, job_root.
WITH category AS (
    SELECT w.id AS workflow_id, s ->> 'name' AS status, s ->> 'category' AS category
    FROM workflow w, jsonb_array_elements(
        CASE jsonb_typeof(w.document -> 'statuses')
            WHEN 'array' THEN w.document -> 'statuses' ELSE '[]' END) AS s
)
SELECT format('%%s %%s (%%s) is %%s, but no event, timer, job or dead letter will ever move it.',
              initcap(e.kind), e.id, e.ref, e.status)
FROM entity e
JOIN category c ON c.workflow_id = e.workflow_id AND c.status = e.status
WHERE e.id > %s::uuid AND e.id <= %s::uuid AND c.category = 'open'
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.root_id = e.id)
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.root_id = e.id AND j.status = 'due')
  AND e.id NOT IN (SELECT root_id FROM dead_letter WHERE resolved_at IS NULL)
  AND e.id NOT IN (SELECT root_id FROM unhandled_event WHERE resolved_at IS NULL)

-- name: entities_with_events_out_of_order
-- Entities whose events are not numbered 1, 2, … up to their own seq. Index: event_root.
SELECT format('%%s %%s (%%s) is at event %%s, but has %%s, numbered %%s to %%s.', initcap(e.kind),
              e.id, e.ref, e.seq, v.total, v.first, v.last)
FROM entity e
CROSS JOIN LATERAL (SELECT count(*) AS total, count(DISTINCT seq) AS different,
                           coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last
                    FROM event WHERE root_id = e.id) AS v
WHERE e.id > %s::uuid AND e.id <= %s::uuid
  AND NOT (v.total = e.seq AND v.different = e.seq AND v.first = 1 AND v.last = e.seq)

-- name: entities_astray
-- Entities of no workflow, or in a status that theirs does not declare. Primary keys.
SELECT format('%%s %%s (%%s) is %%s, which workflow version %%s does not declare.',
              initcap(e.kind), e.id, e.ref, e.status, e.workflow_id)
FROM entity e LEFT JOIN workflow w ON w.id = e.workflow_id
WHERE e.id > %s::uuid AND e.id <= %s::uuid
  AND (w.id IS NULL OR NOT w.document -> 'statuses' @> jsonb_build_array(
           jsonb_build_object('name', e.status)))

-- name: orders_with_events_out_of_order
-- Orders whose events are not numbered 1, 2, … up to their own seq. Index: event_root.
SELECT format('Order %%s (%%s) is at event %%s, but has %%s events%%s%%s.', o.id, o.ref, o.seq,
              e.total,
              (SELECT '; missing: ' || string_agg(n::text, ', ' ORDER BY n)
               FROM (SELECT n FROM generate_series(1, o.seq) AS n
                     WHERE NOT EXISTS (SELECT 1 FROM event x WHERE x.root_id = o.id AND x.seq = n)
                     LIMIT 5) AS missing),
              (SELECT '; more than once or beyond: ' || string_agg(seq::text, ', ' ORDER BY seq)
               FROM (SELECT x.seq FROM event x WHERE x.root_id = o.id GROUP BY x.seq
                     HAVING count(*) > 1 OR x.seq > o.seq OR x.seq < 1 LIMIT 5) AS odd))
FROM orders o
CROSS JOIN LATERAL (SELECT count(*) AS total, count(DISTINCT seq) AS different,
                           coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last
                    FROM event WHERE root_id = o.id) AS e
WHERE o.id > %s::uuid AND o.id <= %s::uuid
  AND NOT (e.total = o.seq AND e.different = o.seq AND e.first = 1 AND e.last = o.seq)

-- name: orders_without_their_ref
-- Orders whose ref is not claimed for them. Indexes: orders_pkey, order_ref_unique.
SELECT format('Order %%s has the ref %%s in channel %%s, which %%s.', o.id, o.ref, o.channel_id,
              coalesce('belongs to order ' || r.order_id, 'nobody has claimed'))
FROM orders o
LEFT JOIN order_ref r ON r.channel_id = o.channel_id AND r.ref = o.ref
WHERE o.id > %s::uuid AND o.id <= %s::uuid AND r.order_id IS DISTINCT FROM o.id

-- name: next_order_refs
-- How many claims on refs come next, and the last of them. Index: order_ref_unique.
SELECT count(*) OVER (), channel_id, ref
FROM (SELECT channel_id, ref FROM order_ref
      WHERE (channel_id, ref) > (%s::int, %s::text) ORDER BY channel_id, ref LIMIT %s) AS page
ORDER BY channel_id DESC, ref DESC LIMIT 1

-- name: refs_without_their_order
-- Claims on refs whose order is not there. Indexes: order_ref_unique, orders_pkey.
SELECT format('The ref %%s in channel %%s is claimed for order %%s, which does not exist.',
              r.ref, r.channel_id, r.order_id)
FROM order_ref r
WHERE (r.channel_id, r.ref) > (%s::int, %s::text) AND (r.channel_id, r.ref) <= (%s::int, %s::text)
  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = r.order_id)

-- name: next_lines
-- How many order lines come next, and the last of them. Index: order_line_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM order_line WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: lines_astray
-- Lines of no order or choice, or of a product that does not exist. Primary keys.
SELECT format('Order line %%s names%%s%%s%%s, which does not exist.', l.id,
              CASE WHEN o.id IS NULL THEN ' order ' || l.order_id END,
              CASE WHEN c.id IS NULL THEN ' choice ' || l.choice_id END,
              CASE WHEN p.id IS NULL THEN ' product ' || l.product_id END)
FROM order_line l
LEFT JOIN orders o ON o.id = l.order_id
LEFT JOIN choice c ON c.id = l.choice_id
LEFT JOIN product p ON p.id = l.product_id
WHERE l.id > %s::uuid AND l.id <= %s::uuid AND (o.id IS NULL OR c.id IS NULL OR p.id IS NULL)

-- name: next_choices
-- How many choices come next, and the last of them. Index: choice_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM choice WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: choices_astray
-- Choices of no order, or to be picked up where no location is. Primary keys.
SELECT format('Choice %%s names%%s%%s, which does not exist.', c.id,
              CASE WHEN o.id IS NULL THEN ' order ' || c.order_id END,
              CASE WHEN p.id IS NULL
                   THEN ' pick-up location ' || c.pickup_location_id END)
FROM choice c
LEFT JOIN orders o ON o.id = c.order_id
LEFT JOIN location p ON p.id = c.pickup_location_id
WHERE c.id > %s::uuid AND c.id <= %s::uuid
  AND (o.id IS NULL OR (c.pickup_location_id IS NOT NULL AND p.id IS NULL))

-- name: next_reservations
-- How many reservations come next, and the last of them. Index: reservation_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM reservation WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: reservations_astray
-- Reservations of no position, and allocations for no line, order or fulfilment. Primary keys.
SELECT format('Reservation %%s of %%s units names%%s%%s%%s, which does not exist.', r.id, r.qty,
              CASE WHEN p.id IS NULL THEN ' position ' || r.position_id END,
              CASE WHEN r.kind = 2 AND l.id IS NULL
                   THEN format(' line %%s of order %%s', r.demand_id, r.root_id) END,
              CASE WHEN r.fulfilment_id IS NOT NULL AND f.id IS NULL
                   THEN ' fulfilment ' || r.fulfilment_id END)
FROM reservation r
LEFT JOIN position p ON p.id = r.position_id
LEFT JOIN order_line l ON l.id = r.demand_id AND l.order_id = r.root_id
LEFT JOIN fulfilment f ON f.id = r.fulfilment_id
WHERE r.id > %s::uuid AND r.id <= %s::uuid
  AND (p.id IS NULL OR (r.kind = 2 AND l.id IS NULL)
       OR (r.fulfilment_id IS NOT NULL AND f.id IS NULL))

-- name: next_fulfilments
-- How many fulfilments come next, and the last of them. Index: fulfilment_pkey.
SELECT count(*) OVER (), id
FROM (SELECT id FROM fulfilment WHERE id > %s::uuid ORDER BY id LIMIT %s) AS page
ORDER BY id DESC LIMIT 1

-- name: fulfilments_astray
-- Fulfilments of no order, or from or to a location that does not exist. Primary keys.
SELECT format('Fulfilment %%s names%%s%%s%%s, which does not exist.', f.id,
              CASE WHEN f.demand_kind = 'order' AND o.id IS NULL THEN ' order ' || f.root_id END,
              CASE WHEN a.id IS NULL THEN ' origin ' || f.origin_id END,
              CASE WHEN f.destination_id IS NOT NULL AND b.id IS NULL
                   THEN ' destination ' || f.destination_id END)
FROM fulfilment f
LEFT JOIN orders o ON o.id = f.root_id
LEFT JOIN location a ON a.id = f.origin_id
LEFT JOIN location b ON b.id = f.destination_id
WHERE f.id > %s::uuid AND f.id <= %s::uuid
  AND ((f.demand_kind = 'order' AND o.id IS NULL) OR a.id IS NULL
       OR (f.destination_id IS NOT NULL AND b.id IS NULL))

-- name: next_fulfilment_lines
-- How many fulfilment lines come next, and the last of them. Index: fulfilment_line_pkey.
SELECT count(*) OVER (), fulfilment_id, line_id
FROM (SELECT fulfilment_id, line_id FROM fulfilment_line
      WHERE (fulfilment_id, line_id) > (%s::uuid, %s::uuid)
      ORDER BY fulfilment_id, line_id LIMIT %s) AS page
ORDER BY fulfilment_id DESC, line_id DESC LIMIT 1

-- name: fulfilment_lines_astray
-- Fulfilment lines of no fulfilment or order line, or of a product that does not exist.
-- Index: fulfilment_line_pkey, and primary keys.
SELECT format('A fulfilment line over %%s units names%%s%%s%%s, which does not exist.', fl.qty,
              CASE WHEN f.id IS NULL THEN ' fulfilment ' || fl.fulfilment_id END,
              CASE WHEN f.demand_kind = 'order' AND l.id IS NULL
                   THEN format(' line %%s of order %%s', fl.line_id, fl.root_id) END,
              CASE WHEN p.id IS NULL THEN ' product ' || fl.product_id END)
FROM fulfilment_line fl
LEFT JOIN fulfilment f ON f.id = fl.fulfilment_id
LEFT JOIN order_line l ON l.id = fl.line_id
LEFT JOIN product p ON p.id = fl.product_id
WHERE (fl.fulfilment_id, fl.line_id) > (%s::uuid, %s::uuid)
  AND (fl.fulfilment_id, fl.line_id) <= (%s::uuid, %s::uuid)
  AND (f.id IS NULL OR p.id IS NULL OR (f.demand_kind = 'order' AND l.id IS NULL))

-- name: next_events
-- How many events come next, and the last of them. Index: event_root.
SELECT count(*) OVER (), root_id, seq
FROM (SELECT root_id, seq FROM event WHERE (root_id, seq) > (%s::uuid, %s::int)
      ORDER BY root_id, seq FETCH FIRST (%s::int) ROWS WITH TIES) AS page
ORDER BY root_id DESC, seq DESC LIMIT 1

-- name: events_of_no_pass
-- Events whose pass is not there. Indexes: event_root, pass_pkey.
SELECT format('Event %%s of %%s %%s says it was written by pass %%s, which does not exist.',
              e.seq, e.root_kind, e.root_id, e.pass_id)
FROM event e
WHERE (e.root_id, e.seq) > (%s::uuid, %s::int) AND (e.root_id, e.seq) <= (%s::uuid, %s::int)
  AND NOT EXISTS (SELECT 1 FROM pass p WHERE p.id = e.pass_id)

-- name: events_of_no_order
-- Events of orders that are not there. Indexes: event_root, orders_pkey.
SELECT format('Event %%s of order %%s belongs to no order.', e.seq, e.root_id)
FROM event e
WHERE (e.root_id, e.seq) > (%s::uuid, %s::int) AND (e.root_id, e.seq) <= (%s::uuid, %s::int)
  AND e.root_kind = 'order' AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = e.root_id)

-- name: next_passes
-- How many numbered passes come next, and the last number. Index: pass_number.
SELECT count(*) OVER (), number
FROM (SELECT number FROM pass WHERE number > %s ORDER BY number LIMIT %s) AS page
ORDER BY number DESC LIMIT 1

-- name: gaps_between_passes
-- Numbers that do not follow the one before; the first is 1. Index: pass_number.
SELECT format('After pass number %%s comes %%s (pass %%s).', before, number, id)
FROM (SELECT id, number, lag(number, 1, %(after)s::bigint) OVER (ORDER BY number) AS before
      FROM pass WHERE number > %(after)s::bigint AND number <= %(last)s::bigint) AS p
WHERE number > before + 1

-- name: old_unnumbered_passes
-- Passes that should have had a number long since. Index: pass_unnumbered.
SELECT format('Pass %%s (%%s), begun at %%s, has no number.', id, kind,
              to_char(started_at, 'YYYY-MM-DD HH24:MI:SS'))
FROM pass WHERE number IS NULL AND started_at < now() - %s * interval '1 second'
ORDER BY started_at

-- name: capacity_that_does_not_count
-- Capacities used, against the live fulfilments counted on them: one reading of both. No index
-- leads from a day to its fulfilments; four seconds are enough for some ten million.
SELECT format('Location %%s, %%s on %%s: %%s used, but %%s live fulfilments are counted on it.',
              location_id, service, day, coalesce(c.used, 0), coalesce(f.used, 0))
FROM (SELECT location_id, service, day, used FROM capacity WHERE measure = 'orders') AS c
FULL JOIN (SELECT origin_id AS location_id, service, capacity_day AS day, count(*) AS used
           FROM fulfilment
           WHERE capacity_day IS NOT NULL AND status NOT IN ('cancelled', 'rejected')
           GROUP BY origin_id, service, capacity_day) AS f USING (location_id, service, day)
WHERE coalesce(c.used, 0) <> coalesce(f.used, 0)
ORDER BY location_id, service, day

-- name: figures
-- How many capacities are counted, and how many dead letters wait. Small tables.
SELECT (SELECT count(*) FROM capacity WHERE measure = 'orders'),
       (SELECT count(*) FROM dead_letter WHERE resolved_at IS NULL)
