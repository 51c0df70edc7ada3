-- name: controls
-- Every control, in a stable order. No index: small.
SELECT channel_id, product_id, location_id, location_kind, network_id, category_ref, qty,
       percent_bp, kind, group_name, combine, priority, active_from, active_until, daily_from,
       daily_until, per_location, kept_channels, kept_tiers, basket_min_minor, basket_currency,
       id, ref
FROM control ORDER BY id

-- name: products_in_categories
-- Products of categories and those below, by the tree. No index: read only where controls name
-- categories.
SELECT u.ref, array_agg(p.id) FROM unnest(%s::text[]) AS u (ref)
JOIN category AS k ON u.ref = ANY(k.within)
JOIN product AS p ON (p.catalogue_id, p.category_ref) = (k.catalogue_id, k.ref)
GROUP BY u.ref

-- name: depths_of_categories
-- How many categories those named are within, with themselves. No index: there are few.
SELECT ref, max(cardinality(within)) FROM category WHERE ref = ANY(%s::text[]) GROUP BY ref

-- name: uses
-- What is used of caps and ring-fences, for the view that promises are proposed from. No index.
SELECT control_id, product_id, location_id, reserved + shipped FROM control_use
WHERE reserved + shipped <> 0

-- name: pools_for_sale
-- Pools whose stock may be sold as new. No index: small.
SELECT id FROM pool WHERE condition = 'new' ORDER BY id
