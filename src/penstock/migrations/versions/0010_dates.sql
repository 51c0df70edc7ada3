-- What was promised, on orders and their fulfilments. Run with search_path set to the account's schema.

ALTER TABLE fulfilment
    ADD COLUMN due_at          timestamptz,  -- by when its location has to be done
    ADD COLUMN expected_from   timestamptz,  -- when it is there, or can be collected
    ADD COLUMN expected_until  timestamptz,
    ADD COLUMN carrier         text,
    ADD COLUMN carrier_service text;
ALTER TABLE choice
    ADD COLUMN promised_from    timestamptz, -- with promised_at: what was promised first
    ADD COLUMN expected_from    timestamptz, -- what is expected now
    ADD COLUMN expected_until   timestamptz,
    ADD COLUMN wish             jsonb,       -- {"carriers", "chance", "time_zone"}; null: the usual
    ADD COLUMN slot_at          timestamptz, -- the pick-up slot that is wanted
    ADD COLUMN slot_location_id integer,     -- where it is counted in slot_capacity; null: nowhere
    ADD COLUMN slot_held_at     timestamptz;
CREATE INDEX choice_slot ON choice (slot_location_id, slot_held_at) WHERE slot_held_at IS NOT NULL;
CREATE INDEX slot_capacity_from ON slot_capacity (slot_at);

-- What happened to fulfilments and when; each is learnt from once.
CREATE TABLE fulfilment_time (
    fulfilment_id   uuid        NOT NULL,
    step            text        NOT NULL,    -- ready | shipped | delivered
    at              timestamptz NOT NULL,
    carrier         text,                    -- who took it, where another was foreseen
    carrier_service text,
    is_learnt       boolean     NOT NULL,
    CONSTRAINT fulfilment_time_pkey PRIMARY KEY (fulfilment_id, step)
) WITH (fillfactor = 90);
CREATE INDEX fulfilment_time_to_learn ON fulfilment_time (at) WHERE NOT is_learnt;
