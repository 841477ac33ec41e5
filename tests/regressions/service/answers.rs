//! What answers say, and who may keep them.

use std::time::Duration;

use axum::{body::Body, http::Method};
use futures::{StreamExt, stream};
use retune::config::Settings;
use serde_json::json;

use crate::api::app::{App, request};

#[tokio::test]
async fn nobody_on_the_way_keeps_an_answer() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    for path in [
        "/v1/transfers".to_owned(),
        format!("/v1/transfers/{id}"),
        format!("/v1/transfers/{id}/events"),
        format!("/v1/transfers/{id}/report"),
        "/v1/base_models".to_owned(),
        "/v1/base_models/llama".to_owned(),
        "/v1/base_models/llama/versions".to_owned(),
        "/v1/base_models/llama/inbound_tokens".to_owned(),
        "/v1/fine_tunes".to_owned(),
        "/v1/retunes".to_owned(),
        "/v1/webhook_endpoints".to_owned(),
        "/v1/api_keys".to_owned(),
        "/v1/audit_events".to_owned(),
        "/v1/workers".to_owned(),
        "/metrics".to_owned(),
        "/healthz".to_owned(),
        "/".to_owned(),
    ] {
        let answer = app.get(&path).await;
        let kept = answer.header("cache-control");
        assert!(
            ["no-store", "private, no-cache"].contains(&kept),
            "{path}: {kept:?}"
        );
    }
    let made = app
        .post("/v1/api_keys", &json!({"name": "x", "role": "read"}), &[])
        .await
        .ok(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let style = app.get("/assets/style.css").await;
    assert_eq!(
        style.header("cache-control"),
        "public, max-age=86400",
        "what says how is left as it is"
    );
}

/// Eighty thousand equal methods once gave eighty thousand faults, and a NUL in each of many texts as many.
#[tokio::test]
async fn an_answer_names_so_many_faults_and_no_more() {
    let app = App::open().await;
    let mut spec = app.spec();
    spec["methods"] = json!(vec!["identity"; 80_000]);
    let answer = app.post("/v1/transfers", &spec, &[]).await;
    assert!(answer.body.len() < 10_000, "{} bytes", answer.body.len());
    let pointers = answer.problem(422, "invalid_spec");
    assert_eq!(pointers[0], "/methods");
    assert!(pointers.len() <= 50, "{}", pointers.len());

    let mut spec = app.spec();
    spec["methods"] = json!(vec!["\u{0}"; 80_000]);
    let answer = app.post("/v1/transfers", &spec, &[]).await;
    assert!(answer.body.len() < 10_000, "{} bytes", answer.body.len());
    assert_eq!(answer.problem(422, "invalid_text").len(), 50);

    let key = "k".repeat(500_000);
    let answer = app.post("/v1/transfers", &json!({key: 1}), &[]).await;
    assert!(answer.body.len() < 10_000, "{} bytes", answer.body.len());
    answer.problem(422, "invalid_spec");
}

/// A body that comes byte by byte once held a route without a time limit for ever.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let mut settings = Settings::default();
    settings.http.request_timeout = Duration::from_secs(1);
    let app = App::start(true, settings).await;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    let body = Body::from_stream(stream::pending::<Result<&str, std::io::Error>>().boxed());
    let headers = [("content-type", "application/json")];
    let path = "/v1/base_models/llama/versions";
    let answer = app.send(request(Method::POST, path, &headers, body)).await;
    answer.problem(408, "body_too_slow");
}
