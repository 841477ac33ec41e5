//! Workers of several versions on one queue.

use std::{process::Command, time::Duration};

use retune::{
    contract::ids::TransferId,
    service::{database::transfers::Enqueue, domain::transfers::Status, registry::attempts},
};
use serde_json::json;

use crate::support::{LONG, Process, TestDatabase, claim, enqueue, retune, spec};

/// Queued by a version that knows more than this one.
async fn newer(test: &TestDatabase) -> TransferId {
    let mut spec = spec("file:///a/", "file:///b/");
    spec["options"] = json!({"of_a_later_version": true});
    test.submit(Enqueue {
        spec,
        max_attempts: 1,
        ..enqueue()
    })
    .await
    .id
}

fn worker(test: &TestDatabase) -> Command {
    let mut command = retune();
    command
        .args(["work", "--data-dir"])
        .arg(std::env::temp_dir().join("retune-tests-unused"))
        .env("DATABASE_URL", &test.url)
        .env("RETUNE_WORKER_BACKOFF_SECONDS", "0.1")
        .env("RETUNE_WORKER_POLL_SECONDS", "0.1");
    command
}

#[tokio::test]
async fn a_specification_that_a_worker_cannot_read_is_left_to_others_at_no_cost() {
    let test = TestDatabase::fresh().await;
    let id = newer(&test).await;
    let process = Process::start(&mut worker(&test));
    let left = test.until(id, |transfer| transfer.error.is_some()).await;
    assert_eq!(
        (left.status, left.attempt),
        (Status::Queued, 0),
        "{left:#?}"
    );
    let error = left.error.expect("the reason");
    assert_eq!(
        (&*error.code, error.pointer.as_deref()),
        ("invalid_spec", Some("/options/of_a_later_version"))
    );
    let kinds = test.event_kinds(id).await;
    assert_eq!(
        kinds,
        ["transfer.queued", "transfer.started", "transfer.queued"]
    );
    drop(process);

    // This version does not take it again, however long it waits; another does, with all its attempts.
    sqlx::query("UPDATE transfers SET available_at = now()")
        .execute(&test.database.pool)
        .await
        .expect("due");
    let claim = async || claim(&test.database, LONG).await;
    assert!(claim().await.is_none());
    sqlx::query("UPDATE transfers SET unreadable_to = '0.0.0-other'")
        .execute(&test.database.pool)
        .await
        .expect("as if another had left it");
    let lease = claim().await.expect("something to do");
    assert_eq!((lease.transfer, lease.attempt), (id, 1));
}

#[tokio::test]
async fn what_no_worker_can_read_fails_after_a_time() {
    let test = TestDatabase::fresh().await;
    let id = newer(&test).await;
    let process = Process::start(&mut worker(&test));
    test.until(id, |transfer| transfer.error.is_some()).await;
    drop(process);
    let patience = Duration::from_mins(15);
    let give_up = async || {
        attempts::give_up_unreadable(&test.database, patience)
            .await
            .expect("swept")
    };
    assert_eq!(give_up().await, 0);
    assert_eq!(test.get(id).await.status, Status::Queued);

    sqlx::query("UPDATE transfers SET unreadable_since = unreadable_since - interval '15 minutes'")
        .execute(&test.database.pool)
        .await
        .expect("later");
    assert_eq!(give_up().await, 1);
    let failed = test.get(id).await;
    assert_eq!(failed.status, Status::Failed);
    assert_eq!(failed.error.expect("the reason").code, "invalid_spec");
    assert_eq!(give_up().await, 0);
}
