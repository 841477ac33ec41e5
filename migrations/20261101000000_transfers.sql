-- The service's first schema: tenants, their keys, the queue of transfers, its events and workers.
-- Enum labels are the strings of the JSON interface, so that a row reads as the API shows it.

CREATE TYPE transfer_status AS ENUM
    ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled');
CREATE TYPE transfer_phase AS ENUM
    ('fetching', 'diagnosing', 'aligning', 'transferring', 'evaluating', 'fine_tuning', 'publishing');
CREATE TYPE transfer_verdict AS ENUM ('published', 'rejected');
CREATE TYPE transfer_recommendation AS ENUM
    ('copy', 'transfer', 'transfer+fine_tune', 'retrain', 'keep_old');
-- In rising order of what they allow.
CREATE TYPE api_key_role AS ENUM ('read', 'submit', 'admin');

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE tenants IS 'Who owns keys and transfers; nothing is visible across tenants.';
COMMENT ON COLUMN tenants.id IS 'UUIDv7; all zeros is the default tenant.';
COMMENT ON COLUMN tenants.name IS 'For people and for the command line.';
COMMENT ON COLUMN tenants.created_at IS 'When it was added.';

INSERT INTO tenants (id, name) VALUES ('00000000-0000-0000-0000-000000000000', 'default');

CREATE TABLE api_keys (
    id            uuid PRIMARY KEY,
    tenant        uuid NOT NULL REFERENCES tenants,
    name          text NOT NULL,
    role          api_key_role NOT NULL,
    prefix        text NOT NULL UNIQUE,
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);
CREATE INDEX api_keys_of_tenant ON api_keys (tenant);
COMMENT ON TABLE api_keys IS 'Bearer keys; the secret itself is shown once and never stored.';
COMMENT ON COLUMN api_keys.id IS 'UUIDv7.';
COMMENT ON COLUMN api_keys.tenant IS 'Whose transfers the key reaches.';
COMMENT ON COLUMN api_keys.name IS 'What the key is for, in its owner''s words.';
COMMENT ON COLUMN api_keys.role IS 'What the key may do.';
COMMENT ON COLUMN api_keys.prefix IS 'The public beginning of the key, by which it is looked up and listed.';
COMMENT ON COLUMN api_keys.secret_sha256 IS 'SHA-256 of the whole key; its 256 random bits need no slow hash.';
COMMENT ON COLUMN api_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN api_keys.expires_at IS 'From when on it is refused; null: never.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When it was withdrawn; null: it was not.';

