-- A transfer that failed or was cancelled uses nothing up: the next occasion makes another.
ALTER TABLE transfers DROP CONSTRAINT one_transfer_a_fine_tune_and_base;
CREATE UNIQUE INDEX one_transfer_a_fine_tune_and_base ON transfers (fine_tune, base_digest)
    WHERE status NOT IN ('failed', 'cancelled');
COMMENT ON INDEX one_transfer_a_fine_tune_and_base IS 'However often and from wherever a base arrives: at most one transfer that lives or has succeeded.';

COMMENT ON COLUMN audit_events.key IS 'By which key; null where the service runs open, for the command line, and for what the service does by itself.';
