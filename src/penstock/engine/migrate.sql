-- name: usage
-- How many entities are pinned to which version of a workflow (null: of all), by status.
SELECT w.name, w.version, w.entity, u.status, sum(u.total)::bigint FROM workflow w
JOIN (
    SELECT workflow_id, status, count(*) AS total FROM orders GROUP BY 1, 2
    UNION ALL
    SELECT workflow_id, status, count(*) FROM fulfilment GROUP BY 1, 2
    UNION ALL
    SELECT workflow_id, state, count(*) FROM choice GROUP BY 1, 2
    UNION ALL
    SELECT workflow_id, status, count(*) FROM entity GROUP BY 1, 2
) AS u ON u.workflow_id = w.id
WHERE w.name = %s OR %s::text IS NULL
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 4

-- name: orders_to_migrate
-- Orders of a version in given statuses, after one. Index: orders_pkey.
SELECT id FROM orders
WHERE id > %s::uuid AND workflow_id = %s AND status = ANY(%s::text[]) ORDER BY id LIMIT %s

-- name: orders_of_fulfilments_to_migrate
-- Orders with fulfilments of a version in given statuses, after one. Index: fulfilment_root.
SELECT DISTINCT root_id FROM fulfilment
WHERE root_id > %s::uuid AND workflow_id = %s AND status = ANY(%s::text[]) ORDER BY root_id LIMIT %s

-- name: orders_of_choices_to_migrate
-- Orders with choices of a version in given statuses, after one. Index: choice_order.
SELECT DISTINCT order_id FROM choice
WHERE order_id > %s::uuid AND workflow_id = %s AND state = ANY(%s::text[]) ORDER BY order_id LIMIT %s

-- name: entities_to_migrate
-- Entities of a version in given statuses, after one. Index: entity_pkey.
SELECT id FROM entity
WHERE id > %s::uuid AND workflow_id = %s AND status = ANY(%s::text[]) ORDER BY id LIMIT %s
