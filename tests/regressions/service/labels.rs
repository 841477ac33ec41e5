//! What a stranger chooses does not become a label, nor a line of any length in the log.

use axum::{body::Body, http::Method};
use retune::service::domain::access::Role;

use crate::api::app::{App, bearer, request};

/// Twenty thousand requests with methods of 200 letters once took 241 MB, without a key.
#[tokio::test]
async fn methods_that_nobody_knows_are_one_label() {
    let app = App::closed().await;
    for i in 0..300 {
        let name = format!("{}{i:03}", "QZJXKV".repeat(33));
        let method = Method::from_bytes(name.as_bytes()).expect("a method is any word");
        let path = if i % 2 == 0 {
            "/v1/transfers".to_owned()
        } else {
            format!("/nothing/{i}")
        };
        let answer = app.send(request(method, &path, &[], Body::empty())).await;
        assert!([404, 405].contains(&answer.status.as_u16()), "{answer:?}");
    }
    let figures = app.get("/metrics").await.ok(200).text();
    assert!(!figures.contains("QZJXKV"), "a stranger's word is a label");
    assert!(
        !figures.contains("/nothing/"),
        "a stranger's path is a label"
    );
    assert!(
        figures.contains(r#"method="other",path="unmatched""#),
        "{figures}"
    );
    assert!(
        figures.contains(r#"method="other",path="/v1/transfers""#),
        "{figures}"
    );
}

#[tokio::test]
async fn an_unknown_method_of_a_key_is_recorded_under_a_bounded_name() {
    let app = App::closed().await;
    let reader = bearer(&app.key(Role::Read).await);
    let admin = bearer(&app.key(Role::Admin).await);
    let wanted = serde_json::json!({"name": "x", "role": "read"});
    app.post("/v1/api_keys", &wanted, &[("authorization", &reader)])
        .await
        .problem(403, "forbidden");
    let listed = app
        .get_with("/v1/audit_events", &[("authorization", &admin)])
        .await
        .ok(200);
    assert_eq!(listed.json()["data"][0]["action"], "POST /v1/api_keys");
}

#[tokio::test]
async fn a_request_id_that_is_none_is_replaced() {
    let app = App::open().await;
    let id = async |sent: &str| {
        let answer = app
            .get_with("/healthz", &[("x-request-id", sent)])
            .await
            .ok(200);
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(id("0190-abc_1").await, "0190-abc_1");
    for odd in ["x".repeat(129), "a b".to_owned(), "{}".to_owned()] {
        assert_eq!(id(&odd).await.len(), 36, "one of ours in place of {odd}");
    }
}
