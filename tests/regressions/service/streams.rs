//! Event streams and long polls: how many a key has, and what becomes of them when it ends.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::Method,
    response::Response,
};
use futures::{FutureExt, StreamExt};
use retune::{
    config::Settings,
    contract::ids::TransferId,
    service::{
        database::api_keys,
        domain::access::{DEFAULT_TENANT, Role},
        registry::{keys, transitions},
    },
};
use tokio::time;
use tower::ServiceExt;

use crate::{
    api::app::{App, bearer, request},
    support::PATIENCE,
};

async fn open(app: &App, key: &str, id: TransferId) -> Response {
    let path = format!("/v1/transfers/{id}/events");
    let headers = [("authorization", key), ("accept", "text/event-stream")];
    let request = request(Method::GET, &path, &headers, Body::empty());
    app.router
        .clone()
        .oneshot(request)
        .await
        .expect("infallible")
}

async fn next(stream: &mut BodyDataStream) -> Option<String> {
    let some = time::timeout(PATIENCE, stream.next())
        .await
        .expect("in time")?;
    Some(String::from_utf8_lossy(&some.expect("no error")).into_owned())
}

/// What the stream still says until it ends.
async fn rest(mut stream: BodyDataStream) -> String {
    let mut said = String::new();
    while let Some(more) = next(&mut stream).await {
        said += &more;
    }
    said
}

#[tokio::test]
async fn a_stream_ends_with_the_key_that_opened_it() {
    for (sql, what) in [
        (
            "UPDATE api_keys SET revoked_at = now() WHERE role = 'read'",
            "withdrawn",
        ),
        (
            "UPDATE api_keys SET expires_at = now() WHERE role = 'read'",
            "expired",
        ),
    ] {
        let app = App::closed().await;
        let id = app.db.queued(1).await.id;
        let key = bearer(&app.key(Role::Read).await);
        let mut stream = open(&app, &key, id).await.into_body().into_data_stream();
        assert!(
            next(&mut stream)
                .await
                .expect("what there is")
                .contains("transfer.queued")
        );

        // In another process, so that nothing here is told of it.
        sqlx::query(sql)
            .execute(&app.db.database.pool)
            .await
            .expect("withdrawn");
        transitions::request_cancel(&app.db.database, DEFAULT_TENANT, id)
            .await
            .expect("cancelled");
        let said = rest(stream).await;
        assert!(
            !said.contains("cancelled"),
            "{what}: it went on telling: {said}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_tell_ends_with_its_key_too() {
    let app = App::closed().await;
    let id = app.db.queued(1).await.id;
    let key = bearer(&app.key(Role::Read).await);
    let mut stream = open(&app, &key, id).await.into_body().into_data_stream();
    assert!(
        next(&mut stream)
            .await
            .expect("what there is")
            .contains("transfer.queued")
    );
    sqlx::query("UPDATE api_keys SET revoked_at = now()")
        .execute(&app.db.database.pool)
        .await
        .expect("withdrawn");
    rest(stream).await;
}

#[tokio::test]
async fn a_long_poll_is_answered_to_who_may_still_know() {
    let app = App::closed().await;
    let id = app.db.queued(1).await.id;
    let secret = app.key(Role::Read).await;
    let key = bearer(&secret);
    let path = format!("/v1/transfers/{id}?wait=60");
    let headers = [("authorization", key.as_str())];
    let mut poll = std::pin::pin!(app.get_with(&path, &headers));
    let known = api_keys::authenticate(&app.db.database, &secret)
        .await
        .expect("an answer");
    let key_id = known
        .expect("the key holds")
        .principal
        .key_id
        .expect("a key");
    // It waits from here on.
    assert!(
        time::timeout(Duration::from_millis(500), &mut poll)
            .await
            .is_err(),
        "nothing happened"
    );
    keys::revoke(&app.db.database, DEFAULT_TENANT, key_id)
        .await
        .expect("withdrawn");
    transitions::request_cancel(&app.db.database, DEFAULT_TENANT, id)
        .await
        .expect("cancelled");
    let answer = time::timeout(PATIENCE, poll).await.expect("in time");
    answer.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_has_so_many_streams_and_long_polls_open() {
    let mut settings = Settings::default();
    settings.http.streams_per_key = 2;
    let app = App::start(false, settings).await;
    let id = app.db.queued(1).await.id;
    let (key, other) = (
        bearer(&app.key(Role::Read).await),
        bearer(&app.key(Role::Read).await),
    );
    let one = open(&app, &key, id).await;
    let two = open(&app, &key, id).await;
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));

    let refused = open(&app, &key, id).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "5");
    let path = format!("/v1/transfers/{id}?wait=60");
    let poll = app.get_with(&path, &[("authorization", &key)]).await;
    poll.problem(429, "too_many_streams");
    assert_eq!(
        open(&app, &other, id).await.status(),
        200,
        "another key has its own"
    );
    let look = format!("/v1/transfers/{id}");
    app.get_with(&look, &[("authorization", &key)])
        .await
        .ok(200);

    drop(one);
    assert_eq!(
        open(&app, &key, id).await.status(),
        200,
        "its place is free again"
    );
    drop(two);
    let headers = [("authorization", key.as_str())];
    let waiting = app.get_with(&path, &headers);
    assert!(waiting.now_or_never().is_none(), "it waits");
}
