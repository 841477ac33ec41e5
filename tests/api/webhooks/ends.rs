//! When a delivery is given up, and an endpoint disabled.

use retune::{
    contract::ids::WebhookEndpointId,
    service::{
        database::deliveries,
        domain::events::Attempt,
        registry::delivery_attempts::{self, AfterFailure},
        webhooks::lookup,
    },
};
use serde_json::{Value, json};

use super::{app, deliveries_of, room, send, settings, subscribe, until};
use crate::support::receiver::Receiver;

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_others_hear_of_it() {
    let app = app().await;
    let mut gone = Receiver::answering(&[410]).await;
    let mut watch = Receiver::start().await;
    subscribe(&app, "gone", &gone.url, &["*"]).await;
    subscribe(&app, "watch", &watch.url, &["webhook_endpoint.*"]).await;
    let _sending = send(&app, &settings(), lookup());
    app.db.queued(1).await;
    gone.post().await;
    let told = watch.post().await.json();
    assert_eq!(told["type"], "webhook_endpoint.disabled");
    assert_eq!(told["subject"], "webhook_endpoints/gone");
    let endpoint = app.get("/v1/webhook_endpoints/gone").await.ok(200).json();
    assert_eq!(endpoint["enabled"], false);
    assert!(
        endpoint["disabled_reason"]
            .as_str()
            .unwrap()
            .contains("410")
    );
    assert_eq!(until(&app, "gone", |_| true).await["status"], "failed");
    // Nothing more goes there, until its owner wants it again.
    app.db.queued(1).await;
    assert_eq!(deliveries_of(&app, "gone").await.len(), 1);
    app.put("/v1/webhook_endpoints/gone", &json!({"url": gone.url}), &[])
        .await
        .ok(200);
    app.db.queued(1).await;
    assert_eq!(gone.post().await.json()["type"], "transfer.queued");
}

#[tokio::test]
async fn what_fails_for_a_day_is_given_up_and_its_endpoint_disabled() {
    let app = app().await;
    subscribe(&app, "ci", "http://127.0.0.1:9/", &["*"]).await;
    app.db.queued(1).await;
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    let claimed = deliveries::claim(database, room(10), terms).await.unwrap();
    let attempt = Attempt::unanswered("connection refused".into());
    let after = delivery_attempts::fail(database, &claimed[0], &attempt, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Pending);
    let waiting = &deliveries_of(&app, "ci").await[0];
    assert_eq!(
        (&waiting["status"], &waiting["attempts"]),
        (&json!("pending"), &json!(1))
    );
    let day =
        "UPDATE deliveries SET retry_since = now() - interval '24 hours', next_attempt_at = now();
               UPDATE webhook_endpoints SET failing_since = now() - interval '24 hours'";
    app.db.execute(day).await;
    let claimed = deliveries::claim(database, room(10), terms).await.unwrap();
    let after = delivery_attempts::fail(database, &claimed[0], &attempt, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Disabled);
    let over = &deliveries_of(&app, "ci").await[0];
    assert_eq!(
        (&over["status"], &over["error"]),
        (&json!("failed"), &json!("connection refused"))
    );
    assert_eq!(
        app.get("/v1/webhook_endpoints/ci").await.json()["enabled"],
        false
    );
}

