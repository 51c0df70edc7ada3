-- name: products
-- What a process holds of every product. Index: product_pkey.
SELECT id, catalogue_id, ref, weight_g, is_stocked, is_on FROM product ORDER BY id

-- name: products_by_sku
-- SKUs that a process does not know yet. Index: product_ref_unique.
SELECT id, catalogue_id, ref, weight_g, is_stocked, is_on FROM product
WHERE catalogue_id = %s AND ref = ANY(%s)

-- name: catalogue_id
-- A catalogue by ref. Index: product_catalogue_ref_unique.
SELECT id FROM product_catalogue WHERE ref = %s

-- name: make_catalogue
-- Makes a catalogue that is not there. Index: product_catalogue_ref_unique.
INSERT INTO product_catalogue (ref) VALUES (%s) ON CONFLICT DO NOTHING

-- name: upsert_products
-- Makes or changes products; unchanged ones are not written. Index: product_ref_unique.
INSERT INTO product AS p (catalogue_id, ref, name, kind, is_stocked, is_on, unit, gtin, weight_g,
    category_ref, price_minor, attributes)
SELECT %s, u.* FROM json_to_recordset(%s::json) AS u
    (ref text, name text, kind text, is_stocked boolean, is_on boolean, unit text, gtin text,
     weight_g int, category_ref text, price_minor bigint, attributes jsonb)
ORDER BY u.ref
ON CONFLICT ON CONSTRAINT product_ref_unique DO UPDATE
SET name = excluded.name, kind = excluded.kind, is_stocked = excluded.is_stocked,
    is_on = excluded.is_on, unit = excluded.unit, gtin = excluded.gtin,
    weight_g = excluded.weight_g, category_ref = excluded.category_ref,
    price_minor = excluded.price_minor, attributes = excluded.attributes
WHERE (p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g, p.category_ref,
       p.price_minor, p.attributes)
   IS DISTINCT FROM (excluded.name, excluded.kind, excluded.is_stocked, excluded.is_on,
       excluded.unit, excluded.gtin, excluded.weight_g, excluded.category_ref,
       excluded.price_minor, excluded.attributes)
RETURNING p.ref, (p.xmax = 0)

-- name: bump_catalogue
-- Tells every process that known products changed.
UPDATE revision SET value = value + 1 WHERE name = 'catalogue'
