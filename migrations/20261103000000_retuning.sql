-- Retuning by itself: base models with versions and aliases, fine-tunes bound to a base version, the
-- retunes that a new version makes, and what came of them.

CREATE TYPE retune_status AS ENUM
    ('queued', 'running', 'paused', 'succeeded', 'partially_succeeded', 'failed', 'cancelled');
CREATE TYPE retune_reason AS ENUM ('new_version', 'alias_moved', 'by_hand');
CREATE TYPE policy_on AS ENUM ('new_version', 'alias_moved', 'manual');
CREATE TYPE policy_mode AS ENUM ('propose', 'publish', 'promote');
CREATE TYPE fine_tune_version_state AS ENUM ('proposed', 'published', 'rejected');
CREATE TYPE alias_move AS ENUM ('promoted', 'rolled_back');

CREATE TABLE base_models (
    id          uuid PRIMARY KEY,
    tenant      uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    description text,
    licence     text,
    metadata    jsonb NOT NULL DEFAULT '{}',
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name)
);
CREATE INDEX base_models_newest ON base_models (tenant, id DESC);
COMMENT ON TABLE base_models IS 'What models are tuned from. Its row''s lock puts arrivals of versions and changes of dependents in order.';
COMMENT ON COLUMN base_models.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN base_models.tenant IS 'Whose base model it is.';
COMMENT ON COLUMN base_models.name IS 'As the API''s paths name it.';
COMMENT ON COLUMN base_models.description IS 'For people.';
COMMENT ON COLUMN base_models.licence IS 'What its versions may be used for, unless they say otherwise.';
COMMENT ON COLUMN base_models.metadata IS 'The owner''s own labels, strings by strings.';
COMMENT ON COLUMN base_models.revision IS 'Counts changes of the description; the ETag.';
COMMENT ON COLUMN base_models.created_at IS 'When it was registered.';
COMMENT ON COLUMN base_models.updated_at IS 'When its description changed last.';

CREATE TABLE base_model_versions (
    id         uuid PRIMARY KEY,
    tenant     uuid NOT NULL REFERENCES tenants,
    base_model uuid NOT NULL REFERENCES base_models,
    version    text NOT NULL,
    uri        text NOT NULL,
    digest     text NOT NULL CHECK (length(digest) = 64),
    size       bigint NOT NULL CHECK (size >= 0),
    parent     uuid REFERENCES base_model_versions,
    licence    text,
    retires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (base_model, version)
);
CREATE INDEX base_model_versions_newest ON base_model_versions (base_model, id DESC);
COMMENT ON TABLE base_model_versions IS 'The models that a base model has been; rows never change.';
COMMENT ON COLUMN base_model_versions.id IS 'UUIDv7: the order of arrival.';
COMMENT ON COLUMN base_model_versions.tenant IS 'Whose it is.';
COMMENT ON COLUMN base_model_versions.base_model IS 'What it is a version of.';
COMMENT ON COLUMN base_model_versions.version IS 'Its name; the numbers in it say which of two versions is newer.';
COMMENT ON COLUMN base_model_versions.uri IS 'The folder of the model.';
COMMENT ON COLUMN base_model_versions.digest IS 'SHA-256, in hexadecimal, over names, sizes and digests of its model files.';
COMMENT ON COLUMN base_model_versions.size IS 'Bytes of its model files.';
COMMENT ON COLUMN base_model_versions.parent IS 'The version that it was made from, if that is known.';
COMMENT ON COLUMN base_model_versions.licence IS 'What it may be used for; null: as the base model says.';
COMMENT ON COLUMN base_model_versions.retires_at IS 'From when on it should not be used; null: not known.';
COMMENT ON COLUMN base_model_versions.created_at IS 'When it was registered.';

CREATE TABLE base_model_aliases (
    base_model uuid NOT NULL REFERENCES base_models,
    alias      text NOT NULL,
    tenant     uuid NOT NULL REFERENCES tenants,
    version    uuid NOT NULL REFERENCES base_model_versions,
    moved_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (base_model, alias)
);
COMMENT ON TABLE base_model_aliases IS 'Names that move from version to version: stable, latest.';
COMMENT ON COLUMN base_model_aliases.base_model IS 'Whose versions it names.';
COMMENT ON COLUMN base_model_aliases.alias IS 'The name.';
COMMENT ON COLUMN base_model_aliases.tenant IS 'Whose it is.';
COMMENT ON COLUMN base_model_aliases.version IS 'Where it stands.';
COMMENT ON COLUMN base_model_aliases.moved_at IS 'Since when it stands there.';