CREATE TABLE workers (
    id           uuid PRIMARY KEY,
    host         text NOT NULL,
    pid          integer NOT NULL,
    version      text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE workers IS 'Worker processes, for people to see; the queue does not depend on it.';
COMMENT ON COLUMN workers.id IS 'UUIDv7, drawn at each start of the process.';
COMMENT ON COLUMN workers.host IS 'Name of the machine.';
COMMENT ON COLUMN workers.pid IS 'Process number on that machine.';
COMMENT ON COLUMN workers.version IS 'Version of the software.';
COMMENT ON COLUMN workers.started_at IS 'When the process started.';
COMMENT ON COLUMN workers.last_seen_at IS 'Its last sign of life; rows long silent are removed by the sweep.';

CREATE TABLE transfers (
    id               uuid PRIMARY KEY,
    tenant           uuid NOT NULL REFERENCES tenants,
    status           transfer_status NOT NULL DEFAULT 'queued',
    revision         bigint NOT NULL DEFAULT 1,
    spec             jsonb NOT NULL,
    metadata         jsonb NOT NULL DEFAULT '{}',
    source_base      text GENERATED ALWAYS AS (spec #>> '{source,base}') STORED,
    target_base      text GENERATED ALWAYS AS (spec #>> '{target,base}') STORED,
    idempotency_key  text,
    request_sha256   bytea,
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts     integer NOT NULL CHECK (max_attempts >= 1),
    available_at     timestamptz NOT NULL DEFAULT now(),
    lease_token      uuid,
    lease_expires_at timestamptz,
    worker           uuid,
    phase            transfer_phase,
    progress_done    bigint,
    progress_total   bigint,
    progress_unit    text,
    estimated_finish timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    result_uri       text,
    manifest_sha256  text,
    verdict          transfer_verdict,
    recommendation   transfer_recommendation,
    metrics          jsonb,
    error_code       text,
    error_detail     text,
    error_pointer    text,

    UNIQUE (tenant, idempotency_key),
    CONSTRAINT a_key_has_its_request CHECK ((idempotency_key IS NULL) = (request_sha256 IS NULL)),
    CONSTRAINT leased_while_at_work CHECK
        ((status IN ('running', 'cancelling')) = (lease_token IS NOT NULL)
         AND (lease_token IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT finished_when_final CHECK
        ((status IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT a_success_has_its_result CHECK
        ((status = 'succeeded') = (result_uri IS NOT NULL AND manifest_sha256 IS NOT NULL AND verdict IS NOT NULL)),
    CONSTRAINT a_failure_has_its_reason CHECK
        (status <> 'failed' OR (error_code IS NOT NULL AND error_detail IS NOT NULL))
);
-- Listing: newest first within a tenant, perhaps of one status.
CREATE INDEX transfers_newest ON transfers (tenant, id DESC);
CREATE INDEX transfers_of_status ON transfers (tenant, status, id DESC);
CREATE INDEX transfers_of_source ON transfers (tenant, source_base);
CREATE INDEX transfers_of_target ON transfers (tenant, target_base);
-- Claiming: the few rows that a worker may take now or later.
CREATE INDEX transfers_to_claim ON transfers (available_at) WHERE status IN ('queued', 'running');
-- Sweeping: the few rows with a lease.
CREATE INDEX transfers_leased ON transfers (lease_expires_at) WHERE status IN ('running', 'cancelling');

COMMENT ON TABLE transfers IS 'The jobs. The row is the queue entry and the record in one.';
COMMENT ON COLUMN transfers.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN transfers.tenant IS 'Whose transfer it is.';
COMMENT ON COLUMN transfers.status IS 'queued, running, (cancelling), then succeeded, failed or cancelled.';
COMMENT ON COLUMN transfers.revision IS 'Counts changes that a reader can see (trigger); the ETag.';
COMMENT ON COLUMN transfers.spec IS 'The job specification as it was checked.';
COMMENT ON COLUMN transfers.metadata IS 'The submitter''s own labels, strings by strings.';
COMMENT ON COLUMN transfers.source_base IS 'spec.source.base, for filtering.';
COMMENT ON COLUMN transfers.target_base IS 'spec.target.base, for filtering.';
COMMENT ON COLUMN transfers.idempotency_key IS 'The submitter''s key: a second request with it makes no second transfer.';
COMMENT ON COLUMN transfers.request_sha256 IS 'SHA-256 of the request that brought the key; another request with that key is refused.';
COMMENT ON COLUMN transfers.attempt IS 'How often it was claimed since it was submitted or retried; a lease handed back is not counted.';
COMMENT ON COLUMN transfers.max_attempts IS 'After how many attempts it fails for good.';
COMMENT ON COLUMN transfers.available_at IS 'From when on a worker may claim it: while queued the end of its backoff, while running the end of the lease (plus the backoff, from the second attempt on).';
COMMENT ON COLUMN transfers.lease_token IS 'Drawn at each claim. Every write of a worker names it, so that one whose lease was lost changes nothing.';
COMMENT ON COLUMN transfers.lease_expires_at IS 'Until when the worker may compute without another heartbeat.';
COMMENT ON COLUMN transfers.worker IS 'Who holds the lease, or held the last one.';
COMMENT ON COLUMN transfers.phase IS 'Where it is; null unless it runs.';
COMMENT ON COLUMN transfers.progress_done IS 'Units done in this phase.';
COMMENT ON COLUMN transfers.progress_total IS 'Units in this phase.';
COMMENT ON COLUMN transfers.progress_unit IS 'What is counted: timesteps, epochs, files.';
COMMENT ON COLUMN transfers.estimated_finish IS 'When the phase will end at its present pace.';
COMMENT ON COLUMN transfers.created_at IS 'When it was submitted.';
COMMENT ON COLUMN transfers.started_at IS 'When its present (or last) attempt was claimed.';
COMMENT ON COLUMN transfers.finished_at IS 'When it became succeeded, failed or cancelled.';
COMMENT ON COLUMN transfers.result_uri IS 'The folder of the result.';
COMMENT ON COLUMN transfers.manifest_sha256 IS 'Digest of its manifest.json, in hexadecimal.';
COMMENT ON COLUMN transfers.verdict IS 'Whether a model was published or only a report.';
COMMENT ON COLUMN transfers.recommendation IS 'What the evidence says the owner should do.';
COMMENT ON COLUMN transfers.metrics IS 'The winning candidate''s figures.';
COMMENT ON COLUMN transfers.error_code IS 'Stable name of the reason of failure; kept between attempts.';
COMMENT ON COLUMN transfers.error_detail IS 'The reason, for people.';
COMMENT ON COLUMN transfers.error_pointer IS 'JSON pointer into the specification, where one field is at fault.';

CREATE TABLE events (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid NOT NULL UNIQUE,
    tenant     uuid NOT NULL REFERENCES tenants,
    transfer   uuid REFERENCES transfers ON DELETE CASCADE,
    kind       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    data       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_of_transfer ON events (transfer, seq);
-- A transfer succeeds once, whatever happens to its workers.
CREATE UNIQUE INDEX events_one_success ON events (transfer) WHERE kind = 'transfer.succeeded';
COMMENT ON TABLE events IS 'What happened, written in the transaction in which it happened: history and outbox.';
COMMENT ON COLUMN events.seq IS 'Order of writing; within one transfer also the order of happening.';
COMMENT ON COLUMN events.id IS 'UUIDv7: the event''s identity for receivers that see it twice.';
COMMENT ON COLUMN events.tenant IS 'Whose event it is.';
COMMENT ON COLUMN events.transfer IS 'The transfer that it is about, if any.';
COMMENT ON COLUMN events.kind IS 'transfer.queued, transfer.started, transfer.succeeded and so on.';
COMMENT ON COLUMN events.created_at IS 'When it happened.';
COMMENT ON COLUMN events.data IS 'What belongs to the kind: attempt, phase, error.';

-- Readers see a change by its revision and hear of it on `transfers`; workers hear of work on
-- `transfer_queued` and of a wish to cancel on `transfer_cancelling`. A heartbeat that only
-- prolongs the lease is no change. Notifications leave with the commit.
CREATE FUNCTION transfer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    PERFORM pg_notify('transfers', NEW.id::text);
    IF NEW.status = 'queued' THEN
        PERFORM pg_notify('transfer_queued', '');
    ELSIF NEW.status = 'cancelling' THEN
        PERFORM pg_notify('transfer_cancelling', NEW.id::text);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION transfer_changed IS 'Counts the revision and notifies readers and workers.';

CREATE TRIGGER transfer_added BEFORE INSERT ON transfers
    FOR EACH ROW EXECUTE FUNCTION transfer_changed();
CREATE TRIGGER transfer_changed BEFORE UPDATE ON transfers
    FOR EACH ROW WHEN (
        (OLD.status, OLD.attempt, OLD.phase, OLD.progress_done, OLD.progress_total,
         OLD.progress_unit, OLD.estimated_finish, OLD.finished_at, OLD.error_code, OLD.error_detail)
        IS DISTINCT FROM
        (NEW.status, NEW.attempt, NEW.phase, NEW.progress_done, NEW.progress_total,
         NEW.progress_unit, NEW.estimated_finish, NEW.finished_at, NEW.error_code, NEW.error_detail)
    ) EXECUTE FUNCTION transfer_changed();
