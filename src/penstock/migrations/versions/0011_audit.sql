-- Why stock is what it is, and an audit that goes on where it was. Run with search_path set to the
-- account's schema.

-- ── causes in words ───────────────────────────────────────────────────────────────────────────
-- What a journal entry's cause id stands for where no order does: a feed, a request, a repair.
CREATE TABLE stock_cause (
    id        uuid PRIMARY KEY,
    kind      text NOT NULL,                   -- feed | request | repair
    source    text,                            -- the stock source
    reference text                             -- file name, or what else names it
);
-- Why an adjustment was made. Its entry is that of its pass, position and instant.
CREATE TABLE adjustment_note (
    pass_id     uuid     NOT NULL,
    product_id  integer  NOT NULL,
    location_id integer  NOT NULL,
    pool_id     smallint NOT NULL,
    occurred_us bigint   NOT NULL,             -- µs since 1970
    delta       integer  NOT NULL,
    reason      text     NOT NULL
);
CREATE INDEX adjustment_note_pass ON adjustment_note (pass_id);

-- ── where the journal of a position may be entered ────────────────────────────────────────────
-- kind 1: what a position was where its kept journal begins (what is older has been pruned, or was
-- found broken and is no longer added up); kind 2: what it was at the audit's checkpoint.
CREATE TABLE position_baseline (
    kind        smallint NOT NULL,
    position_id integer  NOT NULL,
    version     integer  NOT NULL,
    on_hand     integer  NOT NULL,
    reserved    integer  NOT NULL,
    journal_id  bigint   NOT NULL,             -- the journal row that left it so
    lack_cause  integer  NOT NULL DEFAULT 0,   -- of what it lacks: 0 nothing or a count, else the
                                               -- version at which too much was promised
    PRIMARY KEY (kind, position_id)
) WITH (fillfactor = 60);
-- Every 256th entry of a position, so that its past is entered near an instant.
CREATE TABLE journal_mark (
    position_id integer     NOT NULL,
    version     integer     NOT NULL,
    journal_id  bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position_id, version)
);

-- ── the audit ─────────────────────────────────────────────────────────────────────────────────
-- One row: how far the audit has come, and who is at it.
CREATE TABLE audit_checkpoint (
    id            integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    number        bigint  NOT NULL DEFAULT 0,  -- the journal of passes up to it is added up
    next_position integer NOT NULL DEFAULT 1,  -- where looking at positions goes on
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    entries_read  bigint  NOT NULL DEFAULT 0,  -- by all runs together
    positions_read bigint NOT NULL DEFAULT 0,
    journal_from  timestamptz                  -- the journal before it has been pruned
) WITH (fillfactor = 50);
INSERT INTO audit_checkpoint DEFAULT VALUES;
CREATE TABLE audit_run (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL,           -- background | forward | full
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    from_number bigint     NOT NULL,
    to_number  bigint      NOT NULL,
    entries    bigint      NOT NULL,
    positions  bigint      NOT NULL,
    orders     bigint      NOT NULL,
    breaches   integer     NOT NULL
);
CREATE TABLE audit_finding (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_name    text        NOT NULL,        -- an invariant of docs/reference/audit.md
    subject       text        NOT NULL,        -- what it is about, in words
    subject_key   text        NOT NULL,        -- position:12 | order:… | capacity:… | whole
    sentence      text        NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    resolved_at   timestamptz
);
CREATE UNIQUE INDEX audit_finding_open ON audit_finding (check_name, subject)
    WHERE resolved_at IS NULL;
CREATE TABLE audit_repair (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_id bigint      NOT NULL,
    subject_key text       NOT NULL,
    cause_id   uuid        NOT NULL,           -- of its journal entry, where it has one
    before     jsonb       NOT NULL,
    after      jsonb       NOT NULL,
    done_by    text        NOT NULL,
    done_at    timestamptz NOT NULL,
    undone_by  text,
    undone_at  timestamptz
);
