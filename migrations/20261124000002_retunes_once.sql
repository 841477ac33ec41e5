-- A retune by hand is begun once per key, as a transfer is.
ALTER TABLE retunes
    ADD COLUMN idempotency_key text,
    ADD COLUMN request_sha256  bytea CHECK (length(request_sha256) = 32),
    ADD UNIQUE (tenant, idempotency_key),
    ADD CONSTRAINT a_key_has_its_request CHECK ((idempotency_key IS NULL) = (request_sha256 IS NULL));
COMMENT ON COLUMN retunes.idempotency_key IS 'The asker''s key: a second request with it begins no second retune.';
COMMENT ON COLUMN retunes.request_sha256 IS 'SHA-256 of the request that came with the key.';