#[tokio::test]
async fn what_waits_at_an_endpoint_that_is_disabled_ends_and_enabling_begins_anew() {
    let app = app().await;
    subscribe(&app, "ci", "http://127.0.0.1:9/", &["transfer.*"]).await;
    for _ in 0..3 {
        app.db.queued(1).await;
    }
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    let claimed = deliveries::claim(database, room(2), terms).await.unwrap();
    let gone = Attempt::answered(410, Some("gone".into()));
    let after = delivery_attempts::fail(database, &claimed[0], &gone, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Disabled);
    let over = deliveries_of(&app, "ci").await;
    assert!(over.iter().all(|one| one["status"] == "failed"), "{over:?}");
    let told = |one: &&Value| one["error"] == "the endpoint is disabled";
    assert_eq!(over.iter().filter(told).count(), 2);
    let late = Attempt::unanswered("cut".into());
    let after = delivery_attempts::fail(database, &claimed[1], &late, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Lost);
    let path = "/v1/webhook_endpoints/ci";
    let replay = format!(
        "{path}/deliveries/{}/replay",
        over[0]["id"].as_str().unwrap()
    );
    app.post(&replay, &json!({}), &[])
        .await
        .problem(409, "endpoint_disabled");

    let mut hook = Receiver::start().await;
    app.put(
        path,
        &json!({"url": hook.url, "events": ["transfer.*"]}),
        &[],
    )
    .await
    .ok(200);
    let _sending = send(&app, &settings(), lookup());
    let id = app.db.queued(1).await.id;
    assert_eq!(
        hook.post().await.json()["subject"],
        format!("transfers/{id}")
    );
    assert!(hook.is_quiet(), "nothing of before");
    app.post(&replay, &json!({}), &[]).await.ok(202);
    hook.post().await;
}

#[tokio::test]
async fn an_owner_who_disables_an_endpoint_ends_what_waits_there() {
    let app = app().await;
    let url = "http://127.0.0.1:9/";
    subscribe(&app, "ci", url, &["*"]).await;
    subscribe(&app, "other", url, &["*"]).await;
    app.db.queued(1).await;
    let off = json!({"url": url, "enabled": false});
    app.put("/v1/webhook_endpoints/ci", &off, &[]).await.ok(200);
    assert_eq!(deliveries_of(&app, "ci").await[0]["status"], "failed");
    assert_eq!(deliveries_of(&app, "other").await[0]["status"], "pending");
    // What was written at the same moment ends with the next claim.
    app.db
        .execute("UPDATE deliveries SET status = 'pending', finished_at = NULL, error = NULL")
        .await;
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    assert_eq!(
        deliveries::claim(database, room(10), terms)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(deliveries_of(&app, "ci").await[0]["status"], "failed");
}

#[tokio::test]
async fn an_endpoint_that_took_nothing_while_a_delivery_was_tried_is_disabled_with_it() {
    let app = app().await;
    subscribe(&app, "dead", "http://127.0.0.1:9/", &["*"]).await;
    subscribe(&app, "alive", "http://127.0.0.1:9/", &["*"]).await;
    app.db.queued(1).await;
    app.db.queued(1).await;
    let (database, terms) = (&app.db.database, settings().webhooks.retry_policy());
    let claimed = deliveries::claim(database, room(10), terms).await.unwrap();
    // A day later, each failing for a little less: since the first attempt.
    let day = "UPDATE deliveries SET retry_since = now() - interval '24 hours';
               UPDATE webhook_endpoints SET failing_since = now() - interval '23 hours'";
    app.db.execute(day).await;
    let alive: WebhookEndpointId =
        sqlx::query_scalar("SELECT id FROM webhook_endpoints WHERE name = 'alive'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    let (alive, dead): (Vec<_>, Vec<_>) = claimed
        .into_iter()
        .partition(|one| one.endpoint == Some(alive));
    let failed = Attempt::unanswered("connection refused".into());
    let taken = Attempt::answered(204, None);
    assert!(
        delivery_attempts::succeed(database, &alive[0], &taken)
            .await
            .unwrap()
    );
    let after = delivery_attempts::fail(database, &alive[1], &failed, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Failed, "it took the other");
    let after = delivery_attempts::fail(database, &dead[0], &failed, terms)
        .await
        .unwrap();
    assert_eq!(after, AfterFailure::Disabled);
    let enabled = async |name: &str| {
        app.get(&format!("/v1/webhook_endpoints/{name}"))
            .await
            .ok(200)
            .json()["enabled"]
            .clone()
    };
    assert_eq!(
        (enabled("alive").await, enabled("dead").await),
        (json!(true), json!(false))
    );
}
