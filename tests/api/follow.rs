use std::time::Instant;

use axum::{body::Body, http::Method};
use futures::StreamExt;
use retune::service::{domain::access::DEFAULT_TENANT, registry::transitions};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use super::app::{App, request};
use crate::support::{LONG, PATIENCE, claim};

#[tokio::test]
async fn a_long_poll_ends_when_the_status_changes() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    let path = format!("/v1/transfers/{id}?wait=60");
    let begun = Instant::now();
    // Polled first, so the wait has begun; a change before it would show by the tag.
    let headers = [("if-none-match", "W/\"1\"")];
    let change = transitions::request_cancel(&app.db.database, DEFAULT_TENANT, id);
    let (polled, changed) = tokio::join!(app.get_with(&path, &headers), change);
    changed.unwrap();
    assert_eq!(polled.ok(200).json()["status"], "cancelled");
    assert!(begun.elapsed() < PATIENCE / 2, "not by the deadline");
    // What is final does not change any more: no wait.
    let again = timeout(PATIENCE / 2, app.get(&path))
        .await
        .expect("at once");
    assert_eq!(again.ok(200).json()["status"], "cancelled");
}

#[tokio::test]
async fn a_long_poll_ends_when_the_service_does() {
    let app = App::open().await;
    let path = format!("/v1/transfers/{}?wait=60", app.db.queued(1).await.id);
    app.shutdown.cancel();
    let polled = timeout(PATIENCE / 2, app.get(&path))
        .await
        .expect("at once");
    assert_eq!(polled.ok(200).json()["status"], "queued");
}

#[tokio::test]
async fn events_are_pages_and_streams_that_resume() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    claim(&app.db.database, LONG).await.expect("claimed");
    let path = format!("/v1/transfers/{id}/events");
    let page = app.get(&path).await.ok(200).json();
    let kinds: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(kinds, ["transfer.queued", "transfer.started"]);
    let first = page["data"][0]["seq"].as_i64().unwrap();
    let rest = app
        .get(&format!("{path}?after={first}"))
        .await
        .ok(200)
        .json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    let one = app.get(&format!("{path}?limit=1")).await.ok(200).json();
    assert_eq!(one["next"], json!(first.to_string()));

    let last = first.to_string();
    let headers = [
        ("accept", "text/event-stream"),
        ("last-event-id", last.as_str()),
    ];
    let asked = request(Method::GET, &path, &headers, Body::empty());
    let response = app.router.clone().oneshot(asked).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let begun = timeout(PATIENCE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let begun = String::from_utf8(begun.to_vec()).unwrap();
    assert!(
        begun.contains("event: transfer.started") && !begun.contains("queued\n"),
        "{begun}"
    );
    app.shutdown.cancel();
    // At most a keep-alive is still on its way.
    while let Some(rest) = timeout(PATIENCE, stream.next())
        .await
        .expect("the stream ends")
    {
        assert!(rest.unwrap().starts_with(b":"));
    }
    let bad = [("accept", "text/event-stream"), ("last-event-id", "x")];
    app.get_with(&path, &bad)
        .await
        .problem(422, "invalid_query");
}

#[tokio::test]
async fn a_stream_ends_with_its_transfer() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    transitions::request_cancel(&app.db.database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    let path = format!("/v1/transfers/{id}/events");
    let headers = [("accept", "text/event-stream")];
    let all = timeout(PATIENCE, app.get_with(&path, &headers))
        .await
        .expect("the stream ends");
    let all = all.ok(200).text();
    assert_eq!(all.matches("event: ").count(), 2);
    assert!(all.contains("event: transfer.cancelled"));
}
