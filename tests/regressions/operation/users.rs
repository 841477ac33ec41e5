//! Other users of a database that works: they go on, or are told which right is missing.

use retune::{
    contract::ids::WorkerId,
    service::{
        database::{
            Database, Readiness,
            transfers::{self, ListFilter},
        },
        domain::access::DEFAULT_TENANT,
        registry::{attempts, submit},
    },
};
use sqlx::AssertSqlSafe;

use super::server::{BOSS, Server, run};
use crate::support::{LONG, enqueue};

/// The statements that a refusal ends with.
fn statements(refusal: &str) -> Vec<&str> {
    refusal
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect()
}

async fn connect(url: &str) -> Database {
    Database::connect_to(url, 4)
        .await
        .expect("the server answers")
}

async fn works(database: &Database) {
    let queued = submit::enqueue(database, enqueue())
        .await
        .expect("a tenant writes")
        .transfer;
    let filter = ListFilter {
        limit: 9,
        ..ListFilter::default()
    };
    let listed = transfers::list(database, DEFAULT_TENANT, &filter).await;
    assert!(
        listed
            .expect("a tenant reads")
            .iter()
            .any(|one| one.id == queued.id)
    );
    let lease = attempts::claim(database, WorkerId::generate(), LONG)
        .await
        .expect("the database answers");
    assert!(lease.is_some(), "a worker finds it");
}

/// An owner who is no superuser, and its migrated database.
async fn owned(server: &Server) -> String {
    run(&server.url(BOSS, "postgres"), "CREATE ROLE plain LOGIN").await;
    let url = server.database("service", "plain").await;
    let database = connect(&url).await;
    database.migrate().await.expect("the schema");
    works(&database).await;
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_login_user_works_with_the_statements_that_its_refusal_names() {
    let server = Server::foreign().await;
    let owner = connect(&owned(&server).await).await;
    run(
        &server.url(BOSS, "postgres"),
        "CREATE ROLE \"rotated-2\" LOGIN",
    )
    .await;
    let database = connect(&server.url("rotated-2", "service")).await;

    let refusal = database
        .migrate()
        .await
        .expect_err("it lacks rights")
        .to_string();
    assert!(
        refusal.contains("the database user \"rotated-2\" lacks rights"),
        "{refusal}"
    );
    let wanted = "GRANT SELECT, INSERT, UPDATE, DELETE ON public.transfers TO \"rotated-2\";";
    assert!(statements(&refusal).contains(&wanted), "{refusal}");
    assert!(matches!(
        database.is_ready().await.expect("it answers"),
        Readiness::Rights(_)
    ));
    for statement in statements(&refusal) {
        let given = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&owner.pool)
            .await;
        given.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.migrate().await.expect("it lacks nothing now");
    assert!(matches!(
        database.is_ready().await.expect("it answers"),
        Readiness::Ready
    ));
    works(&database).await;

    // One right alone is missing.
    run(
        &server.url(BOSS, "service"),
        "REVOKE DELETE ON deliveries FROM \"rotated-2\"",
    )
    .await;
    let refusal = database
        .migrate()
        .await
        .expect_err("it lacks a right")
        .to_string();
    assert_eq!(
        statements(&refusal),
        ["GRANT SELECT, INSERT, UPDATE, DELETE ON public.deliveries TO \"rotated-2\";"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_works_on_a_database_of_an_ordinary_owner_and_the_owner_after_it() {
    let server = Server::foreign().await;
    let url = owned(&server).await;
    let boss = connect(&server.url(BOSS, "service")).await;
    assert!(matches!(
        boss.is_ready().await.expect("it answers"),
        Readiness::Rights(_)
    ));
    boss.migrate().await.expect("rights are put in order");
    works(&boss).await;
    let owner = connect(&url).await;
    owner.migrate().await.expect("nothing is missing");
    works(&owner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_named_while_it_is_lost_and_comes_back_at_the_next_start() {
    let server = Server::foreign().await;
    let url = server.database("service", BOSS).await;
    let database = connect(&url).await;
    database.migrate().await.expect("the schema");
    for (loss, named) in [
        (
            "REVOKE SELECT ON transfers FROM retune_tenant",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON public.transfers",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC, retune_tenant",
            "GRANT USAGE ON SCHEMA public TO retune_tenant",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION current_tenant() FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION public.current_tenant()",
        ),
        (
            "DROP POLICY of_the_service ON transfers",
            "CREATE POLICY of_the_service ON public.transfers",
        ),
        (
            "DROP POLICY of_the_tenant ON events",
            "CREATE POLICY of_the_tenant ON public.events",
        ),
        (
            "ALTER POLICY of_the_service ON events TO boss",
            "ALTER POLICY of_the_service ON public.events TO PUBLIC",
        ),
        (
            "ALTER TABLE deliveries NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE public.deliveries FORCE ROW LEVEL",
        ),
        (
            "ALTER TABLE api_keys DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE public.api_keys ENABLE ROW LEVEL",
        ),
        (
            "ALTER FUNCTION transfer_of OWNER TO boss",
            "transfer_of(uuid, uuid) OWNER TO retune_tenant",
        ),
        (
            "REASSIGN OWNED BY retune_tenant TO boss; DROP OWNED BY retune_tenant; DROP ROLE retune_tenant",
            "CREATE ROLE retune_tenant NOLOGIN",
        ),
    ] {
        run(&url, loss).await;
        match database.is_ready().await.expect("it answers") {
            Readiness::Rights(error) => {
                assert!(error.to_string().contains(named), "{loss}: {error}");
            }
            other => panic!("{loss}: {other:?}"),
        }
        database
            .migrate()
            .await
            .unwrap_or_else(|error| panic!("{loss}: {error}"));
        works(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_change_an_old_schema_is_told_who_may() {
    let server = Server::foreign().await;
    let url = owned(&server).await;
    run(
        &server.url(BOSS, "service"),
        "CREATE ROLE second LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO second;
         DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .await;
    let second = connect(&server.url("second", "service")).await;
    let refusal = second
        .migrate()
        .await
        .expect_err("the schema is old")
        .to_string();
    assert!(
        refusal.contains("the database user second may not change it"),
        "{refusal}"
    );
    assert!(
        refusal.contains("`retune migrate` once with a DATABASE_URL of plain"),
        "{refusal}"
    );
    drop(url);

    // An empty database in which nobody may make anything.
    run(&server.url(BOSS, "postgres"), "CREATE DATABASE empty").await;
    let refusal = connect(&server.url("second", "empty"))
        .await
        .migrate()
        .await;
    let refusal = refusal.expect_err("nothing may be made").to_string();
    assert!(
        refusal.contains("GRANT USAGE, CREATE ON SCHEMA public TO second"),
        "{refusal}"
    );

    run(
        &server.url(BOSS, "postgres"),
        "CREATE ROLE hosted LOGIN BYPASSRLS CREATEROLE",
    )
    .await;
    let url = server.database("hosted", "hosted").await;
    let refusal = connect(&url)
        .await
        .migrate()
        .await
        .expect_err("it passes every policy")
        .to_string();
    assert!(
        refusal.contains("ALTER ROLE hosted NOBYPASSRLS"),
        "{refusal}"
    );
    run(
        &server.url(BOSS, "postgres"),
        "ALTER ROLE hosted NOBYPASSRLS",
    )
    .await;
    let hosted = connect(&url).await;
    hosted.migrate().await.expect("an ordinary owner");
    works(&hosted).await;
}
