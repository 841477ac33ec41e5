//! A dump of a private cluster, restored into a server that has none of its roles.

use std::{collections::BTreeMap, path::PathBuf};

use retune::{
    contract::{ids::TransferId, spec::ExternalGate},
    pipeline::Verdict,
    service::{
        database::{
            Database, Readiness,
            transfers::{self, Enqueue, ListFilter},
        },
        domain::{
            access::{DEFAULT_TENANT, Role},
            transfers::{JobError, Status},
        },
        registry::{attempts, evaluations, keys, submit, transitions},
    },
};
use serde_json::{Value, json};

use super::server::{BOSS, Server, run};
use crate::{
    pipeline::case::Case,
    support::{
        LONG, OVER, Process, Served, claim, enqueue, http, outcome, retune, retune_serve,
        unused_folder, within,
    },
};

/// As dumps are that were made before policies stopped naming a user.
const OLD_POLICIES: &str = "DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT polrelid::regclass FROM pg_policy WHERE polname = 'of_the_service' LOOP
        EXECUTE format('ALTER POLICY of_the_service ON %s TO app', t);
    END LOOP;
END $$";

/// One transfer in every state, and a key. The one that waits is a job that can be run.
async fn fill(database: &Database, waiting: &Value) {
    let queue = async || {
        submit::enqueue(database, enqueue())
            .await
            .expect("queued")
            .transfer
            .id
    };
    let claimed = async || claim(database, LONG).await.expect("something to do");

    queue().await;
    let outcome = outcome(TransferId::generate(), Verdict::Published);
    assert!(
        attempts::succeed(database, &claimed().await, &outcome)
            .await
            .expect("recorded")
    );
    queue().await;
    let gate = ExternalGate {
        name: "judge".into(),
        deadline_hours: 1.0,
    };
    let staged = evaluations::wait(database, &claimed().await, &outcome, &gate).await;
    assert!(staged.expect("recorded"), "staged");
    queue().await;
    let error = JobError {
        code: "bad".into(),
        detail: "bad".into(),
        pointer: None,
    };
    attempts::fail(database, &claimed().await, &error, false, LONG)
        .await
        .expect("recorded");
    let cancelled = queue().await;
    transitions::request_cancel(database, DEFAULT_TENANT, cancelled)
        .await
        .expect("cancelled");
    queue().await;
    let cancelling = claimed().await.transfer;
    transitions::request_cancel(database, DEFAULT_TENANT, cancelling)
        .await
        .expect("cancelling");
    queue().await;
    // Whoever ran it has died with the old server.
    claim(database, OVER).await.expect("something to do");
    let real = Enqueue {
        spec: waiting.clone(),
        ..enqueue()
    };
    submit::enqueue(database, real).await.expect("queued");
    keys::create(database, "key", DEFAULT_TENANT, Role::Admin, None)
        .await
        .expect("a key");
}

/// How many transfers a tenant sees, by status.
async fn seen(database: &Database) -> BTreeMap<&'static str, usize> {
    let filter = ListFilter {
        limit: 100,
        ..ListFilter::default()
    };
    let listed = transfers::list(database, DEFAULT_TENANT, &filter)
        .await
        .expect("a tenant reads");
    let mut counts = BTreeMap::new();
    for transfer in listed {
        *counts.entry(transfer.status.name()).or_default() += 1;
    }
    counts
}

/// A job that runs in a second, and its inputs.
fn job() -> (Case, Value) {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    (case, spec)
}

/// A dump of a private cluster, and what its waiting job reads.
struct Dumped {
    server: Server,
    file: PathBuf,
    case: Case,
}

/// A dump of a private cluster with a transfer in every state, of today's form or of the old one.
async fn dump(old: bool) -> Dumped {
    let (case, waiting) = job();
    let server = Server::private().await;
    let url = server.url("app", "postgres");
    let database = Database::connect_to(&url, 4)
        .await
        .expect("the server answers");
    database.migrate().await.expect("the schema");
    Box::pin(fill(&database, &waiting)).await;
    assert_eq!(seen(&database).await.len(), Status::ALL.len());
    database.pool.close().await;
    if old {
        run(&url, OLD_POLICIES).await;
    }
    let file = server.dump("app", "postgres").await;
    Dumped { server, file, case }
}

