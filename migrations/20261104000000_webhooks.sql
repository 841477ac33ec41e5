-- Webhooks: who wants to hear of events, and what became of telling them. The events are the outbox:
-- whoever writes one writes its deliveries, by trigger, in the same transaction.

CREATE TYPE delivery_status AS ENUM ('pending', 'delivered', 'failed');

CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1), 'hex')::uuid
$$;
COMMENT ON FUNCTION uuid_v7 IS 'An id that rises with time (RFC 9562), for rows that the database itself makes.';

CREATE TABLE webhook_endpoints (
    id                    uuid PRIMARY KEY,
    tenant                uuid NOT NULL REFERENCES tenants,
    name                  text NOT NULL,
    url                   text NOT NULL,
    events                text[] NOT NULL,
    enabled               boolean NOT NULL,
    disabled_reason       text,
    failing_since         timestamptz,
    secret                bytea NOT NULL CHECK (length(secret) = 32),
    previous_secret       bytea CHECK (length(previous_secret) = 32),
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),

    UNIQUE (tenant, name),
    CONSTRAINT a_previous_secret_has_its_end
        CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    CONSTRAINT a_reason_is_for_being_disabled CHECK (NOT enabled OR disabled_reason IS NULL)
);
COMMENT ON TABLE webhook_endpoints IS 'Addresses that want to hear of a tenant''s events.';
COMMENT ON COLUMN webhook_endpoints.id IS 'UUIDv7.';
COMMENT ON COLUMN webhook_endpoints.tenant IS 'Whose events it hears of.';
COMMENT ON COLUMN webhook_endpoints.name IS 'Its name in the API''s paths.';
COMMENT ON COLUMN webhook_endpoints.url IS 'Where to post.';
COMMENT ON COLUMN webhook_endpoints.events IS 'Which kinds: exact names, "transfer.*" for all that begin so, "*" for all.';
COMMENT ON COLUMN webhook_endpoints.enabled IS 'Whether anything is posted; deliveries made before wait.';
COMMENT ON COLUMN webhook_endpoints.disabled_reason IS 'Why the service disabled it; null where its owner did.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'The first failure after the last success; null while nothing fails.';
COMMENT ON COLUMN webhook_endpoints.secret IS 'Key of its signatures. Signing needs it as it is, so it is not hashed; it is shown once.';
COMMENT ON COLUMN webhook_endpoints.previous_secret IS 'The key before the rotation, which signs too for a while.';
COMMENT ON COLUMN webhook_endpoints.previous_secret_until IS 'Until when the key before signs too.';
COMMENT ON COLUMN webhook_endpoints.created_at IS 'When it was added.';
COMMENT ON COLUMN webhook_endpoints.updated_at IS 'When its owner last changed it.';

-- A job's own callback is signed with its tenant's key; until an owner draws one to verify by, any will do.
ALTER TABLE tenants
    ADD COLUMN callback_secret bytea NOT NULL CHECK (length(callback_secret) = 32)
        DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    ADD COLUMN previous_callback_secret bytea CHECK (length(previous_callback_secret) = 32),
    ADD COLUMN previous_callback_secret_until timestamptz;
COMMENT ON COLUMN tenants.callback_secret IS 'Key of the signatures of its jobs'' callbacks.';
COMMENT ON COLUMN tenants.previous_callback_secret IS 'The key before the rotation, which signs too for a while.';
COMMENT ON COLUMN tenants.previous_callback_secret_until IS 'Until when the key before signs too.';

CREATE TABLE deliveries (
    id              uuid PRIMARY KEY DEFAULT uuid_v7(),
    tenant          uuid NOT NULL REFERENCES tenants,
    event           uuid NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    endpoint        uuid REFERENCES webhook_endpoints ON DELETE CASCADE,
    url             text,
    status          delivery_status NOT NULL DEFAULT 'pending',
    attempts        integer NOT NULL DEFAULT 0,
    retry_since     timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    last_attempt_at timestamptz,
    response_status integer,
    error           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,

    UNIQUE (event, endpoint),
    CONSTRAINT to_an_endpoint_or_a_callback CHECK ((endpoint IS NULL) = (url IS NOT NULL)),
    CONSTRAINT finished_unless_pending CHECK ((status = 'pending') = (finished_at IS NULL)),
    CONSTRAINT leased_while_pending CHECK (status = 'pending' OR lease_token IS NULL)
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status = 'pending';
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint, id DESC);
CREATE INDEX deliveries_in_flight ON deliveries (endpoint) WHERE lease_token IS NOT NULL;
COMMENT ON TABLE deliveries IS 'One event told to one address: the entry of the queue and its history in one.';
COMMENT ON COLUMN deliveries.id IS 'UUIDv7.';
COMMENT ON COLUMN deliveries.tenant IS 'Whose event it is.';
COMMENT ON COLUMN deliveries.event IS 'What is told.';
COMMENT ON COLUMN deliveries.endpoint IS 'Who is told; null for a job''s own callback.';
COMMENT ON COLUMN deliveries.url IS 'The callback''s address; null for an endpoint, which has its own.';
COMMENT ON COLUMN deliveries.status IS 'pending until it was taken (delivered) or given up (failed).';
COMMENT ON COLUMN deliveries.attempts IS 'How often it was claimed to be posted.';
COMMENT ON COLUMN deliveries.retry_since IS 'From when the time until giving up counts: its making or its last replay.';
COMMENT ON COLUMN deliveries.next_attempt_at IS 'From when on it may be claimed; while it is being posted, the end of the lease.';
COMMENT ON COLUMN deliveries.lease_token IS 'Drawn at each claim; who records the outcome names it.';
COMMENT ON COLUMN deliveries.last_attempt_at IS 'When it was last claimed.';
COMMENT ON COLUMN deliveries.response_status IS 'HTTP status of the last answer; null where none came.';
COMMENT ON COLUMN deliveries.error IS 'Why the last attempt failed.';
COMMENT ON COLUMN deliveries.created_at IS 'When the event happened.';
COMMENT ON COLUMN deliveries.finished_at IS 'When it was delivered or given up.';

-- The endpoints are locked against removal, so that no event fails for one that vanishes meanwhile.
CREATE FUNCTION fan_out() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told boolean;
BEGIN
    INSERT INTO deliveries (tenant, event, endpoint)
    SELECT NEW.tenant, NEW.id, e.id FROM webhook_endpoints e
    WHERE e.tenant = NEW.tenant AND e.enabled AND EXISTS (
        SELECT 1 FROM unnest(e.events) AS pattern
        WHERE pattern IN ('*', NEW.kind)
           OR (right(pattern, 2) = '.*' AND starts_with(NEW.kind, left(pattern, -1))))
    FOR KEY SHARE OF e;
    told := FOUND;
    IF NEW.kind IN ('transfer.succeeded', 'transfer.failed', 'transfer.cancelled') THEN
        INSERT INTO deliveries (tenant, event, url)
        SELECT NEW.tenant, NEW.id, t.spec #>> '{callback,url}' FROM transfers t
        WHERE t.id = NEW.transfer AND t.spec #>> '{callback,url}' IS NOT NULL;
        told := told OR FOUND;
    END IF;
    IF told THEN
        PERFORM pg_notify('deliveries', '');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION fan_out IS 'Makes an event''s deliveries and wakes the senders.';

CREATE TRIGGER event_fanned_out AFTER INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION fan_out();
