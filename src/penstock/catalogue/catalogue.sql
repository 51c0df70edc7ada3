-- name: products
-- What a process holds of products, as columns by catalogue, so many at once in order of id.
-- Index: product_pkey.
SELECT catalogue_id, array_agg(id), array_agg(ref), array_agg(weight_g),
       array_agg(is_stocked::int), array_agg(is_on::int)
FROM (SELECT * FROM product WHERE id > %s ORDER BY id LIMIT %s) AS p GROUP BY catalogue_id

-- name: products_by_sku
-- SKUs that a process does not know yet, as columns. Index: product_ref_unique.
SELECT catalogue_id, array_agg(id), array_agg(ref), array_agg(weight_g),
       array_agg(is_stocked::int), array_agg(is_on::int)
FROM unnest(%s::text[]) AS u (ref) JOIN product USING (ref) WHERE catalogue_id = %s
GROUP BY catalogue_id

-- name: lock_catalogue
-- A catalogue by ref; who changes its products waits here. Index: product_catalogue_ref_unique.
SELECT id FROM product_catalogue WHERE ref = %s FOR NO KEY UPDATE

-- name: make_catalogue
-- Makes a catalogue that is not there. Index: product_catalogue_ref_unique.
INSERT INTO product_catalogue (ref) VALUES (%s) ON CONFLICT DO NOTHING

-- name: upsert_products
-- Makes or changes products; says which are new, and whether a column changed that processes hold.
-- Unchanged ones are neither locked nor written, and an id is taken for new ones only: processes
-- hold columns by id, which has to stay dense. Index: product_ref_unique.
WITH asked AS (
    SELECT u.*, p.id, p.id IS NULL AS is_new,
           p.id IS NOT NULL AND (p.weight_g, p.is_stocked, p.is_on)
               IS DISTINCT FROM (u.weight_g, u.is_stocked, u.is_on) AS is_held
    FROM json_to_recordset(%s::json) AS u
        (ref text, name text, kind text, is_stocked boolean, is_on boolean, unit text, gtin text,
         weight_g int, category_ref text, price_minor bigint, attributes jsonb)
    LEFT JOIN product AS p ON p.catalogue_id = %s AND p.ref = u.ref
    WHERE p.id IS NULL
       OR (p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g, p.category_ref,
           p.price_minor, p.attributes)
       IS DISTINCT FROM (u.name, u.kind, u.is_stocked, u.is_on, u.unit, u.gtin, u.weight_g,
           u.category_ref, u.price_minor, u.attributes)
), written AS (
    INSERT INTO product (id, catalogue_id, ref, name, kind, is_stocked, is_on, unit, gtin,
        weight_g, category_ref, price_minor, attributes)
    SELECT coalesce(id, nextval('product_id_seq')), %s, ref, name, kind, is_stocked, is_on, unit,
        gtin, weight_g, category_ref, price_minor, attributes
    FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT product_ref_unique DO UPDATE
    SET name = excluded.name, kind = excluded.kind, is_stocked = excluded.is_stocked,
        is_on = excluded.is_on, unit = excluded.unit, gtin = excluded.gtin,
        weight_g = excluded.weight_g, category_ref = excluded.category_ref,
        price_minor = excluded.price_minor, attributes = excluded.attributes
)
SELECT ref, is_new, is_held FROM asked

-- name: bump_catalogue
-- Tells every process that known products changed.
UPDATE revision SET value = value + 1 WHERE name = 'catalogue'

-- name: bump_controls_of_categories
-- Tells every process that products of categories changed, where controls name any. No index: small.
UPDATE revision SET value = value + 1
WHERE name = 'control' AND EXISTS (SELECT 1 FROM control WHERE category_ref IS NOT NULL)

-- name: find_products
-- Products by SKU. Indexes: product_catalogue_ref_unique, product_ref_unique.
SELECT p.id, p.ref, p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g,
       p.category_ref, p.price_minor, p.attributes
FROM unnest(%s::text[]) AS u (ref) CROSS JOIN product_catalogue AS c
JOIN product AS p ON p.catalogue_id = c.id AND p.ref = u.ref
WHERE c.ref = %s ORDER BY p.ref