CREATE TABLE base_model_alias_moves (
    id         uuid PRIMARY KEY,
    tenant     uuid NOT NULL REFERENCES tenants,
    base_model uuid NOT NULL REFERENCES base_models,
    alias      text NOT NULL,
    version    uuid NOT NULL REFERENCES base_model_versions,
    previous   uuid REFERENCES base_model_versions,
    moved_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX base_model_alias_moves_of_alias ON base_model_alias_moves (base_model, alias, id DESC);
COMMENT ON TABLE base_model_alias_moves IS 'Where the aliases of base models have stood.';
COMMENT ON COLUMN base_model_alias_moves.id IS 'UUIDv7: the order of moves.';
COMMENT ON COLUMN base_model_alias_moves.tenant IS 'Whose it is.';
COMMENT ON COLUMN base_model_alias_moves.base_model IS 'Whose versions the alias names.';
COMMENT ON COLUMN base_model_alias_moves.alias IS 'The alias.';
COMMENT ON COLUMN base_model_alias_moves.version IS 'Where it moved to.';
COMMENT ON COLUMN base_model_alias_moves.previous IS 'Where it stood before; null: it is new.';
COMMENT ON COLUMN base_model_alias_moves.moved_at IS 'When it moved.';

CREATE TABLE fine_tunes (
    id           uuid PRIMARY KEY,
    tenant       uuid NOT NULL REFERENCES tenants,
    name         text NOT NULL,
    base_model   uuid NOT NULL REFERENCES base_models,
    base_version uuid NOT NULL REFERENCES base_model_versions,
    trajectory   text NOT NULL,
    data         jsonb,
    spec         jsonb NOT NULL,
    policy_on    policy_on NOT NULL,
    policy_alias text,
    policy_mode  policy_mode NOT NULL,
    revision     bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name),
    CONSTRAINT an_alias_is_followed_by_name CHECK
        ((policy_on = 'alias_moved') = (policy_alias IS NOT NULL))
);
CREATE INDEX fine_tunes_newest ON fine_tunes (tenant, id DESC);
CREATE INDEX fine_tunes_of_base_model ON fine_tunes (base_model, id);
COMMENT ON TABLE fine_tunes IS 'Tunings of base models that are to be carried over to what comes next.';
COMMENT ON COLUMN fine_tunes.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN fine_tunes.tenant IS 'Whose fine-tune it is.';
COMMENT ON COLUMN fine_tunes.name IS 'As the API''s paths name it.';
COMMENT ON COLUMN fine_tunes.base_model IS 'What it was tuned from.';
COMMENT ON COLUMN fine_tunes.base_version IS 'The version that it was tuned from: the source of every transfer.';
COMMENT ON COLUMN fine_tunes.trajectory IS 'What it became, and how.';
COMMENT ON COLUMN fine_tunes.data IS 'The data of its transfers; null: none, or as the specification says.';
COMMENT ON COLUMN fine_tunes.spec IS 'A job specification without source and target.';
COMMENT ON COLUMN fine_tunes.policy_on IS 'What makes a transfer.';
COMMENT ON COLUMN fine_tunes.policy_alias IS 'The base model''s alias that it follows, if it follows one.';
COMMENT ON COLUMN fine_tunes.policy_mode IS 'How far a result goes by itself.';
COMMENT ON COLUMN fine_tunes.revision IS 'Counts changes by its owner; the ETag.';
COMMENT ON COLUMN fine_tunes.created_at IS 'When it was registered.';
COMMENT ON COLUMN fine_tunes.updated_at IS 'When its owner changed it last.';

