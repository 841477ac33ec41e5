-- Gates by another program: the result lies in a staging place until an answer comes or is overdue. Then the
-- transfer is queued again, and a worker puts the result in its place or writes the rejection.

ALTER TABLE transfers
    ADD COLUMN staged_uri          text,
    ADD COLUMN evaluation_deadline timestamptz,
    ADD COLUMN evaluation          jsonb,
    ADD COLUMN evaluated_at        timestamptz,
    ADD CONSTRAINT what_waits_for_an_evaluation_has_a_deadline CHECK
        (status <> 'awaiting_evaluation'
         OR (staged_uri IS NOT NULL AND evaluation_deadline IS NOT NULL AND evaluation IS NULL)),
    ADD CONSTRAINT an_evaluation_has_its_time CHECK ((evaluation IS NULL) = (evaluated_at IS NULL));
CREATE INDEX transfers_awaiting_evaluation ON transfers (evaluation_deadline)
    WHERE status = 'awaiting_evaluation';
COMMENT ON COLUMN transfers.status IS 'queued, running, (awaiting_evaluation, then queued and running again), (cancelling), then succeeded, failed or cancelled.';
COMMENT ON COLUMN transfers.staged_uri IS 'The folder of the result that waits for an evaluation; null: there is none, or it is in its place.';
COMMENT ON COLUMN transfers.evaluation_deadline IS 'Until when an evaluation is waited for; null: none is.';
COMMENT ON COLUMN transfers.evaluation IS 'What the other program says of the staged result, or that it said nothing in time; null: not yet.';
COMMENT ON COLUMN transfers.evaluated_at IS 'When that came.';

-- An attempt that leaves a result to be evaluated has ended well.
CREATE OR REPLACE FUNCTION transfer_lease_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended_at timestamptz := greatest(OLD.started_at, least(now(), OLD.lease_expires_at));
    outcome  attempt_outcome := CASE
        WHEN NEW.status IN ('succeeded', 'awaiting_evaluation') THEN 'succeeded'
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
