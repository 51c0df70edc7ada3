-- name: products
-- What a process holds of products that changed after a revision (0: of all), as columns by
-- catalogue, so many at once in order of id; a variant is on while its parent is.
-- Indexes: product_pkey, product_ref_unique (parents).
SELECT catalogue_id, array_agg(id), array_agg(ref), array_agg(weight_g),
       array_agg(is_stocked::int),
       array_agg((is_on AND (parent_ref IS NULL OR EXISTS (
           SELECT FROM product AS q
           WHERE q.catalogue_id = p.catalogue_id AND q.ref = p.parent_ref AND q.is_on)))::int),
       array_agg((kind = 'group')::int),
       jsonb_agg(jsonb_build_array(id, may_ship_apart, components)) FILTER (WHERE kind = 'group')
FROM (SELECT * FROM product WHERE id > %s ORDER BY id LIMIT %s) AS p GROUP BY catalogue_id

-- name: products_since
-- The same of products that changed after a revision. Indexes: product_revision,
-- product_ref_unique (parents).
SELECT catalogue_id, array_agg(id), array_agg(ref), array_agg(weight_g),
       array_agg(is_stocked::int),
       array_agg((is_on AND (parent_ref IS NULL OR EXISTS (
           SELECT FROM product AS q
           WHERE q.catalogue_id = p.catalogue_id AND q.ref = p.parent_ref AND q.is_on)))::int),
       array_agg((kind = 'group')::int),
       jsonb_agg(jsonb_build_array(id, may_ship_apart, components)) FILTER (WHERE kind = 'group'),
       array_agg(revision)
FROM (SELECT * FROM product
      WHERE revision > 0 AND (revision, id) > (%s, %s) ORDER BY revision, id LIMIT %s) AS p
GROUP BY catalogue_id

-- name: products_by_sku
-- SKUs that a process does not know yet, as columns. Index: product_ref_unique.
SELECT catalogue_id, array_agg(id), array_agg(ref), array_agg(weight_g),
       array_agg(is_stocked::int),
       array_agg((is_on AND (parent_ref IS NULL OR EXISTS (
           SELECT FROM product AS q
           WHERE q.catalogue_id = p.catalogue_id AND q.ref = p.parent_ref AND q.is_on)))::int),
       array_agg((kind = 'group')::int),
       jsonb_agg(jsonb_build_array(id, may_ship_apart, components)) FILTER (WHERE kind = 'group')
FROM unnest(%s::text[]) AS u (ref) JOIN product AS p USING (ref) WHERE catalogue_id = %s
GROUP BY catalogue_id

-- name: lock_catalogue
-- A catalogue by ref; who changes its products waits here. Index: product_catalogue_ref_unique.
SELECT id FROM product_catalogue WHERE ref = %s FOR NO KEY UPDATE

-- name: make_catalogue
-- Makes a catalogue that is not there. Index: product_catalogue_ref_unique.
INSERT INTO product_catalogue (ref) VALUES (%s) ON CONFLICT DO NOTHING

-- name: lock_revision
-- The revision of products; who changes some in any catalogue waits here, so that what a process
-- has seen of a revision is all of it. Index: revision_pkey.
SELECT value FROM revision WHERE name = 'catalogue' FOR NO KEY UPDATE

-- name: kinds_of
-- The kinds of products, to judge who may be whose parent or component. Index: product_ref_unique.
SELECT ref, kind FROM product WHERE catalogue_id = %s AND ref = ANY(%s::text[])

-- name: needed_by_others
-- SKUs that products have as their parent or component, and one such product each.
-- Indexes: product_parent, product_kit.
SELECT parent_ref, min(ref), true FROM product WHERE catalogue_id = %s AND parent_ref = ANY(%s::text[])
GROUP BY 1
UNION ALL
SELECT c ->> 'sku', min(ref), false FROM product, jsonb_array_elements(components) AS c
WHERE catalogue_id = %s AND kind = 'group' AND c ->> 'sku' = ANY(%s::text[]) GROUP BY 1

