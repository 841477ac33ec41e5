//! A service that runs open, and the first key.

use std::sync::Arc;

use axum::{body::Body, http::Method};
use futures::{StreamExt, future::join_all, stream};
use retune::service::domain::access::Role;
use serde_json::json;
use tokio::sync::Notify;

use crate::api::app::{App, request};

/// A key was made by another process, then it was quiet, then forty asked at once: one of them looked, and
/// the others went on with what was known before.
#[tokio::test]
async fn nobody_becomes_administrator_without_a_key_once_there_is_one() {
    let app = App::open().await;
    app.get("/v1/transfers").await.ok(200);
    app.key(Role::Read).await;

    let wanted = json!({"name": "mine", "role": "admin"});
    let asked = (0..40).map(|_| app.post("/v1/api_keys", &wanted, &[]));
    for answer in join_all(asked).await {
        answer.problem(401, "unauthenticated");
    }

    let pages = (0..40).map(|_| app.get("/base-models"));
    for answer in join_all(pages).await {
        let answer = answer.ok(303);
        assert!(
            answer.header("location").starts_with("/login"),
            "{}",
            answer.header("location")
        );
    }
}

/// The same by a request that was let in before the key was made and sends its body after that.
#[tokio::test]
async fn a_body_that_comes_late_is_judged_by_what_holds_then() {
    let app = App::open().await;
    let (asked, made) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reading, go_on) = (Arc::clone(&asked), Arc::clone(&made));
    let body = stream::once(async move {
        reading.notify_one();
        go_on.notified().await;
        Ok::<_, std::io::Error>(r#"{"name": "mine", "role": "admin"}"#)
    });
    let headers = [("content-type", "application/json")];
    let body = Body::from_stream(body.boxed());
    let late = app.send(request(Method::POST, "/v1/api_keys", &headers, body));

    let first = async {
        asked.notified().await;
        app.key(Role::Read).await;
        made.notify_one();
    };
    let (answer, ()) = futures::join!(late, first);
    answer.problem(401, "unauthenticated");
}
