-- Jobs have names, by which people look for them.

ALTER TABLE transfers ADD COLUMN name text GENERATED ALWAYS AS (spec ->> 'name') STORED;
COMMENT ON COLUMN transfers.name IS 'spec.name: what people call the job; null: it has no name.';
