//! Endpoints that are deleted while their deliveries fail, and receivers that say when to come again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use retune::service::{
    database::deliveries::{self, Capacity},
    domain::{access::DEFAULT_TENANT, events::Attempt},
    queue,
    registry::delivery_attempts::{self, AfterFailure},
    webhooks::{Sender, lookup},
};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{
    TestDatabase,
    webhooks::{newest_delivery, settings, subscribe},
    within,
};

const ROOM: Capacity = Capacity {
    posts: 10,
    per_tenant: 10,
};

/// Who records locked the delivery and then the endpoint; who deletes locks the endpoint and then, by the
/// cascade, its deliveries: each could wait for the other.
#[tokio::test]
async fn an_endpoint_is_deleted_while_its_deliveries_fail_without_a_deadlock() {
    for gone in [false, true] {
        let test = TestDatabase::fresh().await;
        subscribe(&test, DEFAULT_TENANT, "ci", "http://127.0.0.1:9/").await;
        test.queued(1).await;
        let terms = settings().webhooks.retry_policy();
        let claimed = deliveries::claim(&test.database, ROOM, terms)
            .await
            .expect("claimed")
            .remove(0);

        // The first half of what a deletion does.
        let mut deletion = test.database.pool.begin().await.expect("a transaction");
        sqlx::query("SELECT id FROM webhook_endpoints FOR UPDATE")
            .execute(&mut *deletion)
            .await
            .expect("locked");
        let database = test.database.clone();
        let recording = tokio::spawn(async move {
            if gone {
                let taken = Attempt::answered(204, None);
                return delivery_attempts::succeed(&database, &claimed, &taken)
                    .await
                    .map(|held| !held);
            }
            let failed = Attempt::unanswered("cut".into());
            let after = delivery_attempts::fail(&database, &claimed, &failed, terms).await;
            after.map(|after| after == AfterFailure::Lost)
        });
        within("the record waits", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&test.database.pool)
            .await
            .expect("a count");
            (waiting > 0).then_some(())
        })
        .await;
        let deleted = sqlx::query("DELETE FROM webhook_endpoints")
            .execute(&mut *deletion)
            .await;
        assert_eq!(deleted.expect("no deadlock").rows_affected(), 1);
        deletion.commit().await.expect("no deadlock");
        let lost = recording.await.expect("no panic").expect("no deadlock");
        assert!(lost, "its delivery went with the endpoint");
    }
}

#[tokio::test]
async fn a_receiver_that_says_when_to_come_again_is_left_alone_until_then() {
    let test = TestDatabase::fresh().await;
    let posts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&posts);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let router = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")])
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    subscribe(&test, DEFAULT_TENANT, "ci", &url).await;

    let _ = rustls::crypto::ring::default_provider().install_default();
    let sender =
        Sender::new(test.database.clone(), &settings().webhooks, lookup()).expect("set up");
    let end = CancellationToken::new();
    let sending = tokio::spawn(queue::drive(sender, end.clone()));
    test.queued(1).await;
    let first = within("the refusal is recorded", async || {
        let now = newest_delivery(&test, "ci").await;
        now.response_status.is_some().then_some(now)
    })
    .await;
    let next = first.next_attempt_at.expect("it is tried again") - OffsetDateTime::now_utc();
    assert!((3500..=3605).contains(&next.whole_seconds()), "{next}");

    // Nothing else is posted there meanwhile.
    test.queued(1).await;
    let claimed = deliveries::claim(&test.database, ROOM, settings().webhooks.retry_policy()).await;
    assert!(claimed.expect("claimed").is_empty());
    assert_eq!(newest_delivery(&test, "ci").await.attempts, 0);
    assert_eq!(posts.load(Ordering::Relaxed), 1);
    end.cancel();
    sending.await.expect("no panic");
}

#[tokio::test]
async fn nobody_is_left_alone_for_longer_than_the_longest_wait() {
    let test = TestDatabase::fresh().await;
    subscribe(&test, DEFAULT_TENANT, "ci", "http://127.0.0.1:9/").await;
    test.queued(1).await;
    let terms = settings().webhooks.retry_policy();
    let claimed = deliveries::claim(&test.database, ROOM, terms)
        .await
        .expect("claimed")
        .remove(0);
    let month = Some(Duration::from_hours(30 * 24));
    let refused = Attempt::answered(503, Some("busy".into())).retry_after(month);
    let after = delivery_attempts::fail(&test.database, &claimed, &refused, terms)
        .await
        .expect("recorded");
    assert_eq!(after, AfterFailure::Pending);
    let next = newest_delivery(&test, "ci")
        .await
        .next_attempt_at
        .expect("it is tried again");
    let wait = (next - OffsetDateTime::now_utc()).whole_seconds();
    assert!(
        (10_700..=10_805).contains(&wait),
        "three hours at the most, not {wait} s"
    );
}
