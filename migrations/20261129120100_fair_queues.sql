-- Queues that are fair between tenants, however much one of them has waiting. Who claims steps from tenant to
-- tenant by the first columns of these indexes, and reads of each what it may take, never all that is due.

-- Those of one endpoint; all callbacks of a tenant count as one.
ALTER TABLE deliveries ADD COLUMN lane uuid GENERATED ALWAYS AS (coalesce(endpoint, tenant)) STORED;
COMMENT ON COLUMN deliveries.lane IS 'What shares the few posts that one receiver may keep open: the endpoint, or the tenant for its jobs'' callbacks.';

DROP INDEX deliveries_due;
DROP INDEX deliveries_in_flight;
CREATE INDEX deliveries_to_claim ON deliveries (tenant, lane, next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX deliveries_in_flight ON deliveries (tenant, lane) WHERE lease_token IS NOT NULL;

-- A receiver may say when it wants to be asked again.
ALTER TABLE webhook_endpoints ADD COLUMN paused_until timestamptz;
COMMENT ON COLUMN webhook_endpoints.paused_until IS 'Until then nothing is posted: its last refusal said so (Retry-After); null: it did not.';

DROP INDEX arrivals_due;
CREATE INDEX arrivals_to_claim ON arrivals (tenant, next_look_at, id) WHERE status = 'waiting';

DROP INDEX transfers_to_claim;
CREATE INDEX transfers_to_claim ON transfers (tenant, available_at, id)
    WHERE status IN ('queued', 'running') AND NOT held;
-- Whose turn it is: the tenant that was served longest ago.
CREATE INDEX transfers_last_started ON transfers (tenant, started_at DESC) WHERE started_at IS NOT NULL;
-- How many each tenant has at work.
CREATE INDEX transfers_at_work ON transfers (tenant) WHERE status IN ('running', 'cancelling');
