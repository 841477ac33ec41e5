-- What waits at a disabled endpoint ends: enabling it again is a new beginning.
COMMENT ON COLUMN webhook_endpoints.enabled IS 'Whether anything is posted; what still waits when it is disabled ends.';
UPDATE deliveries d
SET status = 'failed', finished_at = now(), lease_token = NULL,
    error = coalesce(error, 'the endpoint is disabled')
FROM webhook_endpoints e
WHERE e.id = d.endpoint AND NOT e.enabled AND d.status = 'pending';

-- What runs with its owner's rights finds its tables where they are, whatever the caller's search path.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION transfer_of SET search_path = %I, pg_temp', current_schema());
END
$$;
