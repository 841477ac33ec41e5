use axum::{body::Body, http::Method};
use retune::{
    config::Settings,
    service::{database::transfers::Enqueue, domain::access::Role},
};
use serde_json::json;

use super::app::{App, bearer, request};
use crate::support::{enqueue, within};

#[tokio::test]
async fn without_a_good_key_there_is_no_entry() {
    let app = App::closed().await;
    app.get("/v1/transfers")
        .await
        .problem(401, "unauthenticated");
    let unknown = bearer(&format!("rt_{}_{}", "0".repeat(12), "0".repeat(64)));
    for credentials in ["Bearer x", "Basic abc", "Bearer", unknown.as_str()] {
        let answer = app
            .get_with("/v1/workers", &[("authorization", credentials)])
            .await;
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        answer.problem(401, "unauthenticated");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        app.get(path).await.ok(200);
    }
}

#[tokio::test]
async fn each_role_reaches_as_far_as_it_should() {
    let app = App::closed().await;
    let cancel = format!("/v1/transfers/{}/cancel", app.db.queued(1).await.id);
    let spec = app.spec();
    for (role, submit, keys) in [
        (Role::Read, 403, 403),
        (Role::Submit, 202, 403),
        (Role::Admin, 202, 200),
    ] {
        let key = bearer(&app.key(role).await);
        let as_key = [("authorization", key.as_str())];
        app.get_with("/v1/transfers", &as_key).await.ok(200);
        app.get_with("/v1/workers", &as_key).await.ok(200);
        app.post("/v1/transfers", &spec, &as_key).await.ok(submit);
        app.get_with("/v1/api_keys", &as_key).await.ok(keys);
        if role == Role::Read {
            app.post(&cancel, &json!({}), &as_key)
                .await
                .problem(403, "forbidden");
            app.post("/v1/transfers:plan", &spec, &as_key)
                .await
                .problem(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn another_tenants_transfer_is_not_there() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let theirs = app
        .db
        .submit(Enqueue {
            tenant,
            ..enqueue()
        })
        .await
        .id;
    let own = bearer(&app.key(Role::Admin).await);
    let as_own = [("authorization", own.as_str())];
    for tail in ["", "/events", "/report", "/files/manifest.json"] {
        let answer = app
            .get_with(&format!("/v1/transfers/{theirs}{tail}"), &as_own)
            .await;
        answer.problem(404, "not_found");
    }
    let cancel = format!("/v1/transfers/{theirs}/cancel");
    app.post(&cancel, &json!({}), &as_own)
        .await
        .problem(404, "not_found");
    assert_eq!(
        app.get_with("/v1/transfers", &as_own).await.json()["data"],
        json!([])
    );
    let their_key = bearer(&app.key_of(tenant, Role::Read).await);
    let path = format!("/v1/transfers/{theirs}");
    app.get_with(&path, &[("authorization", &their_key)])
        .await
        .ok(200);
}

#[tokio::test]
async fn a_key_is_shown_once_and_can_be_withdrawn() {
    let app = App::closed().await;
    let admin = bearer(&app.key(Role::Admin).await);
    let as_admin = [("authorization", admin.as_str())];
    let wanted = json!({"name": "ci", "role": "read"});
    let made = app
        .post("/v1/api_keys", &wanted, &as_admin)
        .await
        .ok(201)
        .json();
    let secret = bearer(made["secret"].as_str().unwrap());
    app.get_with("/v1/transfers", &[("authorization", &secret)])
        .await
        .ok(200);
    let list = app.get_with("/v1/api_keys", &as_admin).await.ok(200);
    assert!(!list.text().contains(made["secret"].as_str().unwrap()));
    assert_eq!(list.json()["data"][0]["id"], made["id"]);
    let page = app
        .get_with("/v1/api_keys?limit=1", &as_admin)
        .await
        .ok(200)
        .json();
    let after = format!("/v1/api_keys?after={}", page["next"].as_str().unwrap());
    let rest = app.get_with(&after, &as_admin).await.ok(200).json();
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["next"]),
        (1, &json!(null))
    );

    let path = format!("/v1/api_keys/{}", made["id"].as_str().unwrap());
    app.send(request(Method::DELETE, &path, &as_admin, Body::empty()))
        .await
        .ok(204);
    let refused = app
        .get_with("/v1/transfers", &[("authorization", &secret)])
        .await;
    refused.problem(401, "unauthenticated");
    let unknown = "/v1/api_keys/00000000-0000-7000-8000-000000000000";
    let unknown = app
        .send(request(Method::DELETE, unknown, &as_admin, Body::empty()))
        .await;
    unknown.problem(404, "not_found");
    for (body, pointer) in [
        (json!({"name": " ", "role": "read"}), "/name"),
        (json!({"name": "x", "role": "king"}), "/role"),
        (
            json!({"name": "x", "role": "read", "expires_at": "2001-01-01T00:00:00Z"}),
            "/expires_at",
        ),
        (
            json!({"name": "x", "role": "read", "tenant": "y"}),
            "/tenant",
        ),
    ] {
        let answer = app.post("/v1/api_keys", &body, &as_admin).await;
        assert_eq!(answer.problem(422, "invalid_body"), [pointer]);
    }
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_slowed_down() {
    let mut settings = Settings::default();
    settings.http.rate_limit = 1;
    let app = App::start(true, settings).await;
    app.get("/v1/workers").await.ok(200);
    let refused = app.get("/v1/workers").await;
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit-policy"), "\"requests\";q=1;w=1");
    assert_eq!(refused.header("ratelimit"), "\"requests\";r=0;t=1");
    refused.problem(429, "rate_limited");
}

#[tokio::test]
async fn the_first_key_closes_a_service_that_ran_open() {
    let app = App::open().await;
    app.get("/v1/transfers").await.ok(200);
    app.get("/").await.ok(200);
    let wanted = json!({"name": "ci", "role": "admin"});
    let secret = app.post("/v1/api_keys", &wanted, &[]).await.ok(201).json()["secret"].clone();
    app.get("/v1/transfers")
        .await
        .problem(401, "unauthenticated");
    app.post("/v1/api_keys", &wanted, &[])
        .await
        .problem(401, "unauthenticated");
    assert_eq!(app.get("/").await.status, 303, "the pages ask for it too");
    let key = bearer(secret.as_str().unwrap());
    let made = app
        .get_with("/v1/api_keys", &[("authorization", &key)])
        .await
        .ok(200)
        .json();
    let path = format!("/v1/api_keys/{}", made["data"][0]["id"].as_str().unwrap());
    app.delete(&path, &[("authorization", &key)]).await.ok(204);
    app.get("/v1/transfers")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_that_is_made_elsewhere_closes_it_within_seconds() {
    let app = App::open().await;
    app.get("/v1/transfers").await.ok(200);
    app.key(Role::Read).await;
    within("the service asks for keys", async || {
        (app.get("/v1/transfers").await.status == 401).then_some(())
    })
    .await;
}
