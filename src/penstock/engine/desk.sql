-- name: documents_of_workflows
-- What versions hold, for traces that name them by id. Index: workflow_pkey.
SELECT id, document FROM workflow WHERE id = ANY(%s)

-- name: documents_of_runs
-- What was run once for a root. Index: workflow_run_root.
SELECT id::text, document FROM workflow_run WHERE root_id = %s

-- name: write_run
-- Keeps a document that was run once.
INSERT INTO workflow_run (id, root_id, entity, entity_id, event, document, by, reason, run_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)

-- name: traces_of_root
-- What ran for a root, oldest first. Index: trace_root.
SELECT recorded_at, pass_id, detail FROM trace WHERE root_id = %s ORDER BY recorded_at, pass_id

-- name: dead_letters_of_root
-- Events of a root that failed for good. Small table.
SELECT died_at, id, entity, entity_id, name, error, resolved_at, resolution
FROM dead_letter WHERE root_id = %s

-- name: unhandled_of_root
-- Events of a root that no ruleset named. Small table.
SELECT met_at, id, entity, entity_id, name, status, resolved_at, resolution
FROM unhandled_event WHERE root_id = %s

-- name: interventions_of_root
-- What people did past the workflow. Index: intervention_root.
SELECT done_at, action, by, reason, subject FROM intervention WHERE root_id = %s

-- name: notes_of_root
-- Index: note_root.
SELECT noted_at, entity, entity_id, by, text FROM note WHERE root_id = %s

-- name: jobs_of_root
-- Outside effects of a root. Index: job_root.
SELECT created_at, id, kind, status, attempts, last_error, due_at FROM job WHERE root_id = %s

-- name: waiting_of_root
-- Events of a root that wait. Index: inbox_root.
SELECT due_at, id, entity, entity_id, name, timer FROM inbox WHERE root_id = %s

-- name: stuck_dead_letters
-- Events that failed for good and that nobody has resolved, oldest first. Index: dead_letter_open.
SELECT d.id, d.root_kind, d.root_id, d.entity, d.entity_id, d.name, d.died_at, d.error
FROM dead_letter d WHERE d.resolved_at IS NULL ORDER BY d.died_at LIMIT %s

-- name: stuck_unhandled
-- Events that no ruleset named and that nobody has looked at. Index: unhandled_event_open.
SELECT u.id, u.root_kind, u.root_id, u.entity, u.entity_id, u.name, u.met_at, u.status
FROM unhandled_event u WHERE u.resolved_at IS NULL ORDER BY u.met_at LIMIT %s

-- name: stuck_inbox
-- Events that were due long ago: no worker takes them. Index: inbox_due.
SELECT id, root_kind, root_id, entity, entity_id, name, due_at, timer
FROM inbox WHERE due_at < %s ORDER BY due_at LIMIT %s

-- name: stuck_jobs
-- Outside effects that were given up, and those that nobody does. Indexes: job_failed, job_due.
SELECT id, root_kind, root_id, entity, entity_id, kind, since, status, last_error FROM (
    (SELECT id, root_kind, root_id, entity, entity_id, kind, ended_at AS since, status, last_error
     FROM job WHERE status = 'failed' ORDER BY ended_at LIMIT %s)
    UNION ALL
    (SELECT id, root_kind, root_id, entity, entity_id, kind, due_at, status, last_error
     FROM job WHERE status = 'due' AND due_at < %s ORDER BY due_at LIMIT %s)
) AS stuck ORDER BY since

-- name: stuck_orders
-- Orders in given statuses of given workflow versions, unchanged for long, with nothing to come.
-- Indexes: inbox_root, job_root.
SELECT o.id, 'order', o.id, 'order', o.id, o.ref, o.changed_at, o.status
FROM orders o
JOIN unnest(%s::int[], %s::text[]) AS s (workflow_id, status)
  ON s.workflow_id = o.workflow_id AND s.status = o.status
WHERE o.changed_at < %s
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.root_id = o.id)
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.root_id = o.id AND j.status = 'due')
ORDER BY o.changed_at LIMIT %s

-- name: stuck_fulfilments
-- Fulfilments likewise; they change with their order.
SELECT f.id, 'order', f.root_id, 'fulfilment', f.id, o.ref, o.changed_at, f.status
FROM fulfilment f
JOIN unnest(%s::int[], %s::text[]) AS s (workflow_id, status)
  ON s.workflow_id = f.workflow_id AND s.status = f.status
JOIN orders o ON o.id = f.root_id
WHERE o.changed_at < %s
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.root_id = f.root_id)
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.root_id = f.root_id AND j.status = 'due')
ORDER BY o.changed_at LIMIT %s

-- name: stuck_entities
-- Entities of other kinds likewise.
SELECT e.id, e.kind, e.id, e.kind, e.id, e.ref, e.changed_at, e.status
FROM entity e
JOIN unnest(%s::int[], %s::text[]) AS s (workflow_id, status)
  ON s.workflow_id = e.workflow_id AND s.status = e.status
WHERE e.changed_at < %s
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.root_id = e.id)
  AND NOT EXISTS (SELECT 1 FROM job j WHERE j.root_id = e.id AND j.status = 'due')
ORDER BY e.changed_at LIMIT %s

-- name: retry_dead_letters
-- Puts dead letters back into the inbox, due now, and marks them resolved; those that are resolved
-- already come back to nobody.
WITH retried AS (
    UPDATE dead_letter SET resolved_at = %s, resolution = 'retried'
    WHERE id = ANY(%s::uuid[]) AND resolved_at IS NULL
    RETURNING id, root_kind, root_id, entity, entity_id, name, payload, resolved_at
), posted AS (
    INSERT INTO inbox (id, root_kind, root_id, entity, entity_id, name, payload, due_at)
    SELECT gen_random_uuid(), root_kind, root_id, entity, entity_id, name, payload, resolved_at
    FROM retried
)
SELECT id, root_id FROM retried

-- name: retry_unhandled
-- The same for events that no ruleset named.
WITH retried AS (
    UPDATE unhandled_event SET resolved_at = %s, resolution = 'retried'
    WHERE id = ANY(%s::uuid[]) AND resolved_at IS NULL
    RETURNING id, root_kind, root_id, entity, entity_id, name, payload, resolved_at
), posted AS (
    INSERT INTO inbox (id, root_kind, root_id, entity, entity_id, name, payload, due_at)
    SELECT gen_random_uuid(), root_kind, root_id, entity, entity_id, name, payload, resolved_at
    FROM retried
)
SELECT id, root_id FROM retried

-- name: skip_dead_letters
-- Marks dead letters as skipped.
UPDATE dead_letter SET resolved_at = %s, resolution = 'skipped'
WHERE id = ANY(%s::uuid[]) AND resolved_at IS NULL RETURNING id, root_id

-- name: skip_unhandled
-- Marks unhandled events as skipped.
UPDATE unhandled_event SET resolved_at = %s, resolution = 'skipped'
WHERE id = ANY(%s::uuid[]) AND resolved_at IS NULL RETURNING id, root_id

-- name: write_interventions
-- Keeps what a person did, and why.
INSERT INTO intervention (id, action, root_id, subject, by, reason, done_at)
SELECT u.id, %s, u.root_id, u.subject::jsonb, %s, %s, %s
FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS u (id, root_id, subject)
