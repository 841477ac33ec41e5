-- One feed of all events of a tenant. An event's `seq` is drawn when it is written and seen when its transaction
-- ends: who has read past a number that was not to be seen yet would never see it. So places in the feed are
-- given to what is to be seen, by the first who reads it.

ALTER TABLE events ADD COLUMN place bigint CHECK (place >= 1);
COMMENT ON COLUMN events.place IS 'Its place in the feed of its tenant, given when the feed is first read past it; null: not yet.';
CREATE UNIQUE INDEX events_in_place ON events (tenant, place) WHERE place IS NOT NULL;
CREATE INDEX events_to_place ON events (tenant, seq) WHERE place IS NULL;

ALTER TABLE tenants ADD COLUMN events_placed bigint NOT NULL DEFAULT 0 CHECK (events_placed >= 0);
COMMENT ON COLUMN tenants.events_placed IS 'The last place in its feed that was given to an event; who gives places has locked this row.';
