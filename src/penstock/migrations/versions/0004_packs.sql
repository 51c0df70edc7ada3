-- Packs: what a pack gave a setting, so that what somebody has changed is told apart.
-- Run with search_path set to the account's schema.
ALTER TABLE setting ADD COLUMN given jsonb; -- null: no pack's