CREATE TABLE retunes (
    id                  uuid PRIMARY KEY,
    tenant              uuid NOT NULL REFERENCES tenants,
    reason              retune_reason NOT NULL,
    base_model          uuid REFERENCES base_models,
    base_version        uuid REFERENCES base_model_versions,
    status              retune_status NOT NULL DEFAULT 'queued',
    max_concurrent      integer CHECK (max_concurrent >= 1),
    max_compute_seconds bigint CHECK (max_compute_seconds >= 1),
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CONSTRAINT a_version_is_of_a_base_model CHECK ((base_model IS NULL) = (base_version IS NULL)),
    CONSTRAINT finished_when_final CHECK
        ((status IN ('succeeded', 'partially_succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
CREATE INDEX retunes_newest ON retunes (tenant, id DESC);
CREATE INDEX retunes_of_status ON retunes (tenant, status, id DESC);
CREATE INDEX retunes_of_base_version ON retunes (base_version, id);
COMMENT ON TABLE retunes IS 'All transfers of one occasion: a new base version, an alias that moved, a wish.';
COMMENT ON COLUMN retunes.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN retunes.tenant IS 'Whose retune it is.';
COMMENT ON COLUMN retunes.reason IS 'The occasion.';
COMMENT ON COLUMN retunes.base_model IS 'What has a new version; null: the targets were given by location.';
COMMENT ON COLUMN retunes.base_version IS 'The target of all its transfers; null: the targets were given by location.';
COMMENT ON COLUMN retunes.status IS 'Follows from its transfers, and from a wish to pause.';
COMMENT ON COLUMN retunes.max_concurrent IS 'How many of its transfers may be at work at once; null: any number.';
COMMENT ON COLUMN retunes.max_compute_seconds IS 'After how many seconds of computing no further transfer begins; null: never.';
COMMENT ON COLUMN retunes.created_at IS 'When it was made.';
COMMENT ON COLUMN retunes.started_at IS 'When its first transfer was claimed.';
COMMENT ON COLUMN retunes.finished_at IS 'When its last transfer ended.';

ALTER TABLE transfers
    ADD COLUMN retune          uuid REFERENCES retunes,
    ADD COLUMN fine_tune       uuid REFERENCES fine_tunes,
    ADD COLUMN base_version    uuid REFERENCES base_model_versions,
    ADD COLUMN base_digest     text,
    ADD COLUMN held            boolean NOT NULL DEFAULT false,
    ADD COLUMN compute_seconds double precision NOT NULL DEFAULT 0,
    ADD CONSTRAINT a_member_is_of_a_fine_tune CHECK ((retune IS NULL) = (fine_tune IS NULL)),
    ADD CONSTRAINT only_members_are_held CHECK (NOT held OR retune IS NOT NULL),
    -- However often and from wherever a base arrives: one transfer.
    ADD CONSTRAINT one_transfer_a_fine_tune_and_base UNIQUE (fine_tune, base_digest);
CREATE INDEX transfers_of_retune ON transfers (retune, id) WHERE retune IS NOT NULL;
COMMENT ON COLUMN transfers.retune IS 'The retune that it belongs to, if any.';
COMMENT ON COLUMN transfers.fine_tune IS 'The fine-tune that it carries over, if it belongs to a retune.';
COMMENT ON COLUMN transfers.base_version IS 'The registered version that is its target, if any.';
COMMENT ON COLUMN transfers.base_digest IS 'Digest of that version; null where the targets were given by location, which may be repeated.';
COMMENT ON COLUMN transfers.held IS 'No worker may claim it: its retune is paused or has as many at work as it may.';
COMMENT ON COLUMN transfers.compute_seconds IS 'How long workers held it in ended attempts (trigger).';

DROP INDEX transfers_to_claim;
CREATE INDEX transfers_to_claim ON transfers (available_at)
    WHERE status IN ('queued', 'running') AND NOT held;

-- Whoever ends a lease, by whatever way, has counted its time.
CREATE FUNCTION transfer_lease_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.compute_seconds := OLD.compute_seconds + greatest(0, extract(epoch FROM
        least(now(), OLD.lease_expires_at) - OLD.started_at));
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION transfer_lease_ended IS 'Adds up the seconds that workers computed.';
CREATE TRIGGER transfer_lease_ended BEFORE UPDATE ON transfers
    FOR EACH ROW WHEN (OLD.lease_token IS NOT NULL AND OLD.lease_token IS DISTINCT FROM NEW.lease_token)
    EXECUTE FUNCTION transfer_lease_ended();

CREATE FUNCTION transfer_released() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('transfer_queued', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION transfer_released IS 'Tells workers of a transfer that is no longer held.';
CREATE TRIGGER transfer_released AFTER UPDATE ON transfers
    FOR EACH ROW WHEN (OLD.held AND NOT NEW.held AND NEW.status = 'queued')
    EXECUTE FUNCTION transfer_released();

CREATE TABLE fine_tune_versions (
    id              uuid PRIMARY KEY,
    tenant          uuid NOT NULL REFERENCES tenants,
    fine_tune       uuid NOT NULL REFERENCES fine_tunes,
    number          integer NOT NULL CHECK (number >= 1),
    state           fine_tune_version_state NOT NULL,
    parent          uuid REFERENCES fine_tune_versions,
    base_version    uuid REFERENCES base_model_versions,
    transfer        uuid NOT NULL UNIQUE REFERENCES transfers,
    source_base     text NOT NULL,
    trajectory      text NOT NULL,
    target_base     text NOT NULL,
    method          text,
    uri             text NOT NULL,
    manifest_sha256 text NOT NULL,
    verdict         transfer_verdict NOT NULL,
    recommendation  transfer_recommendation,
    metrics         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (fine_tune, number),
    CONSTRAINT rejected_by_its_verdict CHECK ((state = 'rejected') = (verdict = 'rejected'))
);
COMMENT ON TABLE fine_tune_versions IS 'What came of carrying fine-tunes over, with where it came from.';
COMMENT ON COLUMN fine_tune_versions.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN fine_tune_versions.tenant IS 'Whose it is.';
COMMENT ON COLUMN fine_tune_versions.fine_tune IS 'What it is a version of.';
COMMENT ON COLUMN fine_tune_versions.number IS '1, 2, 3 …, as the API''s paths name it.';
COMMENT ON COLUMN fine_tune_versions.state IS 'proposed until somebody takes it, published, or rejected for good.';
COMMENT ON COLUMN fine_tune_versions.parent IS 'The version before it that was not rejected; null: there was none.';
COMMENT ON COLUMN fine_tune_versions.base_version IS 'The registered version that it stands on; null: the target was given by location.';
COMMENT ON COLUMN fine_tune_versions.transfer IS 'The transfer that made it.';
COMMENT ON COLUMN fine_tune_versions.source_base IS 'The old base, as the transfer read it.';
COMMENT ON COLUMN fine_tune_versions.trajectory IS 'The tuning, as the transfer read it.';
COMMENT ON COLUMN fine_tune_versions.target_base IS 'The new base, as the transfer read it.';
COMMENT ON COLUMN fine_tune_versions.method IS 'The winning method; null: the report names none.';
COMMENT ON COLUMN fine_tune_versions.uri IS 'The folder of the result.';
COMMENT ON COLUMN fine_tune_versions.manifest_sha256 IS 'Digest of its manifest.json, in hexadecimal.';
COMMENT ON COLUMN fine_tune_versions.verdict IS 'Whether there is a model or only a report.';
COMMENT ON COLUMN fine_tune_versions.recommendation IS 'What the evidence says the owner should do.';
COMMENT ON COLUMN fine_tune_versions.metrics IS 'The winning candidate''s figures.';
COMMENT ON COLUMN fine_tune_versions.created_at IS 'When the transfer ended.';

CREATE TABLE fine_tune_aliases (
    fine_tune uuid NOT NULL REFERENCES fine_tunes,
    alias     text NOT NULL,
    tenant    uuid NOT NULL REFERENCES tenants,
    version   uuid NOT NULL REFERENCES fine_tune_versions,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (fine_tune, alias)
);
COMMENT ON TABLE fine_tune_aliases IS 'Which version consumers should use: production, and others by hand.';
COMMENT ON COLUMN fine_tune_aliases.fine_tune IS 'Whose versions it names.';
COMMENT ON COLUMN fine_tune_aliases.alias IS 'The name.';
COMMENT ON COLUMN fine_tune_aliases.tenant IS 'Whose it is.';
COMMENT ON COLUMN fine_tune_aliases.version IS 'Where it stands.';
COMMENT ON COLUMN fine_tune_aliases.moved_at IS 'Since when it stands there.';

CREATE TABLE fine_tune_alias_moves (
    id        uuid PRIMARY KEY,
    tenant    uuid NOT NULL REFERENCES tenants,
    fine_tune uuid NOT NULL REFERENCES fine_tunes,
    alias     text NOT NULL,
    move      alias_move NOT NULL,
    version   uuid NOT NULL REFERENCES fine_tune_versions,
    previous  uuid REFERENCES fine_tune_versions,
    moved_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX fine_tune_alias_moves_of_alias ON fine_tune_alias_moves (fine_tune, alias, id DESC);
COMMENT ON TABLE fine_tune_alias_moves IS 'Where the aliases of fine-tunes have stood; a rollback reads it.';
COMMENT ON COLUMN fine_tune_alias_moves.id IS 'UUIDv7: the order of moves.';
COMMENT ON COLUMN fine_tune_alias_moves.tenant IS 'Whose it is.';
COMMENT ON COLUMN fine_tune_alias_moves.fine_tune IS 'Whose versions the alias names.';
COMMENT ON COLUMN fine_tune_alias_moves.alias IS 'The alias.';
COMMENT ON COLUMN fine_tune_alias_moves.move IS 'Forward or back.';
COMMENT ON COLUMN fine_tune_alias_moves.version IS 'Where it moved to.';
COMMENT ON COLUMN fine_tune_alias_moves.previous IS 'Where it stood before; null: it is new.';
COMMENT ON COLUMN fine_tune_alias_moves.moved_at IS 'When it moved.';
