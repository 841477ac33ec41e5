//! Who may do what, how much of it, and what is remembered of it.

mod quotas;
mod tenants;

use std::time::Duration;

use axum::http::{Method, header};
use retune::{
    config::Settings,
    pipeline::Verdict,
    service::domain::{access::Role, leases::RetryPolicy},
};
use serde_json::{Value, json};

use super::app::{App, bearer, request};
use crate::support::LONG;

/// What failed is tried again at once.
const NOW: RetryPolicy = RetryPolicy {
    backoff: Duration::from_nanos(1),
    ..LONG
};

/// `[outcome, action, subject, key]` of the entries, oldest first.
async fn audited(app: &App, key: &str) -> Vec<[Value; 4]> {
    let page = app
        .get_with("/v1/audit_events?limit=200", &[("authorization", key)])
        .await;
    let page = page.ok(200).json();
    let rows = page["data"].as_array().unwrap().iter().rev();
    rows.map(|row| ["outcome", "action", "subject", "key"].map(|name| row[name].clone()))
        .collect()
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_its_key() {
    let app = App::closed().await;
    let admin = bearer(&app.key(Role::Admin).await);
    let as_admin = [("authorization", admin.as_str())];
    let id = app
        .post("/v1/transfers", &app.spec(), &as_admin)
        .await
        .ok(202)
        .json()["id"]
        .clone();
    let transfer = format!("transfers/{}", id.as_str().unwrap());
    for verb in ["cancel", "retry"] {
        let answer = app
            .post(&format!("/v1/{transfer}/{verb}"), &json!({}), &as_admin)
            .await;
        assert!(answer.status.is_success());
    }
    let wanted = json!({"name": "ci", "role": "read"});
    let made = app
        .post("/v1/api_keys", &wanted, &as_admin)
        .await
        .ok(201)
        .json();
    let key = format!("api_keys/{}", made["id"].as_str().unwrap());
    app.delete(&format!("/v1/{key}"), &as_admin).await.ok(204);
    let hook = "webhook_endpoints/ci";
    let url = json!({"url": "https://example.com/"});
    app.put(&format!("/v1/{hook}"), &url, &as_admin)
        .await
        .ok(201);
    app.post(&format!("/v1/{hook}/rotate"), &json!({}), &as_admin)
        .await
        .ok(200);
    app.post(&format!("/v1/{transfer}/cancel"), &json!({}), &as_admin)
        .await
        .ok(200);
    let page = app
        .get_with(&format!("/v1/{hook}/deliveries"), &as_admin)
        .await
        .ok(200)
        .json();
    let delivery = format!(
        "{hook}/deliveries/{}",
        page["data"][0]["id"].as_str().unwrap()
    );
    app.post(&format!("/v1/{delivery}/replay"), &json!({}), &as_admin)
        .await
        .ok(202);
    app.delete(&format!("/v1/{hook}"), &as_admin).await.ok(204);
    app.post("/v1/callback_secret/rotate", &json!({}), &as_admin)
        .await
        .ok(200);

    let entries = audited(&app, &admin).await;
    let by_admin = entries[1][3].clone();
    assert!(by_admin.is_string());
    let done: Vec<_> = entries
        .iter()
        .map(|[_, action, subject, _]| [action, subject])
        .collect();
    let expected = [
        ("transfer.submit", transfer.as_str()),
        ("transfer.cancel", &transfer),
        ("transfer.retry", &transfer),
        ("api_key.create", &key),
        ("api_key.revoke", &key),
        ("webhook_endpoint.put", hook),
        ("webhook_endpoint.rotate", hook),
        ("transfer.cancel", &transfer),
        ("delivery.replay", &delivery),
        ("webhook_endpoint.delete", hook),
        ("callback_secret.rotate", "callback_secret"),
    ];
    assert_eq!(
        done[0][0], "api_key.create",
        "the test's own, without a key"
    );
    assert_eq!(entries[0][3], Value::Null);
    assert_eq!(done.len(), expected.len() + 1);
    for (found, (action, subject)) in done[1..].iter().zip(expected) {
        assert_eq!((found[0], found[1]), (&json!(action), &json!(subject)));
    }
    assert!(
        entries[1..]
            .iter()
            .all(|[outcome, _, _, key]| outcome == "done" && *key == by_admin)
    );
}

#[tokio::test]
async fn every_change_of_the_registry_is_in_the_audit_log_with_its_key() {
    let app = App::closed().await;
    let admin = bearer(&app.key(Role::Admin).await);
    let as_admin = [("authorization", admin.as_str())];
    let put = async |path: &str, body: Value| {
        let answer = app.put(&format!("/v1/{path}"), &body, &as_admin).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    };
    let post = async |path: &str, body: Value| {
        let answer = app.post(&format!("/v1/{path}"), &body, &as_admin).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
        answer.json()
    };
    let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
    let model = "base_models/llama";
    put(model, json!({})).await;
    for version in ["1", "2"] {
        app.put_model(version, version);
        let new = json!({"version": version, "uri": app.uri(&format!("{version}/"))});
        post(&format!("{model}/versions"), new).await;
    }
    put(&format!("{model}/aliases/stable"), json!({"version": "1"})).await;
    put("fine_tunes/news", app.fine_tune_body("promote")).await;
    let canary = "fine_tunes/news/aliases/canary";
    put(canary, json!({"protected": true})).await;
    put(canary, json!({"protected": false})).await;
    let onto = |version: &str| json!({"base_model": "llama", "version": version});
    let retune = format!("retunes/{}", id(&post("retunes", onto("2")).await));
    post(&format!("{retune}/pause"), json!({})).await;
    post(&format!("{retune}/resume"), json!({})).await;
    app.finish_next(Verdict::Published).await;
    let more = json!({"fine_tunes": ["news"], "targets": [app.uri("elsewhere/")]});
    let other = format!("retunes/{}", id(&post("retunes", more.clone()).await));
    app.finish_next(Verdict::Published).await;
    let last = format!("retunes/{}", id(&post("retunes", more).await));
    post(&format!("{last}/cancel"), json!({})).await;
    post("fine_tunes/news/versions/2/promote", json!({})).await;
    post(
        "fine_tunes/news/versions/2/rollback",
        json!({"alias": "production"}),
    )
    .await;
    let tokens = format!("{model}/inbound_tokens");
    let made = post(&tokens, json!({"prefix": app.uri("landing/")})).await;
    let token = format!("{tokens}/{}", id(&made));
    app.delete(&format!("/v1/{token}"), &as_admin).await.ok(204);

    let by_admin = audited(&app, &admin).await[1][3].clone();
    let expected = [
        ("base_model.put", model),
        ("base_model.version", "base_models/llama/versions/1"),
        ("base_model.version", "base_models/llama/versions/2"),
        ("base_model.alias", "base_models/llama/aliases/stable"),
        ("fine_tune.put", "fine_tunes/news"),
        ("fine_tune.alias.protect", canary),
        ("fine_tune.alias.unprotect", canary),
        ("retune.create", &retune),
        ("retune.pause", &retune),
        ("retune.resume", &retune),
        // Its policy, not a caller.
        (
            "fine_tune.promote",
            "fine_tunes/news/versions/1/aliases/production",
        ),
        ("retune.create", &other),
        ("retune.create", &last),
        ("retune.cancel", &last),
        (
            "fine_tune.promote",
            "fine_tunes/news/versions/2/aliases/production",
        ),
        (
            "fine_tune.rollback",
            "fine_tunes/news/versions/2/aliases/production",
        ),
        ("inbound_token.create", &token),
        ("inbound_token.delete", &token),
    ];
    let entries = audited(&app, &admin).await;
    let done: Vec<_> = entries[1..]
        .iter()
        .map(|[_, action, subject, _]| [action, subject])
        .collect();
    let wanted: Vec<_> = expected
        .map(|(action, subject)| [json!(action), json!(subject)])
        .into();
    assert_eq!(done, wanted.iter().map(|[a, b]| [a, b]).collect::<Vec<_>>());
    for (i, [outcome, _, _, key]) in entries[1..].iter().enumerate() {
        let policy = expected[i].1.ends_with("versions/1/aliases/production");
        let caller = if policy { &Value::Null } else { &by_admin };
        assert_eq!(
            (outcome, key),
            (&json!("done"), caller),
            "{:?}",
            expected[i]
        );
    }
}

#[tokio::test]
async fn refusals_are_in_the_audit_log_and_reading_is_not() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let (admin, reader) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key(Role::Read).await),
    );
    let theirs = bearer(&app.key_of(tenant, Role::Admin).await);
    let as_reader = [("authorization", reader.as_str())];
    let id = app.db.queued(1).await.id;
    let cancel = format!("/v1/transfers/{id}/cancel");
    app.post(&cancel, &json!({}), &as_reader)
        .await
        .problem(403, "forbidden");
    app.get_with("/v1/transfers", &as_reader).await.ok(200);
    app.get_with("/v1/audit_events", &as_reader)
        .await
        .problem(403, "forbidden");
    app.post(&cancel, &json!({}), &[])
        .await
        .problem(401, "unauthenticated");
    app.post(&cancel, &json!({}), &[("authorization", &theirs)])
        .await
        .problem(404, "not_found");
    let as_admin = [("authorization", admin.as_str())];
    let refused = app
        .get_with("/v1/audit_events?outcome=refused", &as_admin)
        .await
        .ok(200)
        .json();
    let rows = refused["data"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["action"], "POST /v1/transfers/{id}/cancel");
    assert_eq!(rows[0]["subject"], format!("transfers/{id}/cancel"));
    assert_eq!(rows[0]["code"], "forbidden");
    // The other tenant's administrator sees their own failure alone.
    let entries = audited(&app, &theirs).await;
    assert_eq!(
        entries.iter().filter(|entry| entry[0] == "refused").count(),
        1
    );
    let one = app
        .get_with("/v1/audit_events?limit=1", &as_admin)
        .await
        .ok(200)
        .json();
    let next = one["next"].as_str().unwrap();
    let rest = app
        .get_with(&format!("/v1/audit_events?after={next}"), &as_admin)
        .await
        .ok(200);
    assert_ne!(rest.json()["data"][0]["id"], one["data"][0]["id"]);
    app.get_with("/v1/audit_events?who=x", &as_admin)
        .await
        .problem(422, "invalid_query");
}

