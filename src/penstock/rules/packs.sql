-- name: lock
-- Who changes packs or workflows waits here. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'workflow' FOR NO KEY UPDATE

-- name: packs
-- Every pack of the account.
SELECT name, version FROM pack ORDER BY name

-- name: version_of_pack
-- Which version of a pack the account has. Index: pack_pkey.
SELECT version FROM pack WHERE name = %s

-- name: keep_pack
-- Says which version of a pack the account has. Index: pack_pkey.
INSERT INTO pack (name, version, installed_at) VALUES (%s, %s, now())
ON CONFLICT (name) DO UPDATE SET version = excluded.version, installed_at = excluded.installed_at

-- name: forget_pack
-- Takes a pack out. Index: pack_pkey.
DELETE FROM pack WHERE name = %s

-- name: active_document
-- What serves new entities of a kind and type in a channel now, null where it was put out of use.
SELECT w.document FROM workflow_activation a LEFT JOIN workflow w ON w.id = a.workflow_id
WHERE a.entity = %s AND a.entity_type = %s
  AND a.channel_id IS NOT DISTINCT FROM (SELECT id FROM channel WHERE ref = %s)
ORDER BY a.id DESC LIMIT 1

-- name: workflows_of_pack
-- Every version that came with a pack.
SELECT name, version, document FROM workflow WHERE pack = %s

-- name: bump_workflow
-- Tells every process that workflows changed.
UPDATE revision SET value = value + 1 WHERE name = 'workflow'

-- name: deactivate
-- Where a pack's workflow is active, activates what was active before the pack's and is not of a
-- pack that was removed meanwhile, or nothing.
WITH newest AS (
    SELECT DISTINCT ON (entity, entity_type, channel_id) entity, entity_type, channel_id,
           workflow_id
    FROM workflow_activation ORDER BY entity, entity_type, channel_id, id DESC
), mine AS (
    SELECT n.*, w.name || '@' || w.version AS was, w.pack,
           (SELECT b.workflow_id FROM workflow_activation b
            LEFT JOIN workflow o ON o.id = b.workflow_id
            WHERE b.entity = n.entity AND b.entity_type = n.entity_type
              AND b.channel_id IS NOT DISTINCT FROM n.channel_id
              AND o.pack IS DISTINCT FROM w.pack
              AND (o.pack IS NULL OR o.pack IN (SELECT name FROM pack))
            ORDER BY b.id DESC LIMIT 1) AS before_id
    FROM newest n JOIN workflow w ON w.id = n.workflow_id
), written AS (
    INSERT INTO workflow_activation (entity, entity_type, channel_id, workflow_id, reason)
    SELECT entity, entity_type, channel_id, before_id, r.reason
    FROM mine, (SELECT %s::text) AS r (reason) WHERE pack = %s
    RETURNING entity, entity_type, channel_id
)
SELECT m.entity, m.entity_type, m.was, b.name || '@' || b.version
FROM written w
JOIN mine m ON m.entity = w.entity AND m.entity_type = w.entity_type
    AND m.channel_id IS NOT DISTINCT FROM w.channel_id
LEFT JOIN workflow b ON b.id = m.before_id
ORDER BY 1, 2, 3
