//! What becomes of transfers whose worker died.

use retune::{
    contract::ids::WorkerId,
    service::{
        domain::{access::DEFAULT_TENANT, transfers::Status},
        registry::{attempts, transitions},
    },
};

use crate::support::{LONG, OVER, TestDatabase, claim};

async fn claim_and_die(on: &TestDatabase) -> Option<i32> {
    let lease = claim(&on.database, OVER).await;
    lease.map(|lease| lease.attempt)
}

#[tokio::test]
async fn the_first_death_is_followed_at_once_the_second_after_a_pause() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    assert_eq!(claim_and_die(&test).await, Some(1));
    assert_eq!(attempts::sweep(&test.database, OVER).await.unwrap(), 1);
    assert_eq!(test.get(id).await.status, Status::Queued);
    assert_eq!(claim_and_die(&test).await, Some(2));
    // Neither directly nor after a sweep: the backoff runs.
    assert_eq!(claim_and_die(&test).await, None);
    assert_eq!(attempts::sweep(&test.database, OVER).await.unwrap(), 1);
    assert_eq!(claim_and_die(&test).await, None);
    assert_eq!(test.get(id).await.status, Status::Queued);
}

#[tokio::test]
async fn the_last_attempt_that_dies_fails_the_transfer() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(2).await.id;
    assert_eq!(claim_and_die(&test).await, Some(1));
    assert_eq!(claim_and_die(&test).await, Some(2));
    assert_eq!(claim_and_die(&test).await, None);
    assert_eq!(attempts::sweep(&test.database, OVER).await.unwrap(), 1);
    let failed = test.get(id).await;
    assert_eq!(failed.status, Status::Failed);
    assert_eq!(failed.error.unwrap().code, "attempts_exhausted");
    assert_eq!(
        test.event_kinds(id).await.last().unwrap(),
        "transfer.failed"
    );
    assert_eq!(attempts::sweep(&test.database, OVER).await.unwrap(), 0);
}

#[tokio::test]
async fn a_cancellation_that_nobody_could_obey_is_obeyed_by_the_sweep() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    claim_and_die(&test).await;
    transitions::request_cancel(&test.database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    assert_eq!(claim_and_die(&test).await, None);
    attempts::sweep(&test.database, OVER).await.unwrap();
    assert_eq!(test.get(id).await.status, Status::Cancelled);
}

#[tokio::test]
async fn a_dead_childs_lease_is_released_at_once_and_only_its_own() {
    let test = TestDatabase::fresh().await;
    let (one, two) = (test.queued(3).await.id, test.queued(3).await.id);
    let (dead, alive) = (WorkerId::generate(), WorkerId::generate());
    let held = attempts::claim(&test.database, dead, LONG)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.transfer, one);
    attempts::claim(&test.database, alive, LONG)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        attempts::release(&test.database, dead, LONG).await.unwrap(),
        1
    );
    assert_eq!(test.get(one).await.status, Status::Queued);
    assert_eq!(test.get(two).await.status, Status::Running);
    assert_eq!(
        attempts::release(&test.database, dead, LONG).await.unwrap(),
        0
    );
}
