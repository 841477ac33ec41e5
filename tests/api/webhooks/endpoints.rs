//! Endpoints: secrets, addresses that are refused, lists, and whose events they hear of.

use std::{sync::Arc, time::Duration};

use retune::{
    config::Settings,
    service::{
        database::transfers::Enqueue,
        domain::access::Role,
        webhooks::{Lookup, lookup},
    },
};
use serde_json::{Value, json};

use super::{
    super::app::{App, bearer},
    app, send, subscribe, until,
};
use crate::support::{enqueue, receiver::Receiver, webhooks::settings};

#[tokio::test]
async fn a_secret_is_shown_once_and_rotated_with_an_overlap() {
    let app = app().await;
    let mut hook = Receiver::start().await;
    let old = subscribe(&app, "ci", &hook.url, &["*"]).await;
    let path = "/v1/webhook_endpoints/ci";
    let again = app.put(path, &json!({"url": hook.url}), &[]).await.ok(200);
    assert!(again.json().get("secret").is_none());
    let rotated = app
        .post(&format!("{path}/rotate"), &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(rotated.header("cache-control"), "no-store");
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    for text in [
        app.get(path).await.text(),
        app.get("/v1/webhook_endpoints").await.text(),
    ] {
        assert!(!text.contains("whsec_") && !text.contains(&new[6..]) && !text.contains(&old[6..]));
    }

    let _sending = send(&app, &settings(), lookup());
    app.db.queued(1).await;
    let both = hook.post().await;
    assert!(both.is_signed_by(&old) && both.is_signed_by(&new));
    assert_eq!(both.header("webhook-signature").split(' ').count(), 2);
    app.db
        .execute("UPDATE webhook_endpoints SET previous_secret_until = now()")
        .await;
    app.db.queued(1).await;
    let one = hook.post().await;
    assert!(!one.is_signed_by(&old) && one.is_signed_by(&new));
}

#[tokio::test]
async fn special_addresses_are_refused_when_given_and_when_reached() {
    let app = App::open().await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:127.0.0.1]/",
        "https://localhost/",
        "https://user:password@example.com/",
    ] {
        let put = app
            .put("/v1/webhook_endpoints/ci", &json!({"url": url}), &[])
            .await;
        assert_eq!(put.problem(422, "address_not_allowed"), ["/url"], "{url}");
    }
    // Rebinding: the name was public when it was looked at, and is private when it is connected to.
    let mut hook = Receiver::start().await;
    let address: std::net::SocketAddr = hook.url[7..].trim_end_matches("/hook").parse().unwrap();
    let rebound: Lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![address]) }));
    let url = format!("https://rebound.example:{}/", address.port());
    subscribe(&app, "rebound", &url, &["*"]).await;
    let mut settings = Settings::default();
    settings.webhooks.poll = Duration::from_millis(50);
    let sending = send(&app, &settings, Arc::clone(&rebound));
    app.db.queued(1).await;
    let refused = until(&app, "rebound", |one| one["error"].is_string()).await;
    let error = refused["error"].as_str().unwrap();
    assert!(
        error.contains("no address that webhooks may go to"),
        "{error}"
    );
    drop(sending);
    // Where the network is allowed the connection is made, and fails for want of TLS.
    settings.webhooks.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    app.db
        .execute("UPDATE deliveries SET next_attempt_at = now(), error = NULL")
        .await;
    let _sending = send(&app, &settings, rebound);
    // The sender before may still be ending an attempt, and note its own error once more.
    let otherwise = |error: &str| !error.contains("no address");
    let reached = until(&app, "rebound", |one| {
        one["error"].as_str().is_some_and(otherwise)
    })
    .await;
    let error = reached["error"].as_str().unwrap();
    assert!(!error.contains("rebound.example"), "{error}");
    assert!(hook.is_quiet());
}

#[tokio::test]
async fn endpoints_are_listed_filtered_and_removed() {
    let app = app().await;
    for name in ["a", "b", "c"] {
        subscribe(&app, name, "http://127.0.0.1:9/", &["*"]).await;
    }
    let page = app
        .get("/v1/webhook_endpoints?limit=2")
        .await
        .ok(200)
        .json();
    let names = |page: &Value| -> Vec<String> {
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["c", "b"]);
    let next = page["next"].as_str().unwrap();
    let rest = app
        .get(&format!("/v1/webhook_endpoints?limit=2&after={next}"))
        .await
        .ok(200)
        .json();
    assert_eq!(
        (names(&rest), &rest["next"]),
        (vec!["a".into()], &Value::Null)
    );
    app.get("/v1/webhook_endpoints?sort=name")
        .await
        .problem(422, "invalid_query");
    app.db.queued(1).await;
    let path = "/v1/webhook_endpoints/a";
    let failed = app
        .get(&format!("{path}/deliveries?status=failed"))
        .await
        .ok(200)
        .json();
    assert_eq!(failed["data"], json!([]));
    let pending = app
        .get(&format!("{path}/deliveries?status=pending"))
        .await
        .ok(200)
        .json();
    assert_eq!(pending["data"].as_array().unwrap().len(), 1);
    app.get(&format!("{path}/deliveries?status=done"))
        .await
        .problem(422, "invalid_query");
    app.delete(path, &[]).await.ok(204);
    for path in [path.to_owned(), format!("{path}/deliveries")] {
        app.get(&path).await.problem(404, "not_found");
    }
    app.delete(path, &[]).await.problem(404, "not_found");
    app.post(&format!("{path}/rotate"), &json!({}), &[])
        .await
        .problem(404, "not_found");
    let misspelt = json!({"url": "https://example.com/", "events": ["transfer.done"]});
    let put = app.put("/v1/webhook_endpoints/d", &misspelt, &[]).await;
    assert_eq!(put.problem(422, "invalid_body"), ["/events/0"]);
    for name in [".a", "a%2Fb", "a%20b"] {
        let path = format!("/v1/webhook_endpoints/{name}");
        let put = app
            .put(&path, &json!({"url": "https://example.com/"}), &[])
            .await;
        assert_eq!(put.problem(422, "invalid_body"), ["/name"]);
    }
    app.get("/v1/webhook_endpoints/%00")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn tenants_hear_of_their_own_events_alone() {
    let app = App::start(false, settings()).await;
    let tenant = app.tenant().await;
    let (own, theirs) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key_of(tenant, Role::Admin).await),
    );
    let wanted = json!({"url": "http://127.0.0.1:9/"});
    let path = "/v1/webhook_endpoints/ci";
    app.put(path, &wanted, &[("authorization", &own)])
        .await
        .ok(201);
    app.get_with(path, &[("authorization", &theirs)])
        .await
        .problem(404, "not_found");
    let made = app
        .put(path, &wanted, &[("authorization", &theirs)])
        .await
        .ok(201);
    assert!(
        made.json()["secret"].is_string(),
        "a name belongs to each tenant"
    );
    app.db
        .submit(Enqueue {
            tenant,
            ..enqueue()
        })
        .await;
    let list = format!("{path}/deliveries");
    let count = async |key: &str| {
        let page = app
            .get_with(&list, &[("authorization", key)])
            .await
            .ok(200)
            .json();
        page["data"].as_array().unwrap().len()
    };
    assert_eq!((count(&own).await, count(&theirs).await), (0, 1));
    let reader = bearer(&app.key(Role::Submit).await);
    app.get_with(path, &[("authorization", &reader)])
        .await
        .problem(403, "forbidden");
}