#[tokio::test]
async fn who_is_refused_too_often_does_not_flood_the_audit_log() {
    let mut settings = Settings::default();
    settings.http.rate_limit = 1;
    let app = App::start(false, settings).await;
    let (admin, reader) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key(Role::Read).await),
    );
    let cancel = format!("/v1/transfers/{}/cancel", app.db.queued(1).await.id);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let refused = app
            .post(&cancel, &json!({}), &[("authorization", &reader)])
            .await;
        statuses.push(refused.status.as_u16());
    }
    let forbidden = statuses.iter().filter(|status| **status == 403).count();
    assert!(
        statuses[0] == 403 && statuses.contains(&429),
        "{statuses:?}"
    );
    let entries = audited(&app, &admin).await;
    assert_eq!(
        entries.iter().filter(|entry| entry[0] == "refused").count(),
        forbidden
    );
}

#[tokio::test]
async fn no_error_repeats_the_key_or_the_body_that_caused_it() {
    let app = App::closed().await;
    let unknown = format!("rt_{}_{}", "0".repeat(12), "5".repeat(64));
    let admin = app.key(Role::Admin).await;
    for key in [&unknown, &admin] {
        let authorization = bearer(key);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "text/json"),
        ];
        for body in ["{", "{\"secret\": \"hunter2\"}", "\"hunter2\""] {
            for path in ["/v1/transfers", "/v1/api_keys", "/v1/nothing"] {
                let answer = app
                    .send(request(Method::POST, path, &headers, body.into()))
                    .await;
                assert!(answer.status.is_client_error());
                assert!(answer.headers.get(header::SET_COOKIE).is_none());
                let text = answer.text();
                assert!(
                    !text.contains("555555") && !text.contains(&key[16..]),
                    "{text}"
                );
            }
        }
    }
}
