-- name: due_roots
-- Roots with due events, oldest first. Index: inbox_due.
SELECT root_kind, root_id, min(due_at) FROM (
    SELECT root_kind, root_id, due_at FROM inbox WHERE due_at <= %s ORDER BY due_at LIMIT %s
) AS due
GROUP BY root_kind, root_id ORDER BY min(due_at)

-- name: due_events_of_roots
-- The due events of locked roots, in acceptance order. Index: inbox_root.
SELECT id, root_kind, root_id, entity, entity_id, name, payload, due_at, is_timer, attempts
FROM inbox WHERE root_id = ANY(%s::uuid[]) AND due_at <= %s ORDER BY due_at, id

-- name: remove_events
-- Takes decided events out. Index: inbox_pkey.
DELETE FROM inbox WHERE id = ANY(%s::uuid[])

-- name: remove_notes
-- Forgets what was noted about decided events. Index: work_note_pkey.
DELETE FROM work_note WHERE inbox_id = ANY(%s::uuid[])

-- name: note_events
-- Notes the events a worker is about to run; committed before they run. Only the note after a
-- death counts up: noting again, or beside another living worker, is no sign of anything. What
-- another worker is just taking out of the inbox is skipped, so that no note outlives its event.
-- Indexes: inbox_pkey, work_note_pkey.
INSERT INTO work_note AS n (inbox_id, backend_pid, backend_start, notes)
SELECT i.id, a.pid, a.backend_start, 1
FROM inbox i, pg_stat_activity a
WHERE i.id = ANY(%s::uuid[]) AND a.pid = %s
ORDER BY i.id FOR KEY SHARE OF i SKIP LOCKED
ON CONFLICT (inbox_id) DO UPDATE
SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start,
    notes = n.notes + CASE WHEN EXISTS (
        SELECT 1 FROM pg_stat_activity b
        WHERE b.pid = n.backend_pid AND b.backend_start = n.backend_start) THEN 0 ELSE 1 END,
    noted_at = now()
RETURNING inbox_id, notes

-- name: notes_of_events
-- How often each event was noted, and whether who noted it last is alive. Index: work_note_pkey.
SELECT n.inbox_id, n.notes,
       EXISTS (SELECT 1 FROM pg_stat_activity a
               WHERE a.pid = n.backend_pid AND a.backend_start = n.backend_start)
FROM work_note n WHERE n.inbox_id = ANY(%s::uuid[])

-- name: bury_event
-- Turns an inbox event into a dead letter.
INSERT INTO dead_letter (id, root_kind, root_id, entity, entity_id, name, payload, error, traceback,
    died_at)
SELECT id, root_kind, root_id, entity, entity_id, name, payload, %s, %s, %s
FROM inbox WHERE id = %s
ON CONFLICT DO NOTHING

-- name: active_workflows
-- The newest activated version of each workflow, and every version that may be pinned.
SELECT id, name, version, entity, entity_type, channel_id, document, activated_at
FROM workflow ORDER BY activated_at NULLS FIRST, id

-- name: insert_workflow
-- Adds an activated version of a workflow; versions are immutable.
INSERT INTO workflow (name, version, entity, entity_type, document, activated_at)
VALUES (%s, %s, %s, %s, %s::jsonb, now())
ON CONFLICT ON CONSTRAINT workflow_version_unique DO NOTHING
RETURNING id

-- name: bump_workflow
-- Tells every process that workflows changed.
UPDATE revision SET value = value + 1 WHERE name = 'workflow'

-- name: document_of_version
-- What a version holds. Index: workflow_version_unique.
SELECT document FROM workflow WHERE name = %s AND version = %s