-- name: upsert_products
-- Makes or changes products; says which are new, and whether processes hold what changed.
-- Unchanged ones are neither locked nor written, and an id is taken for new ones only: processes
-- hold columns by id, which has to stay dense. Index: product_ref_unique.
WITH asked AS (
    SELECT u.*, p.id, p.id IS NULL AS is_new,
           p.id IS NULL OR (p.weight_g, p.is_stocked, p.is_on, p.kind, p.parent_ref,
                                 p.components, p.may_ship_apart)
               IS DISTINCT FROM (u.weight_g, u.is_stocked, u.is_on, u.kind, u.parent_ref,
                                 u.components, u.may_ship_apart) AS is_held,
           p.revision AS revision_before
    FROM json_to_recordset(%s::json) AS u
        (ref text, name text, kind text, is_stocked boolean, is_on boolean, unit text, gtin text,
         weight_g int, category_ref text, price_minor bigint, attributes jsonb, parent_ref text,
         tax_class text, length_mm int, width_mm int, height_mm int, prices jsonb,
         components jsonb, may_ship_apart boolean)
    LEFT JOIN product AS p ON p.catalogue_id = %s AND p.ref = u.ref
    WHERE p.id IS NULL
       OR (p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g, p.category_ref,
           p.price_minor, p.attributes, p.parent_ref, p.tax_class, p.length_mm, p.width_mm,
           p.height_mm, p.prices, p.components, p.may_ship_apart)
       IS DISTINCT FROM (u.name, u.kind, u.is_stocked, u.is_on, u.unit, u.gtin, u.weight_g,
           u.category_ref, u.price_minor, u.attributes, u.parent_ref, u.tax_class, u.length_mm,
           u.width_mm, u.height_mm, u.prices, u.components, u.may_ship_apart)
), written AS (
    INSERT INTO product (id, catalogue_id, ref, name, kind, is_stocked, is_on, unit, gtin,
        weight_g, category_ref, price_minor, attributes, parent_ref, tax_class, length_mm,
        width_mm, height_mm, prices, components, may_ship_apart, revision)
    SELECT coalesce(id, nextval('product_id_seq')), %s, ref, name, kind, is_stocked, is_on, unit,
        gtin, weight_g, category_ref, price_minor, attributes, parent_ref, tax_class, length_mm,
        width_mm, height_mm, prices, components, may_ship_apart,
        CASE WHEN is_held THEN %s ELSE coalesce(revision_before, 0) END
    FROM asked ORDER BY ref
    ON CONFLICT ON CONSTRAINT product_ref_unique DO UPDATE
    SET name = excluded.name, kind = excluded.kind, is_stocked = excluded.is_stocked,
        is_on = excluded.is_on, unit = excluded.unit, gtin = excluded.gtin,
        weight_g = excluded.weight_g, category_ref = excluded.category_ref,
        price_minor = excluded.price_minor, attributes = excluded.attributes,
        parent_ref = excluded.parent_ref, tax_class = excluded.tax_class,
        length_mm = excluded.length_mm, width_mm = excluded.width_mm,
        height_mm = excluded.height_mm, prices = excluded.prices,
        components = excluded.components, may_ship_apart = excluded.may_ship_apart,
        revision = excluded.revision
)
SELECT ref, is_new, is_held FROM asked

-- name: touch_variants
-- Marks the variants of products that changed: they are on while their parent is.
-- Index: product_parent.
UPDATE product SET revision = %s WHERE catalogue_id = %s AND parent_ref = ANY(%s::text[])

-- name: bump_catalogue
-- Tells every process that known products changed.
UPDATE revision SET value = %s WHERE name = 'catalogue'

-- name: bump_controls_of_categories
-- Tells every process that products of categories changed, where controls or thresholds name any.
-- No index: small.
UPDATE revision SET value = value + 1
WHERE name = 'control' AND EXISTS (SELECT 1 FROM control WHERE category_ref IS NOT NULL)
   OR name = 'threshold' AND EXISTS (SELECT 1 FROM threshold WHERE category_ref IS NOT NULL)

