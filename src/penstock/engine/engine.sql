-- name: due_roots
-- Roots with due events, oldest first, but for events that another living worker has noted.
-- Indexes: inbox_due, work_note_pkey.
WITH others AS MATERIALIZED (
    SELECT pid, backend_start FROM pg_stat_activity
)
SELECT root_kind, root_id, min(due_at) FROM (
    SELECT i.root_kind, i.root_id, i.due_at FROM inbox i
    LEFT JOIN work_note n ON n.inbox_id = i.id
    LEFT JOIN others o ON o.pid = n.backend_pid AND o.backend_start = n.backend_start
    WHERE i.due_at <= %s AND (o.pid IS NULL OR o.pid = %s)
    ORDER BY i.due_at LIMIT %s
) AS due
GROUP BY root_kind, root_id ORDER BY min(due_at)

-- name: due_events_of_roots
-- The due events of locked roots, in acceptance order. Index: inbox_root.
SELECT id, root_kind, root_id, entity, entity_id, name, payload, due_at, is_timer, timer
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

-- name: workflow_documents
-- Every version: entities may be pinned to any.
SELECT id, document FROM workflow ORDER BY id

-- name: active_workflows
-- What was activated last, by entity, type and channel; one that was put out of use has no version.
SELECT DISTINCT ON (entity, entity_type, channel_id) entity, entity_type, channel_id, workflow_id
FROM workflow_activation ORDER BY entity, entity_type, channel_id, id DESC

-- name: pack_of_active
-- With which pack the active version of a workflow came.
SELECT w.pack FROM workflow_activation a JOIN workflow w ON w.id = a.workflow_id
WHERE w.name = %s ORDER BY a.id DESC LIMIT 1

-- name: shipped_digest
-- Which documents that come with Penstock were stored last. Index: shipped_workflows_pkey.
SELECT digest FROM shipped_workflows WHERE id = 1

-- name: note_shipped
-- Keeps which were. Index: shipped_workflows_pkey.
INSERT INTO shipped_workflows (digest) VALUES (%s)
ON CONFLICT (id) DO UPDATE SET digest = excluded.digest

-- name: insert_workflow
-- Stores a version of a workflow; versions are immutable. Index: workflow_version_unique.
INSERT INTO workflow (name, version, entity, entity_type, channel_id, document, pack)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s)
ON CONFLICT ON CONSTRAINT workflow_version_unique DO NOTHING
RETURNING id

-- name: activate_workflow
-- Has a version serve new entities from now on. Index: workflow_pkey.
INSERT INTO workflow_activation (entity, entity_type, channel_id, workflow_id, reason)
SELECT entity, entity_type, channel_id, id, %s FROM workflow WHERE id = %s

-- name: channel_of_ref
-- Index: channel_ref_unique.
SELECT id FROM channel WHERE ref = %s

-- name: bump_workflow
-- Tells every process that workflows changed.
UPDATE revision SET value = value + 1 WHERE name = 'workflow'

-- name: document_of_version
-- What a version holds, and whether it serves new entities. Index: workflow_version_unique.
SELECT w.id, w.document, w.id IS NOT DISTINCT FROM (
    SELECT a.workflow_id FROM workflow_activation a
    WHERE a.entity = w.entity AND a.entity_type = w.entity_type
      AND a.channel_id IS NOT DISTINCT FROM w.channel_id
    ORDER BY a.id DESC LIMIT 1)
FROM workflow w WHERE w.name = %s AND w.version = %s

-- name: cancel_timers
-- Takes back timers of entities. Index: inbox_root.
DELETE FROM inbox i USING unnest(%s::uuid[], %s::uuid[], %s::text[]) AS u (root_id, entity_id, timer)
WHERE i.root_id = u.root_id AND i.entity_id = u.entity_id AND i.timer = u.timer

-- name: lock_entities_waiting
-- Locks entities by id for a request, waiting for whoever holds them. Index: entity_pkey.
SELECT id, kind, ref, type, workflow_id, status, created_at, channel_id, parent_kind, parent_id,
       seq, version, attributes
