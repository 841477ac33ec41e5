-- What was announced by notifications, or found by looking into a folder from time to time: a row that
-- `serve` works off, so that no sender waits while a model is read.

CREATE TYPE arrival_status AS ENUM ('waiting', 'registered', 'known', 'ignored', 'failed');

CREATE TABLE arrivals (
    id            uuid PRIMARY KEY DEFAULT uuid_v7(),
    tenant        uuid NOT NULL REFERENCES tenants,
    base_model    uuid NOT NULL REFERENCES base_models,
    inbound_token uuid NOT NULL,
    uri           text NOT NULL CHECK (octet_length(uri) <= 1200),
    version       text NOT NULL CHECK (octet_length(version) <= 1024),
    status        arrival_status NOT NULL DEFAULT 'waiting',
    reason        text,
    announcements integer NOT NULL DEFAULT 1,
    announced_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    looks         integer NOT NULL DEFAULT 0,
    last_look_at  timestamptz,
    next_look_at  timestamptz NOT NULL DEFAULT now(),
    retry_since   timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,

    -- The lengths keep an entry of this index below what a page of it may hold.
    UNIQUE (base_model, uri, version),
    CONSTRAINT an_arrival_ends_unless_it_waits CHECK ((status = 'waiting') = (finished_at IS NULL)),
    CONSTRAINT an_arrival_is_leased_while_it_waits CHECK (status = 'waiting' OR lease_token IS NULL)
);
CREATE INDEX arrivals_due ON arrivals (next_look_at) WHERE status = 'waiting';
CREATE INDEX arrivals_in_flight ON arrivals (tenant) WHERE lease_token IS NOT NULL;
CREATE INDEX arrivals_of_base_model ON arrivals (base_model, id DESC);
COMMENT ON TABLE arrivals IS 'Folders said to hold a new version of a base model: the entry of the queue and its history in one. The same folder and version again is the same row.';
COMMENT ON COLUMN arrivals.id IS 'UUIDv7.';
COMMENT ON COLUMN arrivals.tenant IS 'Whose base model it is.';
COMMENT ON COLUMN arrivals.base_model IS 'What gets the version.';
COMMENT ON COLUMN arrivals.inbound_token IS 'By which address it was first announced, or whose folder was listed; it may be withdrawn since.';
COMMENT ON COLUMN arrivals.uri IS 'The folder, with a slash at its end.';
COMMENT ON COLUMN arrivals.version IS 'The name that the version gets.';
COMMENT ON COLUMN arrivals.status IS 'waiting until it is known what it is: a new version (registered), one that was there (known), a name that no version can have (ignored), given up (failed).';
COMMENT ON COLUMN arrivals.reason IS 'Why it still waits after a look, was ignored or failed.';
COMMENT ON COLUMN arrivals.announcements IS 'How often it was announced.';
COMMENT ON COLUMN arrivals.announced_at IS 'When it was last announced, by the clock: later than last_look_at means to look again at once.';
COMMENT ON COLUMN arrivals.looks IS 'How often it was claimed to be looked at since it began to wait.';
COMMENT ON COLUMN arrivals.last_look_at IS 'When it was last claimed, by the clock.';
COMMENT ON COLUMN arrivals.next_look_at IS 'From when on it may be claimed; while it is looked at, the end of the lease.';
COMMENT ON COLUMN arrivals.retry_since IS 'From when the time until giving up counts: its last announcement.';
COMMENT ON COLUMN arrivals.lease_token IS 'Drawn at each claim; who records the outcome names it.';
COMMENT ON COLUMN arrivals.created_at IS 'When it was first announced.';
COMMENT ON COLUMN arrivals.finished_at IS 'When its status became other than waiting.';

SELECT protect('arrivals');

CREATE FUNCTION arrival_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('arrivals', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION arrival_changed IS 'Wakes who looks at arrivals, and who waits for what becomes of them.';

CREATE TRIGGER arrival_changed AFTER INSERT OR UPDATE OF status, announced_at ON arrivals
    FOR EACH STATEMENT EXECUTE FUNCTION arrival_changed();

-- A folder is listed when a sender asks for it, and from time to time where that is wanted.
ALTER TABLE inbound_tokens
    ADD COLUMN poll_seconds     integer CHECK (poll_seconds >= 30),
    ADD COLUMN listing_due_at   timestamptz,
    ADD COLUMN listing_asked_at timestamptz,
    ADD COLUMN listing_began_at timestamptz,
    ADD COLUMN listing_token    uuid,
    ADD COLUMN listing_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN listing_error    text,
    ADD COLUMN listed_at        timestamptz;
CREATE INDEX inbound_tokens_due ON inbound_tokens (listing_due_at) WHERE listing_due_at IS NOT NULL;
COMMENT ON COLUMN inbound_tokens.poll_seconds IS 'How often the folder is listed unasked; null: never.';
COMMENT ON COLUMN inbound_tokens.listing_due_at IS 'From when on the listing may be claimed; while the folder is listed, the end of the lease; null: not wanted.';
COMMENT ON COLUMN inbound_tokens.listing_asked_at IS 'When a notification last asked for a listing, by the clock.';
COMMENT ON COLUMN inbound_tokens.listing_began_at IS 'When a listing was last claimed, by the clock.';
COMMENT ON COLUMN inbound_tokens.listing_token IS 'Drawn at each claim of a listing; who records the outcome names it.';
COMMENT ON COLUMN inbound_tokens.listing_failures IS 'Listings that failed since the last that did not.';
COMMENT ON COLUMN inbound_tokens.listing_error IS 'Why the last listing failed; null where it did not.';
COMMENT ON COLUMN inbound_tokens.listed_at IS 'When the folder was last listed.';
