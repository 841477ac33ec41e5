//! The feed of all events of a tenant, and who calls.

use axum::{body::Body, http::Method};
use futures::StreamExt;
use retune::service::domain::access::{DEFAULT_TENANT, Role};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::timeout;
use tower::ServiceExt;
use uuid::Uuid;

use super::app::{App, bearer, request};
use crate::support::PATIENCE;

impl App {
    async fn feed(&self, after: i64) -> Vec<Value> {
        let page = self
            .get(&format!("/v1/events?after={after}"))
            .await
            .ok(200)
            .json();
        page["data"].as_array().expect("a page").clone()
    }
}

async fn write_event(connection: &mut PgConnection, subject: &str) {
    sqlx::query(
        "INSERT INTO events (id, tenant, subject, kind) VALUES ($1, $2, $3, 'gate.passed')",
    )
    .bind(Uuid::now_v7())
    .bind(DEFAULT_TENANT)
    .bind(subject)
    .execute(connection)
    .await
    .expect("an event");
}

#[tokio::test]
async fn everything_that_happens_is_in_one_feed_with_a_level_and_a_sentence() {
    let app = App::with_base().await;
    let id = app.db.queued(1).await.id;
    let events = app.feed(0).await;
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["base_model.version.created", "transfer.queued"]);
    let last = &events[1];
    assert_eq!(last["subject"], json!(format!("transfers/{id}")));
    assert_eq!(
        (&last["level"], &last["message"]),
        (&json!("info"), &json!("queued"))
    );
    assert_eq!(
        (&events[0]["place"], &last["place"]),
        (&json!(1), &json!(2))
    );
    let of_transfer = app
        .get(&format!("/v1/transfers/{id}/events"))
        .await
        .ok(200)
        .json();
    assert_eq!(of_transfer["data"][0]["message"], "queued");
    assert_eq!(app.feed(2).await, Vec::<Value>::new());
    let first = app.get("/v1/events?limit=1").await.ok(200).json();
    assert_eq!(
        (&first["data"][0], &first["next"]),
        (&events[0], &json!("1"))
    );
}

#[tokio::test]
async fn what_is_seen_late_is_not_missed_by_who_has_read_on() {
    let app = App::open().await;
    let pool = &app.db.database.pool;
    let (mut slow, mut quick) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    write_event(&mut slow, "slow").await;
    write_event(&mut quick, "quick").await;
    quick.commit().await.unwrap();
    let seen = app.feed(0).await;
    assert_eq!((seen.len(), &seen[0]["subject"]), (1, &json!("quick")));
    slow.commit().await.unwrap();
    let rest = app.feed(seen[0]["place"].as_i64().unwrap()).await;
    assert_eq!((rest.len(), &rest[0]["subject"]), (1, &json!("slow")));
    assert_eq!(app.feed(0).await, [seen, rest].concat(), "places stay");
}

#[tokio::test]
async fn readers_at_once_give_each_event_one_place() {
    let app = App::open().await;
    for number in 0..20 {
        write_event(
            &mut app.db.database.pool.acquire().await.unwrap(),
            &number.to_string(),
        )
        .await;
    }
    let reads = futures::future::join_all((0..6).map(|_| app.feed(0))).await;
    for read in &reads {
        assert_eq!(read, &reads[0]);
    }
    let places: Vec<_> = reads[0]
        .iter()
        .map(|event| event["place"].as_i64().unwrap())
        .collect();
    assert_eq!(places, (1..=20).collect::<Vec<i64>>());
}

#[tokio::test]
async fn the_feed_is_a_stream_that_goes_on() {
    let app = App::open().await;
    app.db.queued(1).await;
    let headers = [("accept", "text/event-stream"), ("last-event-id", "0")];
    let asked = request(Method::GET, "/v1/events", &headers, Body::empty());
    let response = app.router.clone().oneshot(asked).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let first = timeout(PATIENCE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(
        first.contains("id: 1") && first.contains("event: transfer.queued"),
        "{first}"
    );
    app.db.queued(1).await;
    let second = timeout(PATIENCE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        String::from_utf8(second.to_vec())
            .unwrap()
            .contains("id: 2")
    );
    app.shutdown.cancel();
    while let Some(rest) = timeout(PATIENCE, stream.next())
        .await
        .expect("the stream ends")
    {
        assert!(rest.unwrap().starts_with(b":"));
    }
}

#[tokio::test]
async fn the_feed_of_a_tenant_has_nothing_of_another() {
    let app = App::closed().await;
    app.db.queued(1).await;
    let other = bearer(&app.key_of(app.tenant().await, Role::Read).await);
    let page = app
        .get_with("/v1/events", &[("authorization", &other)])
        .await
        .ok(200)
        .json();
    assert_eq!(page, json!({"data": [], "next": null}));
}

#[tokio::test]
async fn a_caller_can_ask_who_it_is() {
    let app = App::closed().await;
    let key = bearer(&app.key(Role::Submit).await);
    let me = app
        .get_with("/v1/me", &[("authorization", &key)])
        .await
        .ok(200)
        .json();
    assert_eq!(
        (&me["tenant_name"], &me["role"]),
        (&json!("default"), &json!("submit"))
    );
    assert_eq!(
        (&me["expires_at"], &me["key"]["name"]),
        (&Value::Null, &json!("test"))
    );
    app.get("/v1/me").await.problem(401, "unauthenticated");
    let open = App::open().await.get("/v1/me").await.ok(200).json();
    assert_eq!(
        (&open["role"], &open["key"]),
        (&json!("admin"), &Value::Null)
    );
}