FROM entity WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock_entities_skipping
-- Locks those entities that nobody holds, for a worker. Index: entity_pkey.
SELECT id, kind, ref, type, workflow_id, status, created_at, channel_id, parent_kind, parent_id,
       seq, version, attributes
FROM entity WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED

-- name: read_entities
-- Reads entities without locking. Index: entity_pkey.
SELECT id, kind, ref, type, workflow_id, status, created_at, channel_id, parent_kind, parent_id,
       seq, version, attributes
FROM entity WHERE id = ANY(%s::uuid[]) ORDER BY id

-- name: claim_entities
-- Makes entities in order of kind and ref; one that is there comes back to nobody.
-- Index: entity_ref_unique.
INSERT INTO entity (id, kind, ref, type, channel_id, parent_kind, parent_id, workflow_id, status,
    attributes, created_at, changed_at, seq, version)
SELECT u.*, u.created_at, 0, 1 FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[],
    %s::int[], %s::text[], %s::uuid[], %s::int[], %s::text[], %s::jsonb[], %s::timestamptz[])
    AS u (id, kind, ref, type, channel_id, parent_kind, parent_id, workflow_id, status,
          attributes, created_at)
ON CONFLICT DO NOTHING RETURNING id

-- name: find_entities
-- Reads who holds refs. Index: entity_ref_unique.
SELECT kind, ref, id FROM entity
WHERE (kind, ref) IN (SELECT * FROM unnest(%s::text[], %s::text[]))

-- name: children_of_roots
-- The entities whose parents are given roots. Index: entity_parent.
SELECT parent_id, kind, id, status, workflow_id FROM entity WHERE parent_id = ANY(%s::uuid[])
ORDER BY parent_id, kind, id

-- name: update_entities
-- Writes locked entities. Index: entity_pkey.
UPDATE entity e SET status = u.status, seq = u.seq, workflow_id = u.workflow_id,
    attributes = u.attributes, version = e.version + 1, changed_at = u.changed_at
FROM (SELECT u.*, %s::timestamptz AS changed_at
      FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::jsonb[])
      AS u (id, status, seq, workflow_id, attributes)) AS u
WHERE e.id = u.id

-- ── jobs ─────────────────────────────────────────────────────────────────────────────────────────

-- name: claim_jobs
-- Takes due jobs under a lease, the oldest first, of each peer as many as there is room for: however
-- many wait for a dead peer, only that many of them are read. Indexes: job_due, job_pkey.
WITH RECURSIVE peers (peer) AS (
    (SELECT peer FROM job WHERE status = 'due' ORDER BY peer LIMIT 1)
    UNION ALL
    SELECT (SELECT j.peer FROM job j WHERE j.status = 'due' AND j.peer > p.peer
            ORDER BY j.peer LIMIT 1)
    FROM peers p WHERE p.peer IS NOT NULL
), picked AS MATERIALIZED (
    SELECT d.id FROM peers p
    LEFT JOIN unnest(%s::text[], %s::int[]) AS r (peer, room) ON r.peer = p.peer
    CROSS JOIN LATERAL (
        SELECT j.id, j.due_at FROM job j
        WHERE j.status = 'due' AND j.peer = p.peer AND j.due_at <= %s
        ORDER BY j.due_at LIMIT coalesce(r.room, %s)
    ) AS d
    ORDER BY d.due_at LIMIT %s
), mine AS MATERIALIZED (
    SELECT id FROM job WHERE id = ANY(ARRAY(SELECT id FROM picked)) AND status = 'due'
        AND due_at <= %s
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE job j SET due_at = %s, attempts = j.attempts + 1
FROM mine m WHERE j.id = m.id
RETURNING j.id, j.kind, j.peer, j.root_kind, j.root_id, j.entity, j.entity_id, j.request,
    j.answer_event, j.answer_fields, j.failed_event, j.retry, j.attempts, j.due_at

-- name: claim_job
-- Takes one job that is due, or will be, under a lease. Index: job_pkey.
UPDATE job j SET due_at = %s, attempts = j.attempts + 1
WHERE j.id = %s AND j.status = 'due'
RETURNING j.id, j.kind, j.peer, j.root_kind, j.root_id, j.entity, j.entity_id, j.request,
    j.answer_event, j.answer_fields, j.failed_event, j.retry, j.attempts, j.due_at

-- name: end_attempts
-- Writes what came of attempts, but for those whose lease is another's by now. Index: job_pkey.
UPDATE job j SET status = u.status, due_at = u.due_at, last_error = u.last_error,
    ended_at = CASE WHEN u.status <> 'due' THEN u.now END
FROM (SELECT u.*, %s::timestamptz AS now
      FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::timestamptz[], %s::text[])
      AS u (id, lease, status, due_at, last_error)) AS u
