//! The queue at the database: who gets what, and who may still write.

mod retries;
mod submissions;
mod waking;

use std::{collections::HashSet, time::Duration};

use retune::{
    config::{Quotas, Settings},
    contract::ids::{TenantId, TransferId, WorkerId},
    pipeline::{Outcome, Phase, Recommendation, Verdict},
    service::{
        database::transfers::{
            self, Enqueue,
            leases::{Claimed, Report},
        },
        domain::{
            access::DEFAULT_TENANT,
            leases::{Lease, RetryPolicy},
            transfers::{JobError, Status},
        },
        registry::{
            attempts::{self, Heard},
            transitions::{self, TransitionError},
        },
    },
};
use serde_json::json;

use crate::support::{self, LONG, OVER, TestDatabase, enqueue, spec};

fn quotas() -> Quotas {
    Settings::default().quotas
}

fn outcome() -> Outcome {
    Outcome {
        uri: "file:///out/x/".into(),
        recommendation: Some(Recommendation::TransferAndFineTune),
        metrics: json!({"accuracy": 0.9}),
        ..support::outcome(TransferId::generate(), Verdict::Published)
    }
}

fn fault() -> JobError {
    JobError {
        code: "storage".into(),
        detail: "gone".into(),
        pointer: Some("/output".into()),
    }
}

async fn claim(on: &TestDatabase) -> Lease<Claimed> {
    let claimed = support::claim(&on.database, LONG).await;
    claimed.expect("something to do")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_claimants_share_the_queue_and_nobody_gets_anothers() {
    let test = TestDatabase::fresh().await;
    let mut queued = HashSet::new();
    for _ in 0..40 {
        queued.insert(test.queued(3).await.id);
    }
    let mut claimants = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = test.database.clone();
        claimants.spawn(async move {
            let mut mine = Vec::new();
            while let Some(lease) = attempts::claim(&database, WorkerId::generate(), LONG)
                .await
                .unwrap()
            {
                mine.push(lease.transfer);
            }
            mine
        });
    }
    let claimed: Vec<TransferId> = claimants.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), queued);
}

#[tokio::test]
async fn a_stale_lease_changes_nothing_and_one_result_is_recorded() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    let database = &test.database;
    let stale = attempts::claim(database, WorkerId::generate(), OVER)
        .await
        .unwrap()
        .unwrap();
    let fresh = claim(&test).await;
    assert_eq!((fresh.transfer, fresh.attempt), (id, 2));

    let before = test.get(id).await;
    let report = Report {
        phase: Some(Phase::Publishing),
        ..Report::default()
    };
    let beat = attempts::beat(database, &stale, LONG.lease, &report)
        .await
        .unwrap();
    assert_eq!(beat, Heard::Lost);
    assert!(
        !attempts::succeed(database, &stale, &outcome())
            .await
            .unwrap()
    );
    assert_eq!(
        attempts::fail(database, &stale, &fault(), true, LONG)
            .await
            .unwrap(),
        None
    );
    assert!(!attempts::cancelled(database, &stale).await.unwrap());
    assert!(!attempts::hand_back(database, &stale).await.unwrap());
    let after = test.get(id).await;
    assert_eq!(
        (after.status, after.revision),
        (Status::Running, before.revision)
    );

    assert!(
        attempts::succeed(database, &fresh, &outcome())
            .await
            .unwrap()
    );
    assert!(
        !attempts::succeed(database, &fresh, &outcome())
            .await
            .unwrap()
    );
    assert!(
        !attempts::succeed(database, &stale, &outcome())
            .await
            .unwrap()
    );
    let done = test.get(id).await;
    assert_eq!(done.status, Status::Succeeded);
    assert_eq!(
        done.recommendation,
        Some(Recommendation::TransferAndFineTune)
    );
    assert_eq!(done.result.unwrap().uri, "file:///out/x/");
    let kinds = test.event_kinds(id).await;
    let expected = [
        "transfer.queued",
        "transfer.started",
        "transfer.started",
        "transfer.succeeded",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn beats_tell_phase_and_progress_and_hear_of_a_cancellation() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    let held = claim(&test).await;
    let beat = async |report: &Report| {
        attempts::beat(&test.database, &held, LONG.lease, report)
            .await
            .unwrap()
    };
    let report = Report {
        phase: Some(Phase::Transferring),
        progress: Some((3, 10, "timesteps")),
        seconds_left: Some(30.0),
    };
    assert_eq!(beat(&report).await, Heard::GoOn);
    let shown = test.get(id).await;
    assert_eq!(shown.phase, Some(Phase::Transferring));
    let progress = shown.progress.unwrap();
    assert_eq!(
        (progress.done, progress.total, &*progress.unit),
        (3, 10, "timesteps")
    );
    assert!(progress.estimated_finish.unwrap() > shown.started_at.unwrap());

    let quiet = Report {
        seconds_left: None,
        ..report
    };
    beat(&quiet).await;
    let revision = test.get(id).await.revision;
    beat(&quiet).await;
    assert_eq!(
        test.get(id).await.revision,
        revision,
        "a beat alone is no change"
    );
    let kinds = test.event_kinds(id).await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "transfer.phase_changed")
            .count(),
        1
    );

    transitions::request_cancel(&test.database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    assert_eq!(test.get(id).await.status, Status::Cancelling);
    assert_eq!(beat(&quiet).await, Heard::Cancel);
    assert!(attempts::cancelled(&test.database, &held).await.unwrap());
    let ended = test.get(id).await;
    assert_eq!(
        (ended.status, ended.phase, ended.progress),
        (Status::Cancelled, None, None)
    );
    assert!(ended.finished_at.is_some());
}

