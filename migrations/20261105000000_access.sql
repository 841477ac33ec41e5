-- Access: what a tenant may use, what was done in its name, and a second wall between tenants.

ALTER TABLE tenants
    ADD COLUMN max_queued_transfers        integer CHECK (max_queued_transfers >= 0),
    ADD COLUMN max_compute_seconds_per_day bigint CHECK (max_compute_seconds_per_day >= 0);
COMMENT ON COLUMN tenants.max_queued_transfers IS 'How many of its transfers may wait at once; null: as the settings say.';
COMMENT ON COLUMN tenants.max_compute_seconds_per_day IS 'Seconds that workers may compute for it within 24 hours; null: as the settings say.';

-- What was finished lately, for the seconds computed within a day.
CREATE INDEX transfers_finished ON transfers (tenant, finished_at) WHERE finished_at IS NOT NULL;

CREATE TYPE audit_outcome AS ENUM ('done', 'refused');

CREATE TABLE audit_events (
    id         uuid PRIMARY KEY DEFAULT uuid_v7(),
    tenant     uuid NOT NULL REFERENCES tenants,
    key        uuid REFERENCES api_keys,
    action     text NOT NULL,
    subject    text NOT NULL,
    outcome    audit_outcome NOT NULL,
    code       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT a_refusal_has_its_code CHECK ((outcome = 'refused') = (code IS NOT NULL))
);
CREATE INDEX audit_events_newest ON audit_events (tenant, id DESC);
COMMENT ON TABLE audit_events IS 'Who did what and when; rows are written in the transaction of the change and never changed.';
COMMENT ON COLUMN audit_events.id IS 'UUIDv7: newest first is by id.';
COMMENT ON COLUMN audit_events.tenant IS 'In whose name.';
COMMENT ON COLUMN audit_events.key IS 'By which key; null where the service runs open, and for the command line.';
COMMENT ON COLUMN audit_events.action IS 'What was done: transfer.submit, api_key.revoke; of a refusal the method and route.';
COMMENT ON COLUMN audit_events.subject IS 'What it was done to, as the API names it below /v1.';
COMMENT ON COLUMN audit_events.outcome IS 'Whether it was done.';
COMMENT ON COLUMN audit_events.code IS 'Why it was refused: the code of the problem.';
COMMENT ON COLUMN audit_events.created_at IS 'When.';

-- The second wall. Queries say whose rows they want; should one forget it, these policies hold. What
-- is done for a tenant runs in a transaction that has called `enter_tenant`; workers, senders and the
-- sweep serve all tenants and enter none. A superuser passes every policy, so that it first becomes
-- a role that does not; an owner is held by FORCE.
CREATE FUNCTION passes_policies() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user
$$;
COMMENT ON FUNCTION passes_policies IS 'Whether this user is held by no policy.';

DO $$
BEGIN
    IF passes_policies() THEN
        CREATE ROLE retune_tenant NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- Roles belong to the whole server: another database's schema has made it.
END
$$;

CREATE FUNCTION enter_tenant(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('retune.tenant', tenant::text, true);
    IF NOT row_security_active('transfers') THEN
        PERFORM set_config('role', 'retune_tenant', true);
    END IF;
END
$$;
COMMENT ON FUNCTION enter_tenant IS 'Until the end of the transaction nothing of another tenant can be seen or written.';

CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('retune.tenant', true), '')::uuid
$$;
COMMENT ON FUNCTION current_tenant IS 'The tenant that was entered; null: none.';

CREATE FUNCTION protect(protected regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
    EXECUTE format('CREATE POLICY of_the_tenant ON %s USING (tenant = current_tenant())', protected);
    EXECUTE format(
        'CREATE POLICY of_the_service ON %s TO CURRENT_USER USING (current_tenant() IS NULL)', protected);
    IF passes_policies() THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO retune_tenant', protected);
    END IF;
END
$$;
COMMENT ON FUNCTION protect IS 'Puts a table with a column "tenant" behind the wall. Every migration that adds one calls it.';

DO $$
DECLARE
    protected regclass;
BEGIN
    FOR protected IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
          AND a.attname = 'tenant' AND NOT a.attisdropped
        ORDER BY c.oid
    LOOP
        PERFORM protect(protected);
    END LOOP;
    IF passes_policies() THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO retune_tenant', current_schema());
        -- Tables that belong to no tenant; of the tenants themselves, the one that was entered.
        GRANT SELECT ON workers TO retune_tenant;
        GRANT SELECT, UPDATE ON tenants TO retune_tenant;
    END IF;
END
$$;
-- The one that clients ask most enters and looks in one statement.
CREATE FUNCTION transfer_of(tenant uuid, id uuid) RETURNS SETOF transfers
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 AS $$
BEGIN
    PERFORM set_config('retune.tenant', transfer_of.tenant::text, true);
    RETURN QUERY SELECT t.* FROM transfers t
        WHERE t.id = transfer_of.id AND t.tenant = transfer_of.tenant;
END
$$;
COMMENT ON FUNCTION transfer_of IS 'A tenant''s transfer, read as a user whom the policies hold.';
DO $$
BEGIN
    IF passes_policies() THEN
        ALTER FUNCTION transfer_of OWNER TO retune_tenant;
    END IF;
END
$$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON tenants USING (id = current_tenant());
CREATE POLICY of_the_service ON tenants TO CURRENT_USER USING (current_tenant() IS NULL);
