-- Run with search_path set to the account's schema.

-- One row: a digest of the workflow documents that came with Penstock when they were last stored,
-- so that a process that starts with the same ones has nothing to read.
CREATE TABLE shipped_workflows (
    id     smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    digest bytea    NOT NULL
);