/// What begins with a restored database: the service is ready, tenants read and write, a worker runs what waited.
async fn goes_on(url: &str, case: &Case) {
    let database = Database::connect_to(url, 4)
        .await
        .expect("the server answers");
    let readiness = database.is_ready().await.expect("it answers");
    assert!(
        matches!(readiness, Readiness::Rights(_)),
        "before the start: {readiness:?}"
    );
    database.migrate().await.expect("rights are put in order");
    // As at every start.
    database.migrate().await.expect("nothing is left to do");

    let mut command = retune_serve("0", unused_folder());
    command.env("DATABASE_URL", url);
    let served = Served::start(&mut command).await;
    let get = async |path: &str| {
        http()
            .get(format!("{}{path}", served.url))
            .send()
            .await
            .expect("it answers")
    };
    assert_eq!(get("/readyz").await.status(), 200);
    assert_eq!(
        get("/v1/transfers").await.status(),
        401,
        "the key of the dump is asked for"
    );
    let figures = get("/metrics").await.text().await.expect("text");
    assert!(
        figures.contains("retune_transfers{status=\"succeeded\"} 1"),
        "{figures}"
    );

    assert_eq!(
        seen(&database).await.values().sum::<usize>(),
        Status::ALL.len()
    );
    let found: Vec<_> = [claim(&database, LONG).await, claim(&database, LONG).await]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(
        found.len(),
        2,
        "what waited and what was running when the dump was made"
    );
    assert_eq!(
        claim(&database, LONG).await.map(|lease| lease.transfer),
        None
    );
    for lease in &found {
        assert!(
            attempts::hand_back(&database, lease)
                .await
                .expect("recorded")
        );
    }
    let added = submit::enqueue(&database, enqueue())
        .await
        .expect("a tenant writes")
        .transfer;
    assert_eq!(added.status, Status::Queued);

    let folder = tempfile::tempdir().expect("a folder");
    let mut command = retune();
    command
        .args(["work", "--data-dir"])
        .arg(folder.path())
        .env("RETUNE_STORAGE_ROOTS", case.folder.path())
        .env("DATABASE_URL", url);
    let _worker = Process::start(&mut command);
    let base = case.uri("new/");
    let ended = within("what waited has been run", || async {
        let status: String = sqlx::query_scalar(
            "SELECT status::text FROM transfers WHERE spec->'target'->>'base' = $1",
        )
        .bind(&base)
        .fetch_one(&database.pool)
        .await
        .expect("the job is there");
        ["succeeded", "failed"]
            .contains(&status.as_str())
            .then_some(status)
    });
    assert_eq!(ended.await, "succeeded");
    database.pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_by_a_superuser_goes_on() {
    let dumped = Box::pin(dump(false)).await;
    let server = Server::foreign().await;
    let url = server.database("restored", BOSS).await;
    let complaints = server.restore(BOSS, "restored", &dumped.file).await;
    assert!(
        complaints.contains("role \"retune_tenant\" does not exist"),
        "{complaints}"
    );
    Box::pin(goes_on(&url, &dumped.case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_before_restored_by_a_superuser_goes_on() {
    let dumped = Box::pin(dump(true)).await;
    let server = Server::foreign().await;
    let url = server.database("restored", BOSS).await;
    let complaints = server.restore(BOSS, "restored", &dumped.file).await;
    assert!(
        complaints.contains("role \"app\" does not exist"),
        "{complaints}"
    );
    Box::pin(goes_on(&url, &dumped.case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_by_an_ordinary_owner_goes_on() {
    let dumped = Box::pin(dump(true)).await;
    let server = Server::foreign().await;
    run(&server.url(BOSS, "postgres"), "CREATE ROLE plain LOGIN").await;
    let url = server.database("restored", "plain").await;
    server.restore("plain", "restored", &dumped.file).await;
    Box::pin(goes_on(&url, &dumped.case)).await;
}

/// `--no-owner --no-privileges` is what hosted databases ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_today_without_owners_is_restored_without_a_complaint() {
    let old = Box::pin(dump(false)).await.server;
    let file = old.folder.join("bare.sql");
    let mut command = old.tool("pg_dump", "app", "postgres");
    let done = command
        .args(["--no-owner", "--no-privileges", "-f"])
        .arg(&file)
        .output()
        .await;
    assert!(done.expect("pg_dump runs").status.success());

    let server = Server::foreign().await;
    run(&server.url(BOSS, "postgres"), "CREATE ROLE plain LOGIN").await;
    let url = server.database("restored", "plain").await;
    assert_eq!(server.restore("plain", "restored", &file).await, "");
    let database = Database::connect_to(&url, 2)
        .await
        .expect("the server answers");
    assert!(matches!(
        database.is_ready().await.expect("it answers"),
        Readiness::Ready
    ));
    let state: Value = json!(seen(&database).await);
    assert_eq!(state["queued"], 1);
}

/// The policies hold an ordinary owner too; `pg_dump` must be told that they hide nothing from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_owner_dumps_everything() {
    let server = Server::foreign().await;
    run(&server.url(BOSS, "postgres"), "CREATE ROLE plain LOGIN").await;
    let url = server.database("service", "plain").await;
    let database = Database::connect_to(&url, 4)
        .await
        .expect("the server answers");
    database.migrate().await.expect("the schema");
    Box::pin(fill(&database, &job().1)).await;
    let before = seen(&database).await;

    let file = server.folder.join("own.sql");
    let mut command = server.tool("pg_dump", "plain", "service");
    let options = [
        "--enable-row-security",
        "--no-owner",
        "--no-privileges",
        "-f",
    ];
    let done = command
        .args(options)
        .arg(&file)
        .output()
        .await
        .expect("pg_dump runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let url = server.database("restored", "plain").await;
    assert_eq!(server.restore("plain", "restored", &file).await, "");
    let restored = Database::connect_to(&url, 4)
        .await
        .expect("the server answers");
    restored.migrate().await.expect("nothing is missing");
    assert_eq!(seen(&restored).await, before);
}
