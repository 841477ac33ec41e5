//! Several senders, and one that dies.

use std::time::Duration;

use retune::service::{
    database::deliveries,
    domain::{events::Attempt, leases::RetryPolicy},
    registry::delivery_attempts::{self, AfterFailure},
    webhooks::lookup,
};

use super::{app, deliveries_of, room, send, settings, subscribe, until};
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_delivery_is_repeated_when_its_sender_died_and_recorded_by_the_holder_alone() {
    let app = app().await;
    let mut hook = Receiver::start().await;
    subscribe(&app, "ci", &hook.url, &["*"]).await;
    app.db.queued(1).await;
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    let over = RetryPolicy {
        lease: Duration::ZERO,
        ..terms
    };
    let dead = deliveries::claim(database, room(10), over)
        .await
        .unwrap()
        .remove(0);
    let sending = send(&app, &settings(), lookup());
    assert_eq!(
        hook.post().await.header("webhook-id"),
        dead.envelope.id.to_string()
    );
    let done = until(&app, "ci", |one| one["status"] == "delivered").await;
    assert_eq!(done["attempts"], 2);
    drop(sending);
    let late = Attempt::answered(500, Some("late".into()));
    let after = delivery_attempts::fail(database, &dead, &late, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Lost);
    assert!(
        !delivery_attempts::succeed(database, &dead, &late)
            .await
            .unwrap()
    );
    assert_eq!(deliveries_of(&app, "ci").await[0]["status"], "delivered");
}

#[tokio::test]
async fn several_senders_share_the_work_and_one_slow_endpoint_does_not_hold_it_up() {
    let app = app().await;
    subscribe(&app, "one", "http://127.0.0.1:9/", &["*"]).await;
    for _ in 0..10 {
        app.db.queued(1).await;
    }
    subscribe(&app, "two", "http://127.0.0.1:9/", &["*"]).await;
    app.db.queued(1).await;
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    let claim = || deliveries::claim(database, room(5), terms);
    let (a, b, c) = tokio::join!(claim(), claim(), claim());
    let mut ids: Vec<_> = [a, b, c]
        .into_iter()
        .flat_map(Result::unwrap)
        .map(|d| d.id)
        .collect();
    ids.extend(claim().await.unwrap().into_iter().map(|claimed| claimed.id));
    let claimed = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), claimed, "nobody has what another has");
    let open = async |name| {
        let rows = deliveries_of(&app, name).await;
        rows.iter().filter(|one| one["attempts"] == 1).count()
    };
    assert_eq!(open("two").await, 1, "it waited for none of the other's");
    // Claims at the same moment do not see each other's, so that they may exceed the limit once.
    assert!((4..=12).contains(&open("one").await));
}
