-- Workflows that change without a deployment. Run with search_path set to the account's schema.

-- ── versions: stored once, activated as often as wanted ───────────────────────────────────────
ALTER TABLE workflow
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN pack       text;                 -- the pack it came with; null: pushed by hand
-- The last row of an entity, type and channel says which version serves new entities; null: none.
CREATE TABLE workflow_activation (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity       text        NOT NULL,
    entity_type  text        NOT NULL,
    channel_id   integer,
    workflow_id  integer     REFERENCES workflow,
    activated_at timestamptz NOT NULL DEFAULT now(),
    reason       text        NOT NULL DEFAULT ''
);
INSERT INTO workflow_activation (entity, entity_type, channel_id, workflow_id, activated_at)
SELECT entity, entity_type, channel_id, id, activated_at FROM workflow
WHERE activated_at IS NOT NULL ORDER BY activated_at, id;
ALTER TABLE workflow DROP COLUMN activated_at;
UPDATE workflow SET pack = 'penstock' WHERE name = 'home_delivery' AND version = 1;

-- ── whatever has a workflow and no table of its own ───────────────────────────────────────────
CREATE TABLE entity (
    id          uuid        PRIMARY KEY,
    kind        text        NOT NULL,           -- payment | return | location | position | … | own
    ref         text        NOT NULL,
    type        text        NOT NULL,
    channel_id  integer,
    parent_kind text,
    parent_id   uuid,                           -- another root: an order's payment
    workflow_id integer     NOT NULL,
    status      text        NOT NULL,
    seq         integer     NOT NULL,
    version     integer     NOT NULL,
    attributes  jsonb       NOT NULL,
    created_at  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    CONSTRAINT entity_ref_unique UNIQUE (kind, ref)
) WITH (fillfactor = 70);
CREATE INDEX entity_parent ON entity (parent_id) WHERE parent_id IS NOT NULL;

-- Entities inside an order that have a workflow.
ALTER TABLE choice
    ADD COLUMN workflow_id integer,
    ADD COLUMN state       text;                -- of its workflow; `status` rolls up from its lines
ALTER TABLE fulfilment ADD COLUMN workflow_id integer;
ALTER TABLE orders ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(); -- the last pass that ran its events

-- ── timers, notes, what a person did ──────────────────────────────────────────────────────────
ALTER TABLE inbox DROP COLUMN attempts;
ALTER TABLE inbox ADD COLUMN timer text;        -- its name in the workflow; null: not of a workflow
CREATE TABLE note (
    id        uuid        PRIMARY KEY,
    root_id   uuid        NOT NULL,
    entity    text        NOT NULL,
    entity_id uuid        NOT NULL,
    by        text        NOT NULL,
    text      text        NOT NULL,
    noted_at  timestamptz NOT NULL
);
CREATE INDEX note_root ON note (root_id);
-- What a person did past the workflow, and why: moved a status, skipped or retried an event.
CREATE TABLE intervention (
    id      uuid        PRIMARY KEY,
    action  text        NOT NULL,
    root_id uuid,
    subject jsonb       NOT NULL,
    by      text        NOT NULL,
    reason  text        NOT NULL,
    done_at timestamptz NOT NULL
);
CREATE INDEX intervention_root ON intervention (root_id);
CREATE INDEX dead_letter_open ON dead_letter (died_at) WHERE resolved_at IS NULL;
-- Events that no ruleset handled; a person looks, nothing waits.
CREATE TABLE unhandled_event (
    id          uuid        PRIMARY KEY,
    root_kind   text        NOT NULL,
    root_id     uuid        NOT NULL,
    entity      text        NOT NULL,
    entity_id   uuid        NOT NULL,
    name        text        NOT NULL,
    payload     json        NOT NULL,
    status      text        NOT NULL,           -- what the entity was in
    workflow_id integer,
    met_at      timestamptz NOT NULL,
    resolved_at timestamptz,
    resolution  text
);
CREATE INDEX unhandled_event_open ON unhandled_event (met_at) WHERE resolved_at IS NULL;

-- ── outside effects: written with the decision, done after it ─────────────────────────────────
CREATE TABLE job (
    id           uuid        PRIMARY KEY,       -- also the idempotency key that the peer gets
    kind         text        NOT NULL,          -- http | webhook | …: which connector does it
    peer         text        NOT NULL,          -- who is called: a slow one delays its own jobs only
    root_kind    text        NOT NULL,
    root_id      uuid        NOT NULL,
    entity       text        NOT NULL,
    entity_id    uuid        NOT NULL,
    request      json        NOT NULL,          -- secrets by reference only
    answer_event text,                          -- posted with the mapped answer
    answer_fields json       NOT NULL,          -- of its payload: expressions over `answer`
    failed_event text,                          -- posted when it is given up
    retry        jsonb       NOT NULL,          -- first, factor, longest, attempts
    status       text        NOT NULL DEFAULT 'due' CHECK (status IN ('due', 'done', 'failed', 'skipped')),
    attempts     smallint    NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,          -- while one is at it: when its lease ends
    last_error   text,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX job_due ON job (peer, due_at) WHERE status = 'due';
CREATE INDEX job_failed ON job (ended_at) WHERE status = 'failed';
CREATE INDEX job_root ON job (root_id);

-- ── run once, packs, settings ─────────────────────────────────────────────────────────────────
CREATE TABLE workflow_run (
    id        uuid        PRIMARY KEY,
    root_id   uuid        NOT NULL,
    entity    text        NOT NULL,
    entity_id uuid        NOT NULL,
    event     text        NOT NULL,
    document  jsonb       NOT NULL,
    by        text        NOT NULL,
    reason    text        NOT NULL,
    run_at    timestamptz NOT NULL
);
CREATE INDEX workflow_run_root ON workflow_run (root_id);
CREATE TABLE pack (
    name         text        PRIMARY KEY,
    version      text        NOT NULL,
    installed_at timestamptz NOT NULL
);
-- Settings of the account; a channel's own beat them.
CREATE TABLE setting (
    name  text  PRIMARY KEY,
    value jsonb NOT NULL,
    pack  text
);
