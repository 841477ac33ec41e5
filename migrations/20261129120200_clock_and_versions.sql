-- What must survive an outage of the database, a clock that is set back, and workers of several versions.

CREATE TABLE service_clock (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE service_clock IS 'One row: a sign of life of the whole installation, by which outages and steps of the clock are noticed.';
COMMENT ON COLUMN service_clock.single IS 'Keeps it one row.';
COMMENT ON COLUMN service_clock.seen_at IS 'When a process last wrote here, by the database''s clock. Now much later: nobody could write meanwhile, and leases are prolonged; now earlier: the clock was set back, and the queues'' times with it.';
INSERT INTO service_clock DEFAULT VALUES;

ALTER TABLE transfers
    ADD COLUMN unreadable_to    text,
    ADD COLUMN unreadable_since timestamptz;
CREATE INDEX transfers_unreadable ON transfers (unreadable_since) WHERE unreadable_since IS NOT NULL;
COMMENT ON COLUMN transfers.unreadable_to IS 'The version of the software that could not read its specification and leaves it to others; null: none.';
COMMENT ON COLUMN transfers.unreadable_since IS 'Since when it waits for a worker that can read its specification; null: it does not.';

-- Whether something was announced during a look is counted: times would lose it when the clock is set back.
ALTER TABLE arrivals ADD COLUMN announcements_seen integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN arrivals.announcements_seen IS 'How many of its announcements came before the last look began: more than these mean to look again at once.';
COMMENT ON COLUMN arrivals.announced_at IS 'When it was last announced, by the clock.';
