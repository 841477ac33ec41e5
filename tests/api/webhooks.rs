//! Webhooks: what is posted, to whom, and how it is signed.

mod endpoints;
mod ends;
mod senders;

use retune::{
    config::Settings,
    service::{
        database::deliveries::Capacity,
        queue,
        webhooks::{Lookup, Sender, lookup},
    },
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::app::App;
use crate::support::{PATIENCE, receiver::Receiver, webhooks::settings, within};

/// Room for so many, all of one tenant.
fn room(most: i64) -> Capacity {
    Capacity {
        posts: most,
        per_tenant: 1000,
    }
}

async fn app() -> App {
    App::start(true, settings()).await
}

/// A sender that ends with the test.
fn send(app: &App, settings: &Settings, lookup: Lookup) -> DropGuard {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sender = Sender::new(app.db.database.clone(), &settings.webhooks, lookup).unwrap();
    let end = CancellationToken::new();
    tokio::spawn(queue::drive(sender, end.clone()));
    end.drop_guard()
}

/// Adds an endpoint; its secret.
async fn subscribe(app: &App, name: &str, url: &str, events: &[&str]) -> String {
    let wanted = json!({"url": url, "events": events});
    let made = app
        .put(&format!("/v1/webhook_endpoints/{name}"), &wanted, &[])
        .await
        .ok(201);
    made.json()["secret"].as_str().unwrap().to_owned()
}

async fn deliveries_of(app: &App, name: &str) -> Vec<Value> {
    let path = format!("/v1/webhook_endpoints/{name}/deliveries");
    app.get(&path).await.ok(200).json()["data"]
        .as_array()
        .unwrap()
        .clone()
}

/// Waits until the newest delivery is as wanted.
async fn until(app: &App, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    within("the delivery is recorded", async || {
        deliveries_of(app, name)
            .await
            .into_iter()
            .next()
            .filter(&wanted)
    })
    .await
}

#[tokio::test]
async fn an_event_reaches_its_subscribers_as_a_signed_cloudevent() {
    let app = app().await;
    let mut hook = Receiver::start().await;
    let mut other = Receiver::start().await;
    let secret = subscribe(&app, "all-transfers", &hook.url, &["transfer.*"]).await;
    subscribe(
        &app,
        "bases",
        &other.url,
        &["base_model.*", "transfer.succeeded"],
    )
    .await;
    let _sending = send(&app, &settings(), lookup());
    let id = app.db.queued(1).await.id;

    let post = hook.post().await;
    assert!(post.is_signed_by(&secret));
    let wrong = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(!post.is_signed_by(wrong));
    assert_eq!(post.header("content-type"), "application/cloudevents+json");
    let body = post.json();
    assert_eq!(body["specversion"], "1.0");
    assert_eq!(body["id"], post.header("webhook-id"));
    assert_eq!(body["type"], "transfer.queued");
    assert_eq!(body["subject"], format!("transfers/{id}"));
    assert_eq!(
        body["data"],
        json!({"id": id, "status": "queued", "reason": "submitted"})
    );

    let done = until(&app, "all-transfers", |one| one["status"] == "delivered").await;
    assert_eq!(
        (&done["attempts"], &done["response_status"]),
        (&json!(1), &json!(204))
    );
    assert_eq!(
        (&done["event"], &done["next_attempt_at"]),
        (&body["id"], &Value::Null)
    );
    app.post(&format!("/v1/transfers/{id}/cancel"), &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(hook.post().await.json()["type"], "transfer.cancelled");
    assert!(hook.is_quiet() && other.is_quiet());
    assert_eq!(deliveries_of(&app, "bases").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_failure_is_tried_again_with_the_same_id_and_body() {
    let app = app().await;
    let mut hook = Receiver::answering(&[500, 503]).await;
    subscribe(&app, "ci", &hook.url, &["*"]).await;
    let _sending = send(&app, &settings(), lookup());
    app.db.queued(1).await;
    let (first, second, third) = (hook.post().await, hook.post().await, hook.post().await);
    assert_eq!(first.header("webhook-id"), third.header("webhook-id"));
    assert!(first.body == second.body && second.body == third.body);
    let done = until(&app, "ci", |one| one["status"] == "delivered").await;
    assert_eq!(
        (&done["attempts"], &done["error"]),
        (&json!(3), &Value::Null)
    );
    let endpoint = app.get("/v1/webhook_endpoints/ci").await.json();
    assert_eq!(endpoint["failing_since"], Value::Null);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let app = app().await;
    let mut elsewhere = Receiver::start().await;
    let mut hook = Receiver::redirecting(&elsewhere.url).await;
    subscribe(&app, "ci", &hook.url, &["*"]).await;
    let mut settings = settings();
    settings.webhooks.backoff = PATIENCE;
    let _sending = send(&app, &settings, lookup());
    app.db.queued(1).await;
    hook.post().await;
    let refused = until(&app, "ci", |one| one["error"].is_string()).await;
    assert_eq!(refused["response_status"], 307);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("redirects are not followed")
    );
    assert!(elsewhere.is_quiet());
}

#[tokio::test]
async fn a_delivery_can_be_replayed() {
    let app = app().await;
    let mut hook = Receiver::start().await;
    subscribe(&app, "ci", &hook.url, &["*"]).await;
    let _sending = send(&app, &settings(), lookup());
    app.db.queued(1).await;
    let first = hook.post().await;
    let done = until(&app, "ci", |one| one["status"] == "delivered").await;
    let path = format!(
        "/v1/webhook_endpoints/ci/deliveries/{}/replay",
        done["id"].as_str().unwrap()
    );
    let replayed = app.post(&path, &json!({}), &[]).await.ok(202).json();
    assert_eq!(replayed["status"], "pending");
    let second = hook.post().await;
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    let again = until(&app, "ci", |one| one["status"] == "delivered").await;
    assert_eq!(again["attempts"], 2);
    let other = path.replace("/ci/", "/cd/");
    app.post(&other, &json!({}), &[])
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn a_jobs_callback_is_told_of_its_end_and_signed_by_its_tenant() {
    let app = app().await;
    let mut hook = Receiver::start().await;
    let _sending = send(&app, &settings(), lookup());
    let mut spec = app.spec();
    spec["callback"] = json!({"url": hook.url});
    let rotate = async || {
        let drawn = app
            .post("/v1/callback_secret/rotate", &json!({}), &[])
            .await
            .ok(200)
            .json();
        drawn["secret"].as_str().unwrap().to_owned()
    };
    let (old, new) = (rotate().await, rotate().await);
    let id = app.post("/v1/transfers", &spec, &[]).await.ok(202).json()["id"].clone();
    let cancel = format!("/v1/transfers/{}/cancel", id.as_str().unwrap());
    app.post(&cancel, &json!({}), &[]).await.ok(200);
    let post = hook.post().await;
    assert!(post.is_signed_by(&old) && post.is_signed_by(&new));
    let body = post.json();
    assert_eq!(
        body["type"], "transfer.cancelled",
        "its end and nothing before"
    );
    assert_eq!(
        (&body["data"]["id"], &body["data"]["status"]),
        (&id, &json!("cancelled"))
    );
    app.db
        .execute("UPDATE tenants SET previous_callback_secret_until = now()")
        .await;
    app.post(&cancel.replace("cancel", "retry"), &json!({}), &[])
        .await
        .ok(202);
    app.post(&cancel, &json!({}), &[]).await.ok(200);
    let post = hook.post().await;
    assert!(!post.is_signed_by(&old) && post.is_signed_by(&new));
}
