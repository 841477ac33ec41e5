-- How each attempt ended, for whoever watches the queue.

CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'failed', 'cancelled', 'handed_back', 'lost');

ALTER TABLE attempts ADD COLUMN outcome attempt_outcome;
COMMENT ON COLUMN attempts.outcome IS 'How it ended; lost: its lease ran out. Null: before this was written down.';

CREATE OR REPLACE FUNCTION transfer_lease_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended_at timestamptz := greatest(OLD.started_at, least(now(), OLD.lease_expires_at));
    outcome  attempt_outcome := CASE
        WHEN NEW.status = 'succeeded' THEN 'succeeded'
        WHEN OLD.lease_expires_at <= now() THEN 'lost'
        WHEN NEW.status = 'cancelled' THEN 'cancelled'
        -- Handing back leaves no error behind.
        WHEN NEW.error_code IS NULL THEN 'handed_back'
        ELSE 'failed'
    END;
BEGIN
    NEW.compute_seconds := OLD.compute_seconds + extract(epoch FROM ended_at - OLD.started_at);
    INSERT INTO attempts (tenant, transfer, began_at, ended_at, outcome)
    VALUES (OLD.tenant, OLD.id, OLD.started_at, ended_at, outcome);
    RETURN NEW;
END
$$;
