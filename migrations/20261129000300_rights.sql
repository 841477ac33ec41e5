-- Policies name no user: a policy for whoever ran the schema's steps is lost in a restore under another
-- user, and hides every row from a second one. `of_the_service` asks whether a tenant was entered, and
-- that is the same for every user. Grants and roles are put in order at every start (`database/rights`).
CREATE OR REPLACE FUNCTION protect(protected regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
    EXECUTE format('CREATE POLICY of_the_tenant ON %s USING (tenant = current_tenant())', protected);
    EXECUTE format('CREATE POLICY of_the_service ON %s USING (current_tenant() IS NULL)', protected);
    IF passes_policies() THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO retune_tenant', protected);
    END IF;
END
$$;

DO $$
DECLARE
    protected regclass;
BEGIN
    FOR protected IN
        SELECT c.oid::regclass FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = current_schema()::regnamespace AND p.polname = 'of_the_service'
        ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER POLICY of_the_service ON %s TO PUBLIC', protected);
    END LOOP;
END
$$;
