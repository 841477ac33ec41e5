//! The wall between tenants in the database itself, beneath the queries' own conditions.

use retune::{
    contract::ids::{TenantId, TransferId},
    service::{
        database::{
            Database,
            transfers::{self, Enqueue},
        },
        domain::access::{DEFAULT_TENANT, Role},
        registry::keys,
    },
};
use sqlx::Executor;
use uuid::Uuid;

use crate::support::{TestDatabase, enqueue};

/// Two tenants with rows in every table that the service fills by itself.
async fn two_tenants(test: &TestDatabase) -> [TenantId; 2] {
    let other = TenantId::generate();
    sqlx::query("INSERT INTO tenants (id, name) VALUES ($1, 'other')")
        .bind(other)
        .execute(&test.database.pool)
        .await
        .expect("a tenant");
    for tenant in [DEFAULT_TENANT, other] {
        keys::create(&test.database, "key", tenant, Role::Read, None)
            .await
            .expect("a key");
        sqlx::query(
            "INSERT INTO webhook_endpoints (id, tenant, name, url, events, enabled, secret)
             VALUES (gen_random_uuid(), $1, 'ci', 'https://example.com/', '{*}', true,
                     decode(repeat('00', 32), 'hex'))",
        )
        .bind(tenant)
        .execute(&test.database.pool)
        .await
        .expect("an endpoint");
        test.submit(Enqueue {
            tenant,
            ..enqueue()
        })
        .await;
    }
    [DEFAULT_TENANT, other]
}

/// The tables with a column `tenant`.
async fn tables(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.columns
         WHERE table_schema = 'public' AND column_name = 'tenant' ORDER BY 1",
    )
    .fetch_all(&database.pool)
    .await
    .expect("the catalogue")
}

#[tokio::test]
async fn every_table_of_tenants_is_behind_the_wall() {
    let test = TestDatabase::fresh().await;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
           AND a.attname = 'tenant' AND NOT a.attisdropped
           AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                    AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid))",
    )
    .fetch_all(&test.database.pool)
    .await
    .unwrap();
    assert_eq!(
        open,
        Vec::<String>::new(),
        "call protect('table') in the migration that adds it"
    );
}

#[tokio::test]
async fn a_query_that_forgets_the_tenant_sees_and_changes_nothing_of_another() {
    let test = TestDatabase::fresh().await;
    let [own, other] = two_tenants(&test).await;
    for table in tables(&test.database).await {
        let count = |condition: &str| format!("SELECT count(*) FROM {table} {condition}");
        let all: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count("")))
            .fetch_one(&test.database.pool)
            .await
            .unwrap();
        let mut scope = test.database.scope(own).await.unwrap();
        let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count("")))
            .fetch_one(&mut *scope)
            .await
            .unwrap();
        let theirs = sqlx::AssertSqlSafe(count(&format!("WHERE tenant = '{other}'")));
        let theirs: i64 = sqlx::query_scalar(theirs)
            .fetch_one(&mut *scope)
            .await
            .unwrap();
        assert_eq!(theirs, 0, "{table}");
        if [
            "api_keys",
            "transfers",
            "events",
            "webhook_endpoints",
            "deliveries",
            "audit_events",
        ]
        .contains(&table.as_str())
        {
            assert!(seen > 0 && seen < all, "{table}: {seen} of {all}");
        }
        let deleted = scope.execute(sqlx::AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE tenant = '{other}'"
        )));
        assert_eq!(deleted.await.unwrap().rows_affected(), 0, "{table}");
    }
    let mut scope = test.database.scope(own).await.unwrap();
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM tenants")
        .fetch_all(&mut *scope)
        .await
        .unwrap();
    assert_eq!(names, ["default"]);
    let smuggled = sqlx::query(
        "INSERT INTO audit_events (tenant, action, subject, outcome) VALUES ($1, 'x', 'x', 'done')",
    )
    .bind(other)
    .execute(&mut *scope)
    .await
    .unwrap_err();
    assert!(
        smuggled.to_string().contains("row-level security"),
        "{smuggled}"
    );
}

/// The one lookup that enters no scope runs as a user whom the policies hold.
#[tokio::test]
async fn the_lookup_by_function_is_behind_the_wall_too() {
    let test = TestDatabase::fresh().await;
    let [own, other] = two_tenants(&test).await;
    let held: bool = sqlx::query_scalar(
        "SELECT p.prosecdef AND NOT (r.rolsuper OR r.rolbypassrls)
         FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.proname = 'transfer_of'",
    )
    .fetch_one(&test.database.pool)
    .await
    .unwrap();
    assert!(held);
    let theirs: TransferId = sqlx::query_scalar("SELECT id FROM transfers WHERE tenant = $1")
        .bind(other)
        .fetch_one(&test.database.pool)
        .await
        .unwrap();
    let get = |tenant| transfers::get(&test.database, tenant, theirs);
    assert!(get(other).await.unwrap().is_some());
    assert!(get(own).await.unwrap().is_none());
}

#[tokio::test]
async fn the_wall_ends_with_the_transaction() {
    let test = TestDatabase::fresh().await;
    let [own, other] = two_tenants(&test).await;
    let one = Database::connect_to(&test.url, 1).await.unwrap();
    let count = "SELECT count(DISTINCT tenant) FROM transfers";
    for tenant in [own, other] {
        let mut scope = one.scope(tenant).await.unwrap();
        let seen: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *scope)
            .await
            .unwrap();
        assert_eq!(seen, 1);
        // Dropped, as readers do: the same connection is then as it was.
        drop(scope);
        let seen: i64 = sqlx::query_scalar(count)
            .fetch_one(&one.pool)
            .await
            .unwrap();
        assert_eq!(seen, 2);
    }
}

/// Where `DATABASE_URL` names an ordinary user who owns the tables, no role is switched.
#[tokio::test]
async fn the_wall_holds_for_an_owner_who_is_no_superuser() {
    let test = TestDatabase::fresh().await;
    let name = format!("owner_{}", Uuid::now_v7().simple());
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&test.database.pool)
        .await
        .unwrap();
    let schema = format!(
        "CREATE ROLE {name} LOGIN; CREATE SCHEMA {name} AUTHORIZATION {name};
         ALTER ROLE {name} IN DATABASE {database} SET search_path = {name}"
    );
    test.database
        .pool
        .execute(sqlx::AssertSqlSafe(schema))
        .await
        .unwrap();
    let url = test
        .url
        .replace("postgres://app@", &format!("postgres://{name}@"));
    let owned = Database::connect_to(&url, 2).await.unwrap();
    owned.migrate().await.unwrap();
    let other = TenantId::generate();
    let add = format!("INSERT INTO tenants (id, name) VALUES ('{other}', 'other')");
    owned.pool.execute(sqlx::AssertSqlSafe(add)).await.unwrap();
    for tenant in [DEFAULT_TENANT, other] {
        keys::create(&owned, "key", tenant, Role::Read, None)
            .await
            .unwrap();
    }
    let count = "SELECT count(*) FROM api_keys";
    let all: i64 = sqlx::query_scalar(count)
        .fetch_one(&owned.pool)
        .await
        .unwrap();
    let mut scope = owned.scope(other).await.unwrap();
    let seen: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut *scope)
        .await
        .unwrap();
    assert_eq!((all, seen), (2, 1));
    drop(scope);
    owned.pool.close().await;
    let tidy = format!("DROP OWNED BY {name} CASCADE; DROP ROLE {name}");
    test.database
        .pool
        .execute(sqlx::AssertSqlSafe(tidy))
        .await
        .unwrap();
}