-- name: find_products
-- Products by SKU. Indexes: product_catalogue_ref_unique, product_ref_unique.
SELECT p.id, p.ref, p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g,
       p.category_ref, p.price_minor, p.attributes, p.parent_ref, p.tax_class, p.length_mm,
       p.width_mm, p.height_mm, p.prices, p.components, p.may_ship_apart
FROM unnest(%s::text[]) AS u (ref) CROSS JOIN product_catalogue AS c
JOIN product AS p ON p.catalogue_id = c.id AND p.ref = u.ref
WHERE c.ref = %s ORDER BY p.ref

-- name: product_facts
-- What rules may read of products, with the categories they are within.
-- Indexes: product_pkey, category_pkey.
SELECT p.id, p.kind, coalesce(p.category_ref, ''), coalesce(k.within, '{}'),
       coalesce(p.tax_class, ''), p.weight_g, p.attributes
FROM product AS p
LEFT JOIN category AS k ON k.catalogue_id = p.catalogue_id AND k.ref = p.category_ref
WHERE p.id = ANY(%s::int[])

-- name: search_products
-- A page of a catalogue's products in order of SKU, filtered. Indexes: product_ref_unique (or
-- product_category, product_parent).
SELECT p.id, p.ref, p.name, p.kind, p.is_stocked, p.is_on, p.unit, p.gtin, p.weight_g,
       p.category_ref, p.price_minor, p.attributes, p.parent_ref, p.tax_class, p.length_mm,
       p.width_mm, p.height_mm, p.prices, p.components, p.may_ship_apart
FROM product AS p
WHERE p.catalogue_id = (SELECT id FROM product_catalogue WHERE ref = %(catalogue)s)
  AND p.ref > %(after)s
  AND (%(kind)s::text IS NULL OR p.kind = %(kind)s)
  AND (%(is_on)s::boolean IS NULL OR p.is_on = %(is_on)s)
  AND (%(parent)s::text IS NULL OR p.parent_ref = %(parent)s)
  AND (%(category)s::text IS NULL OR p.category_ref IN (
      SELECT c.ref FROM category AS c
      WHERE c.catalogue_id = p.catalogue_id AND %(category)s = ANY(c.within)))
  AND (%(words)s::text IS NULL OR starts_with(lower(p.ref), lower(%(words)s))
       OR strpos(lower(p.name), lower(%(words)s)) > 0 OR p.gtin = %(words)s)
ORDER BY p.ref LIMIT %(limit)s

-- name: categories
-- Every category of a catalogue; there are thousands at most. Index: category_pkey.
SELECT ref, name, parent_ref, within FROM category WHERE catalogue_id = %s ORDER BY ref

-- name: categories_of
-- The category tree of a catalogue by its ref. Indexes: product_catalogue_ref_unique,
-- category_pkey.
SELECT k.ref, k.name, k.parent_ref, k.within FROM category AS k
WHERE k.catalogue_id = (SELECT id FROM product_catalogue WHERE ref = %s) ORDER BY k.ref

-- name: known_categories
-- Which of the categories are there. Index: category_pkey.
SELECT ref FROM category WHERE catalogue_id = %s AND ref = ANY(%s::text[])

-- name: put_categories
-- Writes categories with all they are within. Index: category_pkey.
INSERT INTO category (catalogue_id, ref, name, parent_ref, within)
SELECT %s, u.ref, u.name, u.parent_ref,
       (SELECT array_agg(w ORDER BY n)
        FROM jsonb_array_elements_text(u.within) WITH ORDINALITY AS t (w, n))
FROM json_to_recordset(%s::json) AS u (ref text, name text, parent_ref text, within jsonb)
ORDER BY u.ref
ON CONFLICT (catalogue_id, ref) DO UPDATE
SET name = excluded.name, parent_ref = excluded.parent_ref, within = excluded.within
