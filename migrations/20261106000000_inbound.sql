-- What object stores and registries call when a new base has landed.

CREATE TABLE inbound_tokens (
    id            uuid PRIMARY KEY,
    tenant        uuid NOT NULL REFERENCES tenants,
    base_model    uuid NOT NULL REFERENCES base_models,
    prefix        text NOT NULL,
    secret_sha256 bytea NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz
);
CREATE INDEX inbound_tokens_of_base_model ON inbound_tokens (base_model, id DESC);
COMMENT ON TABLE inbound_tokens IS 'Addresses for notifications: each belongs to one base model and one folder of its versions.';
COMMENT ON COLUMN inbound_tokens.id IS 'UUIDv7.';
COMMENT ON COLUMN inbound_tokens.tenant IS 'Whose it is.';
COMMENT ON COLUMN inbound_tokens.base_model IS 'What gets the versions.';
COMMENT ON COLUMN inbound_tokens.prefix IS 'The folder whose folders are the versions; nothing outside it is looked at.';
COMMENT ON COLUMN inbound_tokens.secret_sha256 IS 'SHA-256 of the token; its 256 random bits need no slow hash.';
COMMENT ON COLUMN inbound_tokens.created_at IS 'When it was made.';
COMMENT ON COLUMN inbound_tokens.last_used_at IS 'When it last brought a notification; null: never.';

SELECT protect('inbound_tokens');
