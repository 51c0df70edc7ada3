-- Products in full. Run with search_path set to the account's schema. Defaults are constants, so
-- that no row of a large table is written.
ALTER TABLE product
    ADD COLUMN parent_ref     text,                    -- of a variant: the SKU it is a variant of
    ADD COLUMN tax_class      text,
    ADD COLUMN length_mm      integer,
    ADD COLUMN width_mm       integer,
    ADD COLUMN height_mm      integer,
    ADD COLUMN prices         jsonb   NOT NULL DEFAULT '[]',  -- [{type, currency, unit_price, …}]
    ADD COLUMN components     jsonb   NOT NULL DEFAULT '[]',  -- of a kit: [{sku, qty}]
    ADD COLUMN may_ship_apart boolean NOT NULL DEFAULT false,
    ADD COLUMN revision       bigint  NOT NULL DEFAULT 0;     -- of `catalogue`, when it changed last
CREATE INDEX product_revision ON product (revision, id) WHERE revision > 0;
CREATE INDEX product_parent ON product (catalogue_id, parent_ref) WHERE parent_ref IS NOT NULL;
CREATE INDEX product_kit ON product (catalogue_id) WHERE kind = 'group';
CREATE INDEX product_category ON product (catalogue_id, category_ref, ref)
    WHERE category_ref IS NOT NULL;

-- `within` are the category's own ref and those above it, itself first: who asks for everything in
-- a category asks `ref = ANY(within)`.
CREATE TABLE category (
    catalogue_id integer NOT NULL REFERENCES product_catalogue,
    ref          text    NOT NULL,
    parent_ref   text,
    name         text    NOT NULL DEFAULT '',
    within       text[]  NOT NULL,
    PRIMARY KEY (catalogue_id, ref)
);
-- What products named before there was a tree: `a/b` is in `a`.
INSERT INTO category (catalogue_id, ref, parent_ref, within)
WITH RECURSIVE named AS (
    SELECT DISTINCT catalogue_id, category_ref AS ref FROM product WHERE category_ref <> ''
    UNION
    SELECT catalogue_id, regexp_replace(ref, '/[^/]*$', '') FROM named WHERE ref LIKE '%_/%'
)
SELECT n.catalogue_id, n.ref, p.ref,
       (SELECT array_agg(a.ref ORDER BY length(a.ref) DESC) FROM named a
        WHERE a.catalogue_id = n.catalogue_id AND (a.ref = n.ref OR starts_with(n.ref, a.ref || '/')))
FROM named n
LEFT JOIN named p ON p.catalogue_id = n.catalogue_id AND n.ref LIKE '%/%'
     AND p.ref = regexp_replace(n.ref, '/[^/]*$', '')
WHERE n.ref <> '';

-- What attributes of a kind of entity may be.
CREATE TABLE attribute_type (
    entity      text    NOT NULL,                      -- product | location | customer | order | …
    name        text    NOT NULL,
    type        text    NOT NULL,                      -- text | integer | decimal | boolean | …
    unit        text,
    options     jsonb   NOT NULL DEFAULT '[]',
    is_required boolean NOT NULL DEFAULT false,
    label       text    NOT NULL DEFAULT '',
    PRIMARY KEY (entity, name)
);
INSERT INTO revision VALUES ('attribute', 1);

-- A line of a kit's component stands below the kit's line (`parent_line_id`): so many in each kit.
ALTER TABLE order_line
    ADD COLUMN per_kit        integer,                 -- null: no kit; 0: a kit; else a component
    ADD COLUMN may_ship_apart boolean NOT NULL DEFAULT false;
