//! The queue at the database: who gets what, and who may still write.

use std::{collections::HashSet, time::Duration};

use retune::{
    config::{Quotas, Settings},
    contract::ids::{TenantId, TransferId, WorkerId},
    pipeline::{Outcome, Phase, Recommendation, Verdict},
    service::{
        database::{
            idempotency::Idempotency,
            leases::{self, Claimed, Heard, Report},
            transfers::{self, Enqueue, EnqueueError, ListFilter},
        },
        domain::{
            access::DEFAULT_TENANT,
            leases::{Lease, RetryPolicy},
            transfers::{JobError, Status},
        },
        registry::{
            attempts::{self, AfterFailure},
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
            while let Some(lease) = leases::claim(&database, WorkerId::generate(), LONG)
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
    let stale = leases::claim(database, WorkerId::generate(), OVER)
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
    let beat = leases::beat(database, &stale, LONG.lease, &report)
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
        leases::beat(&test.database, &held, LONG.lease, report)
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
async fn a_failed_attempt_is_queued_again_until_the_attempts_are_used_up() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(2).await.id;
    let now = RetryPolicy {
        backoff: Duration::from_nanos(1),
        ..LONG
    };
    let fail = async |may_retry| {
        let held = claim(&test).await;
        attempts::fail(&test.database, &held, &fault(), may_retry, now)
            .await
            .unwrap()
    };
    assert_eq!(fail(true).await, Some(AfterFailure::QueuedAgain));
    assert_eq!(test.get(id).await.status, Status::Queued);
    assert_eq!(fail(true).await, Some(AfterFailure::Failed));
    let failed = test.get(id).await;
    assert_eq!((failed.status, failed.attempt), (Status::Failed, 2));
    let error = failed.error.unwrap();
    assert_eq!(
        (&*error.code, error.pointer.as_deref()),
        ("storage", Some("/output"))
    );

    // By hand: all attempts anew, and an input at fault is not tried again.
    let again = transitions::retry(&test.database, DEFAULT_TENANT, id, &quotas())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (again.status, again.attempt, again.error),
        (Status::Queued, 0, None)
    );
    assert_eq!(fail(false).await, Some(AfterFailure::Failed));
    assert_eq!(test.get(id).await.attempt, 1);
}

#[tokio::test]
async fn a_backoff_keeps_a_transfer_from_being_claimed() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    let held = claim(&test).await;
    attempts::fail(&test.database, &held, &fault(), true, LONG)
        .await
        .unwrap();
    assert!(
        leases::claim(&test.database, WorkerId::generate(), LONG)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_lease_handed_back_costs_no_attempt() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(1).await.id;
    for _ in 0..3 {
        let held = claim(&test).await;
        assert_eq!(held.attempt, 1);
        assert!(attempts::hand_back(&test.database, &held).await.unwrap());
    }
    let waiting = test.get(id).await;
    assert_eq!((waiting.status, waiting.attempt), (Status::Queued, 0));
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
        leases::claim(database, WorkerId::generate(), LONG)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_under_one_key_make_one_transfer() {
    let test = TestDatabase::fresh().await;
    let request = |sha: u8| Enqueue {
        idempotency: Some(Idempotency {
            key: "k".into(),
            request_sha256: [sha; 32],
        }),
        ..enqueue()
    };
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (database, request) = (test.database.clone(), request(1));
        requests.spawn(async move { transfers::enqueue(&database, request).await.unwrap() });
    }
    let answers = requests.join_all().await;
    let ids: HashSet<TransferId> = answers.iter().map(|answer| answer.transfer.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    let other = transfers::enqueue(&test.database, request(2)).await;
    assert!(matches!(other, Err(EnqueueError::KeyReused(_))));
    let kinds = test.event_kinds(*ids.iter().next().unwrap()).await;
    assert_eq!(kinds, ["transfer.queued"]);
}

#[tokio::test]
async fn lists_are_filtered_newest_first_and_paged() {
    let test = TestDatabase::fresh().await;
    let submit = async |source: &str, target: &str, team: &str| {
        let new = Enqueue {
            spec: spec(source, target),
            metadata: json!({"team": team}),
            ..enqueue()
        };
        test.submit(new).await.id
    };
    let one = submit("file:///a/", "file:///b/", "x").await;
    let two = submit("file:///b/", "file:///c/", "y").await;
    let three = submit("file:///a/", "file:///c/", "x").await;
    transitions::request_cancel(&test.database, DEFAULT_TENANT, two)
        .await
        .unwrap();
    let list = async |filter: ListFilter| {
        let filter = ListFilter {
            limit: if filter.limit == 0 { 10 } else { filter.limit },
            ..filter
        };
        let found = transfers::list(&test.database, DEFAULT_TENANT, &filter)
            .await
            .unwrap();
        found
            .into_iter()
            .map(|transfer| transfer.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(ListFilter::default()).await, [three, two, one]);
    let base = |base: &str| ListFilter {
        base: Some(base.into()),
        ..ListFilter::default()
    };
    assert_eq!(list(base("file:///b/")).await, [two, one]);
    let of = |statuses: &[Status]| ListFilter {
        statuses: statuses.to_vec(),
        ..ListFilter::default()
    };
    assert_eq!(list(of(&[Status::Cancelled])).await, [two]);
    assert_eq!(
        list(of(&[Status::Cancelled, Status::Queued])).await,
        [three, two, one]
    );
    let search = |text: &str| ListFilter {
        search: Some(text.into()),
        ..ListFilter::default()
    };
    assert_eq!(list(search("/C/")).await, [three, two]);
    assert_eq!(list(search(&three.to_string()[30..])).await, [three]);
    assert!(list(search("%")).await.is_empty(), "no pattern");
    let since = test.get(two).await.created_at;
    let after = ListFilter {
        created_after: Some(since),
        ..ListFilter::default()
    };
    assert_eq!(list(after).await, [three, two]);
    let before = ListFilter {
        created_before: Some(since),
        ..ListFilter::default()
    };
    assert_eq!(list(before).await, [one]);
    let published = ListFilter {
        verdict: Some(Verdict::Published),
        ..ListFilter::default()
    };
    assert!(list(published).await.is_empty());
    let team = ListFilter {
        metadata: vec![("team".into(), "x".into())],
        ..ListFilter::default()
    };
    assert_eq!(list(team).await, [three, one]);
    assert_eq!(
        list(ListFilter {
            limit: 1,
            ..ListFilter::default()
        })
        .await,
        [three]
    );
    let next = ListFilter {
        limit: 1,
        after: Some(three),
        ..ListFilter::default()
    };
    assert_eq!(list(next).await, [two]);
    let any = ListFilter {
        limit: 9,
        ..ListFilter::default()
    };
    let elsewhere = transfers::list(&test.database, TenantId::generate(), &any);
    assert!(elsewhere.await.unwrap().is_empty());
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
async fn changes_are_heard() {
    let test = TestDatabase::fresh().await;
    let mut changes = test.changes.subscribe();
    // What happens before the ear is open goes unheard: again after each look at everything.
    let heard = async {
        loop {
            let id = test.queued(3).await.id;
            loop {
                match changes.recv().await.unwrap() {
                    heard if heard == id => return,
                    TransferId::ANY => break,
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, heard)
        .await
        .expect("heard in time");
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
