-- name: slots_that_do_not_count
-- Slots of which the count is not how many choices hold them. Index: choice_slot.
WITH held AS (
    SELECT slot_location_id AS location_id, slot_held_at AS slot_at, count(*) AS used
    FROM choice WHERE slot_held_at IS NOT NULL GROUP BY 1, 2
)
SELECT format('The slot of location %%s at %%s has counted %%s, but %%s choices hold it.',
              location_id, slot_at, coalesce(s.used, 0), coalesce(held.used, 0))
FROM held FULL JOIN (SELECT * FROM slot_capacity WHERE service = 'collect') AS s
     USING (location_id, slot_at)
WHERE coalesce(s.used, 0) <> coalesce(held.used, 0)
ORDER BY location_id, slot_at

-- name: counted_slots
-- How many slots were ever counted. No index: small.
SELECT count(*) FROM slot_capacity