#[tokio::test]
async fn transitions_that_make_no_sense_are_refused() {
    let test = TestDatabase::fresh().await;
    let database = &test.database;
    let id = test.queued(3).await.id;
    let invalid = |result| matches!(result, Err(TransitionError::InvalidState { .. }));
    assert!(invalid(
        transitions::retry(database, DEFAULT_TENANT, id, &quotas()).await
    ));
    let cancelled = transitions::request_cancel(database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    assert_eq!(cancelled.unwrap().status, Status::Cancelled);
    assert!(invalid(
        transitions::request_cancel(database, DEFAULT_TENANT, id).await
    ));
    assert!(
        attempts::claim(database, WorkerId::generate(), LONG)
            .await
            .unwrap()
            .is_none()
    );
    let again = transitions::retry(database, DEFAULT_TENANT, id, &quotas())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.status, Status::Queued);
    // Another tenant sees nothing.
    let other = TenantId::generate();
    assert!(transfers::get(database, other, id).await.unwrap().is_none());
    assert!(
        transitions::request_cancel(database, other, id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        transitions::retry(database, other, id, &quotas())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_gate_is_told_of_before_the_end() {
    let test = TestDatabase::fresh().await;
    let mut spec = spec("file:///a/", "file:///b/");
    spec["gate"] = json!({"min": 0.5});
    let id = test.submit(Enqueue { spec, ..enqueue() }).await.id;
    let held = claim(&test).await;
    let rejected = Outcome {
        verdict: Verdict::Rejected,
        ..outcome()
    };
    assert!(
        attempts::succeed(&test.database, &held, &rejected)
            .await
            .unwrap()
    );
    let kinds = test.event_kinds(id).await;
    assert_eq!(kinds[2..], ["gate.failed", "transfer.succeeded"]);
}

#[tokio::test]
async fn a_process_stopped_within_a_transaction_does_not_keep_its_locks_for_long() {
    let test = TestDatabase::fresh().await;
    let shown: String = sqlx::query_scalar("SHOW idle_in_transaction_session_timeout")
        .fetch_one(&test.database.pool)
        .await
        .unwrap();
    assert_eq!(shown, "10s");
    // The setting does what it says, with a shorter time.
    let mut held = test.database.pool.begin().await.unwrap();
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = '50ms'; LOCK TABLE transfers")
        .execute(&mut *held)
        .await
        .unwrap();
    test.queued(1).await;
    assert!(held.commit().await.is_err(), "its session was ended");
}

/// The wait is in the statement that claims, and in the policy by which every other end of an attempt waits.
#[tokio::test]
async fn a_claim_lets_the_next_attempt_wait_as_the_policy_does() {
    let policy = RetryPolicy {
        lease: Duration::from_mins(1),
        backoff: Duration::from_secs(5),
        max_wait: Duration::from_hours(1),
        give_up: Duration::from_hours(1),
    };
    let test = TestDatabase::fresh().await;
    let id = test.queued(20).await.id;

    for before in 0..14 {
        sqlx::query(
            "UPDATE transfers
             SET status = 'queued', attempt = $2, available_at = now(), lease_token = NULL,
                 lease_expires_at = NULL, worker = NULL
             WHERE id = $1",
        )
        .bind(id.0)
        .bind(before)
        .execute(&test.database.pool)
        .await
        .unwrap();
        let held = attempts::claim(&test.database, WorkerId::generate(), policy)
            .await
            .unwrap()
            .expect("something to do");
        assert_eq!(held.attempt, before + 1);

        let wait: f64 = sqlx::query_scalar(
            "SELECT extract(epoch FROM available_at - lease_expires_at)::double precision
             FROM transfers WHERE id = $1",
        )
        .bind(id.0)
        .fetch_one(&test.database.pool)
        .await
        .unwrap();
        // The first attempt that dies is followed at once.
        let expected = if before == 0 {
            0.0
        } else {
            policy.wait_after(held.attempt)
        };
        assert!(
            (wait - expected).abs() < 1e-3,
            "{wait} s after attempt {}",
            held.attempt
        );
    }
}
