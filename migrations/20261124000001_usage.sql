-- What a tenant has used within a day, attempt by attempt, and how much its results took.

CREATE TABLE attempts (
    id       uuid PRIMARY KEY DEFAULT uuid_v7(),
    tenant   uuid NOT NULL REFERENCES tenants,
    transfer uuid NOT NULL REFERENCES transfers ON DELETE CASCADE,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL CHECK (ended_at >= began_at)
);
CREATE INDEX attempts_ended ON attempts (tenant, ended_at);
CREATE INDEX attempts_of_transfer ON attempts (transfer);
COMMENT ON TABLE attempts IS 'When workers had a transfer: a row for each lease that ended, by whatever way.';
COMMENT ON COLUMN attempts.id IS 'UUIDv7.';
COMMENT ON COLUMN attempts.tenant IS 'For whom was computed.';
COMMENT ON COLUMN attempts.transfer IS 'What was computed.';
COMMENT ON COLUMN attempts.began_at IS 'When it was claimed.';
COMMENT ON COLUMN attempts.ended_at IS 'When the lease was given up or ran out.';

SELECT protect('attempts');

-- Of what ended before, the last attempt is all that is known.
INSERT INTO attempts (tenant, transfer, began_at, ended_at)
SELECT tenant, id, started_at, finished_at FROM transfers
WHERE started_at <= finished_at AND finished_at > now() - interval '24 hours';

CREATE OR REPLACE FUNCTION transfer_lease_ended() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended_at timestamptz := greatest(OLD.started_at, least(now(), OLD.lease_expires_at));
BEGIN
    NEW.compute_seconds := OLD.compute_seconds + extract(epoch FROM ended_at - OLD.started_at);
    INSERT INTO attempts (tenant, transfer, began_at, ended_at)
    VALUES (OLD.tenant, OLD.id, OLD.started_at, ended_at);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION transfer_lease_ended IS 'Keeps when workers computed, and adds it up.';

ALTER TABLE transfers ADD COLUMN result_bytes bigint CHECK (result_bytes >= 0);
COMMENT ON COLUMN transfers.result_bytes IS 'Bytes of its result''s files without the manifest; null: no result, or one from before this was kept.';

ALTER TABLE tenants ADD COLUMN max_result_bytes_per_day bigint CHECK (max_result_bytes_per_day >= 0);
COMMENT ON COLUMN tenants.max_result_bytes_per_day IS 'Bytes of results that its transfers may write within 24 hours; null: as the settings say.';
