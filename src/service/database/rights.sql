-- What keeps the database from working for this user: one row a fault, `right_text` for people and the
-- `statement` that mends it. Nothing where all is in order. Whatever a dump, a restore or a change of the
-- user can lose is looked at: row-level security, its policies, the role that superusers become, grants.
WITH me AS (
    SELECT oid, quote_ident(rolname) AS name, rolsuper AS super, rolsuper OR rolbypassrls AS passes
    FROM pg_roles WHERE rolname = current_user
), home AS (
    SELECT n.oid, quote_ident(n.nspname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('transfers')
), held_role AS (
    SELECT oid FROM pg_roles WHERE rolname = 'retune_tenant'
), lookup AS (
    SELECT p.oid, r.oid AS owner, r.rolsuper OR r.rolbypassrls AS passes
    FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
    WHERE p.oid = to_regprocedure('transfer_of(uuid, uuid)')
), needs_role AS (
    SELECT me.passes OR lookup.passes OR lookup.owner IN (SELECT oid FROM held_role) AS it
    FROM me CROSS JOIN lookup
), protected AS (
    -- Only tables of ours: another program's in the same schema may have a column of that name.
    SELECT c.oid, home.name || '.' || quote_ident(c.relname) AS name,
           CASE WHEN c.relname = 'tenants' THEN 'id' ELSE 'tenant' END AS owner_column,
           CASE WHEN c.relname = 'tenants' THEN 'SELECT, UPDATE' ELSE 'SELECT, INSERT, UPDATE, DELETE' END
               AS of_tenants,
           c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c JOIN home ON home.oid = c.relnamespace
    WHERE c.relkind = 'r' AND EXISTS (
        SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname IN ('of_the_tenant', 'of_the_service'))
), policies AS (
    SELECT p.oid AS relation, wanted.name AS policy, p.name,
           replace(wanted.condition, '%', p.owner_column) AS condition, found.polroles
    FROM protected p
    CROSS JOIN (VALUES ('of_the_tenant', '% = current_tenant()'),
                       ('of_the_service', 'current_tenant() IS NULL')) AS wanted (name, condition)
    LEFT JOIN pg_policy found ON found.polrelid = p.oid AND found.polname = wanted.name
), tables AS (
    SELECT oid, name, of_tenants, 'SELECT, INSERT, UPDATE, DELETE' AS of_the_service FROM protected
    UNION ALL
    SELECT to_regclass('workers'), home.name || '.workers', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE' FROM home
    UNION ALL
    SELECT to_regclass('service_clock'), home.name || '.service_clock', NULL, 'SELECT, INSERT, UPDATE' FROM home
    UNION ALL
    SELECT to_regclass('transfer_grams'), home.name || '.transfer_grams', 'SELECT, INSERT', 'SELECT, INSERT' FROM home
    UNION ALL
    SELECT to_regclass('_sqlx_migrations'), home.name || '._sqlx_migrations', NULL, 'SELECT' FROM home
), functions AS (
    SELECT to_regprocedure(signature) AS oid, home.name || '.' || signature AS name
    FROM home CROSS JOIN (VALUES ('enter_tenant(uuid)'), ('current_tenant()'), ('transfer_of(uuid, uuid)'),
                                 ('uuid_v7()'), ('passes_policies()'), ('search_grams(uuid, text)'),
                                 ('search_mark(uuid)')) AS f (signature)
), users AS (
    -- Who reads and writes: this user, and the role that it becomes for a tenant.
    SELECT oid, name, false AS is_held FROM me
    UNION ALL
    SELECT held_role.oid, 'retune_tenant', true FROM held_role CROSS JOIN needs_role WHERE needs_role.it
), faults (step, right_text, statement) AS (
    SELECT 1, 'the role retune_tenant, which a user whom policies do not hold becomes for a tenant',
           'CREATE ROLE retune_tenant NOLOGIN'
    FROM needs_role WHERE it AND NOT EXISTS (SELECT 1 FROM held_role)
    UNION ALL
    SELECT 2, format('membership of %s in the role retune_tenant', me.name),
           format('GRANT retune_tenant TO %s', me.name)
    FROM me CROSS JOIN held_role
    WHERE me.passes AND NOT me.super AND NOT pg_has_role(me.oid, held_role.oid, 'MEMBER')
    UNION ALL
    SELECT 3, format('row-level security on %s', name), format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name)
    FROM protected WHERE NOT relrowsecurity
    UNION ALL
    SELECT 4, format('row-level security on %s for its owner too', name),
           format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', name)
    FROM protected WHERE NOT relforcerowsecurity
    UNION ALL
    SELECT 5, format('the policy %s on %s', policy, name),
           format('CREATE POLICY %s ON %s USING (%s)', policy, name, condition)
    FROM policies WHERE polroles IS NULL
    UNION ALL
    SELECT 6, format('the policy %s on %s for every user', policy, name),
           format('ALTER POLICY %s ON %s TO PUBLIC', policy, name)
    FROM policies WHERE polroles <> '{0}'
    UNION ALL
    SELECT 7, format('use of the schema %s for %s', home.name, u.name),
           format('GRANT USAGE ON SCHEMA %s TO %s', home.name, u.name)
    FROM users u CROSS JOIN home WHERE NOT has_schema_privilege(u.oid, home.oid, 'USAGE')
    UNION ALL
    SELECT 8, format('%s on %s for %s', wanted.privileges, t.name, u.name),
           format('GRANT %s ON %s TO %s', wanted.privileges, t.name, u.name)
    FROM users u CROSS JOIN tables t
    CROSS JOIN LATERAL (SELECT CASE WHEN u.is_held THEN t.of_tenants ELSE t.of_the_service END) AS wanted (privileges)
    WHERE t.oid IS NOT NULL AND EXISTS (
        SELECT 1 FROM unnest(string_to_array(wanted.privileges, ', ')) AS privilege
        WHERE NOT has_table_privilege(u.oid, t.oid, privilege))
    UNION ALL
    SELECT 9, format('execution of %s for %s', f.name, u.name),
           format('GRANT EXECUTE ON FUNCTION %s TO %s', f.name, u.name)
    FROM users u CROSS JOIN functions f
    WHERE f.oid IS NOT NULL AND NOT has_function_privilege(u.oid, f.oid, 'EXECUTE')
    UNION ALL
    SELECT 10, 'an owner of the function transfer_of whom policies hold',
           format('ALTER FUNCTION %s.transfer_of(uuid, uuid) OWNER TO retune_tenant', home.name)
    FROM lookup CROSS JOIN home WHERE lookup.passes
)
SELECT right_text, statement FROM faults ORDER BY step, statement