WHERE j.id = u.id AND j.status = 'due' AND j.due_at = u.lease
RETURNING j.id, u.lease

-- name: list_jobs
-- The newest jobs in some statuses, for a person. Indexes: job_root, or job_pkey backwards.
SELECT id, kind, peer, status, root_kind, root_id, entity, entity_id, request, answer_event,
    answer_fields, failed_event, retry, attempts, due_at, last_error, created_at, ended_at
FROM job WHERE status = ANY(%s::text[]) AND (%s::uuid IS NULL OR root_id = %s::uuid)
ORDER BY id DESC LIMIT %s

-- name: read_job
-- One job. Index: job_pkey.
SELECT id, kind, peer, status, root_kind, root_id, entity, entity_id, request, answer_event,
    answer_fields, failed_event, retry, attempts, due_at, last_error, created_at, ended_at
FROM job WHERE id = %s::uuid

-- name: lock_jobs
-- Locks jobs that a person decides about. Index: job_pkey.
SELECT id, root_id, kind, status FROM job WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: retry_jobs
-- Makes locked jobs due at an instant, as if none had been tried. Index: job_pkey.
UPDATE job SET status = 'due', due_at = %s, attempts = 0, ended_at = NULL
WHERE id = ANY(%s::uuid[])

-- name: skip_jobs
-- Gives locked jobs up. Index: job_pkey.
UPDATE job SET status = 'skipped', ended_at = %s WHERE id = ANY(%s::uuid[])

-- name: listed_workflows
-- Every version, and whether it serves new entities of its type and channel.
SELECT w.name, w.version, w.entity, w.entity_type, c.ref, w.pack, w.created_at,
       a.workflow_id IS NOT NULL
FROM workflow w
LEFT JOIN channel c ON c.id = w.channel_id
LEFT JOIN (SELECT DISTINCT ON (entity, entity_type, channel_id) workflow_id
           FROM workflow_activation ORDER BY entity, entity_type, channel_id, id DESC) AS a
       ON a.workflow_id = w.id
ORDER BY w.entity, w.name, w.version

-- name: active_version
-- The version of a workflow that serves new entities now. Index: workflow_version_unique.
SELECT w.version FROM workflow w
JOIN (SELECT DISTINCT ON (entity, entity_type, channel_id) workflow_id
      FROM workflow_activation ORDER BY entity, entity_type, channel_id, id DESC) AS a
  ON a.workflow_id = w.id
WHERE w.name = %s ORDER BY w.version DESC LIMIT 1

-- name: newest_version
-- The highest version of a workflow. Index: workflow_version_unique.
SELECT max(version) FROM workflow WHERE name = %s

-- name: activations_before
-- What was active before a version, for the same entity, type and channel, newest first; the
-- version's own rows are left out.
SELECT a.workflow_id, b.name, b.version
FROM workflow w
JOIN workflow_activation a ON a.entity = w.entity AND a.entity_type = w.entity_type
     AND a.channel_id IS NOT DISTINCT FROM w.channel_id
JOIN workflow b ON b.id = a.workflow_id
WHERE w.name = %s AND w.version = %s AND a.workflow_id <> w.id
  AND a.id < (SELECT max(id) FROM workflow_activation WHERE workflow_id = w.id)
ORDER BY a.id DESC LIMIT 1
