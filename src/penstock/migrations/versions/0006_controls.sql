-- What lowers a channel's promises. Run with search_path set to the account's schema.

ALTER TABLE control DROP CONSTRAINT control_kind_check;
ALTER TABLE control
    ADD CONSTRAINT control_kind_known
        CHECK (kind IN ('buffer', 'safety_stock', 'exclusion', 'cap', 'ring_fence')),
    ADD COLUMN ref            text,                        -- business key; one row per product of a SKU
    ADD COLUMN network_id     integer,
    ADD COLUMN category_ref   text,
    ADD COLUMN percent_bp     integer  NOT NULL DEFAULT 0, -- hundredths of a percent of on hand
    ADD COLUMN group_name     text     NOT NULL DEFAULT 'default',
    ADD COLUMN combine        text     NOT NULL DEFAULT 'first'
        CHECK (combine IN ('first', 'sum', 'max')),
    ADD COLUMN priority       integer  NOT NULL DEFAULT 0, -- within its group; the higher goes first
    ADD COLUMN active_from    timestamptz,
    ADD COLUMN active_until   timestamptz,
    ADD COLUMN daily_from     time,                        -- in the location's own zone
    ADD COLUMN daily_until    time,
    ADD COLUMN per_location   boolean  NOT NULL DEFAULT false,
    ADD COLUMN kept_channels  integer[],                   -- a ring-fence: for whom it is kept
    ADD COLUMN kept_tiers     text[],
    ADD COLUMN basket_min_minor bigint,
    ADD COLUMN basket_currency  char(3);
UPDATE control AS c SET ref = concat_ws(' ', c.kind,
    'channel=' || (SELECT ref FROM channel WHERE id = c.channel_id),
    'sku=' || (SELECT ref FROM product WHERE id = c.product_id),
    'location=' || (SELECT ref FROM location WHERE id = c.location_id),
    'location_kind=' || c.location_kind);
-- The release that is still running writes buffers without one.
ALTER TABLE control ALTER COLUMN ref SET DEFAULT gen_random_uuid()::text, ALTER COLUMN ref SET NOT NULL;
CREATE INDEX control_ref ON control (ref);

-- What is counted on caps and ring-fences. Locked after positions and capacities, in key order.
CREATE TABLE control_use (
    control_id  integer NOT NULL,
    product_id  integer NOT NULL,
    location_id integer NOT NULL,                          -- 0: over all locations together
    reserved    integer NOT NULL,                          -- by live reservations
    shipped     integer NOT NULL,                          -- for good
    PRIMARY KEY (control_id, product_id, location_id)
) WITH (fillfactor = 50);

-- The controls that count it; negative: at its location. Null, most often: none.
ALTER TABLE reservation ADD COLUMN counted_by integer[];
CREATE INDEX reservation_counted ON reservation (position_id) WHERE counted_by IS NOT NULL;
