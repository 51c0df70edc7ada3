-- Feeds of many batches. Run with search_path set to the account's schema.

-- One feed of a source over HTTP. It ends `finished` or `failed`; with `retire_at_most` it has been
-- told to end, and a worker retires what no batch mentioned.
CREATE TABLE stock_job (
    id             uuid        PRIMARY KEY,
    ref            text        NOT NULL CONSTRAINT stock_job_ref_unique UNIQUE,
    body_hash      bytea       NOT NULL,          -- the same ref opens the same job only
    source_id      smallint    NOT NULL,
    pool_id        smallint,                      -- null: rows say, else the default one
    catalogue_id   integer     NOT NULL,
    mode           text        NOT NULL CHECK (mode IN ('partial', 'full')),
    counted_at     timestamptz NOT NULL,
    status         text        NOT NULL CHECK (status IN ('running', 'finished', 'failed')),
    retire_at_most integer,
    error          text,
    opened_at      timestamptz NOT NULL,
    ended_at       timestamptz
);
CREATE INDEX stock_job_running ON stock_job (opened_at) WHERE ended_at IS NULL;
CREATE INDEX stock_job_opened ON stock_job (opened_at DESC, id);

-- A batch waits with its rows until a worker has taken all of them; then `body` goes.
CREATE TABLE stock_batch (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      uuid        NOT NULL REFERENCES stock_job ON DELETE CASCADE,
    ref         text        NOT NULL,
    body_hash   bytea       NOT NULL,
    body        bytea,
    rows        integer     NOT NULL,
    rows_done   integer     NOT NULL DEFAULT 0,   -- committed with the rows themselves: resumable
    changed     integer     NOT NULL DEFAULT 0,
    unchanged   integer     NOT NULL DEFAULT 0,
    failed      integer     NOT NULL DEFAULT 0,
    attempts    smallint    NOT NULL DEFAULT 0,   -- since it last moved on
    received_at timestamptz NOT NULL,
    done_at     timestamptz,
    CONSTRAINT stock_batch_ref_unique UNIQUE (job_id, ref)
) WITH (fillfactor = 70);
ALTER TABLE stock_batch ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX stock_batch_waiting ON stock_batch (id) WHERE done_at IS NULL;

-- What became of each row: one row for each chunk of a batch, a byte for each of its rows.
CREATE TABLE stock_batch_result (
    batch_id  bigint  NOT NULL REFERENCES stock_batch ON DELETE CASCADE,
    first_row integer NOT NULL,
    outcomes  bytea   NOT NULL,                   -- inventory.counts.Outcome; 0: refused
    faults    json    NOT NULL,                   -- [[row, field, reason, code], …]
    PRIMARY KEY (batch_id, first_row)
);

-- Positions that a full feed has mentioned so far (a stock_job or a bulk_job), one row a chunk.
CREATE TABLE stock_mention (
    job_id       uuid      NOT NULL,
    position_ids integer[] NOT NULL
);
CREATE INDEX stock_mention_job ON stock_mention (job_id);

-- How far a full feed has retired what it did not mention.
CREATE TABLE stock_retirement (
    job_id    uuid    PRIMARY KEY,
    positions integer NOT NULL,
    units     bigint  NOT NULL
);

-- Up to when a source has taken orders into account that were handed to a location (null: any of
-- its locations), and since when it has: a count of a `net` source is net of those.
CREATE TABLE stock_acknowledgement (
    source_id       smallint    NOT NULL,
    location_id     integer,
    acknowledged_at timestamptz NOT NULL,
    handed_until    timestamptz NOT NULL
);
CREATE UNIQUE INDEX stock_acknowledgement_key
    ON stock_acknowledgement (source_id, location_id, acknowledged_at) NULLS NOT DISTINCT;
