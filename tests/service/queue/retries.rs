//! Attempts: failed ones are repeated after a pause, handed back they cost nothing.

use std::time::Duration;

use retune::{
    contract::ids::WorkerId,
    service::{
        domain::{access::DEFAULT_TENANT, leases::RetryPolicy, transfers::Status},
        registry::{
            attempts::{self, AfterFailure},
            transitions,
        },
    },
};

use super::{claim, fault, quotas};
use crate::support::{LONG, TestDatabase};

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
        attempts::claim(&test.database, WorkerId::generate(), LONG)
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
