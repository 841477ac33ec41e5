//! Who may do what, how much of it, and what is remembered of it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, header},
};
use retune::{
    config::Settings,
    pipeline::Verdict,
    service::{
        access::Role,
        api,
        database::{
            leases::{self, AfterFailure},
            transfers::Enqueue,
        },
        jobs::JobError,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{App, bearer, request};
use crate::support::{LONG, enqueue};

/// What failed is tried again at once.
const NOW: leases::Terms = leases::Terms { backoff: Duration::from_nanos(1), ..LONG };

async fn execute(app: &App, sql: &str) {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&app.db.database.pool);
    done.await.expect("our own SQL");
}

/// `[outcome, action, subject, key]` of the entries, oldest first.
async fn audited(app: &App, key: &str) -> Vec<[Value; 4]> {
    let page = app.get_with("/v1/audit_events?limit=200", &[("authorization", key)]).await;
    let page = page.ok(200).json();
    let rows = page["data"].as_array().unwrap().iter().rev();
    rows.map(|row| ["outcome", "action", "subject", "key"].map(|name| row[name].clone())).collect()
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_its_key() {
    let app = App::closed().await;
    let admin = bearer(&app.key(Role::Admin).await);
    let as_admin = [("authorization", admin.as_str())];
    let id = app.post("/v1/transfers", &app.spec(), &as_admin).await.ok(202).json()["id"].clone();
    let transfer = format!("transfers/{}", id.as_str().unwrap());
    for verb in ["cancel", "retry"] {
        let answer = app.post(&format!("/v1/{transfer}/{verb}"), &json!({}), &as_admin).await;
        assert!(answer.status.is_success());
    }
    let wanted = json!({"name": "ci", "role": "read"});
    let made = app.post("/v1/api_keys", &wanted, &as_admin).await.ok(201).json();
    let key = format!("api_keys/{}", made["id"].as_str().unwrap());
    app.delete(&format!("/v1/{key}"), &as_admin).await.ok(204);
    let hook = "webhook_endpoints/ci";
    let url = json!({"url": "https://example.com/"});
    app.put(&format!("/v1/{hook}"), &url, &as_admin).await.ok(201);
    app.post(&format!("/v1/{hook}/rotate"), &json!({}), &as_admin).await.ok(200);
    app.post(&format!("/v1/{transfer}/cancel"), &json!({}), &as_admin).await.ok(200);
    let page = app.get_with(&format!("/v1/{hook}/deliveries"), &as_admin).await.ok(200).json();
    let delivery = format!("{hook}/deliveries/{}", page["data"][0]["id"].as_str().unwrap());
    app.post(&format!("/v1/{delivery}/replay"), &json!({}), &as_admin).await.ok(202);
    app.delete(&format!("/v1/{hook}"), &as_admin).await.ok(204);
    app.post("/v1/callback_secret/rotate", &json!({}), &as_admin).await.ok(200);

    let entries = audited(&app, &admin).await;
    let by_admin = entries[1][3].clone();
    assert!(by_admin.is_string());
    let done: Vec<_> = entries.iter().map(|[_, action, subject, _]| [action, subject]).collect();
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
    assert_eq!(done[0][0], "api_key.create", "the test's own, without a key");
    assert_eq!(entries[0][3], Value::Null);
    assert_eq!(done.len(), expected.len() + 1);
    for (found, (action, subject)) in done[1..].iter().zip(expected) {
        assert_eq!((found[0], found[1]), (&json!(action), &json!(subject)));
    }
    assert!(entries[1..].iter().all(|[outcome, _, _, key]| outcome == "done" && *key == by_admin));
}

#[tokio::test]
async fn refusals_are_in_the_audit_log_and_reading_is_not() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let (admin, reader) = (bearer(&app.key(Role::Admin).await), bearer(&app.key(Role::Read).await));
    let theirs = bearer(&app.key_of(tenant, Role::Admin).await);
    let as_reader = [("authorization", reader.as_str())];
    let id = app.db.queued(1).await.id;
    let cancel = format!("/v1/transfers/{id}/cancel");
    app.post(&cancel, &json!({}), &as_reader).await.problem(403, "forbidden");
    app.get_with("/v1/transfers", &as_reader).await.ok(200);
    app.get_with("/v1/audit_events", &as_reader).await.problem(403, "forbidden");
    app.post(&cancel, &json!({}), &[]).await.problem(401, "unauthenticated");
    app.post(&cancel, &json!({}), &[("authorization", &theirs)]).await.problem(404, "not_found");
    let as_admin = [("authorization", admin.as_str())];
    let refused = app.get_with("/v1/audit_events?outcome=refused", &as_admin).await.ok(200).json();
    let rows = refused["data"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["action"], "POST /v1/transfers/{id}/cancel");
    assert_eq!(rows[0]["subject"], format!("transfers/{id}/cancel"));
    assert_eq!(rows[0]["code"], "forbidden");
    // The other tenant's administrator sees their own failure alone.
    let entries = audited(&app, &theirs).await;
    assert_eq!(entries.iter().filter(|entry| entry[0] == "refused").count(), 1);
    let one = app.get_with("/v1/audit_events?limit=1", &as_admin).await.ok(200).json();
    let next = one["next"].as_str().unwrap();
    let rest = app.get_with(&format!("/v1/audit_events?after={next}"), &as_admin).await.ok(200);
    assert_ne!(rest.json()["data"][0]["id"], one["data"][0]["id"]);
    app.get_with("/v1/audit_events?who=x", &as_admin).await.problem(422, "invalid_query");
}

#[tokio::test]
async fn who_is_refused_too_often_does_not_flood_the_audit_log() {
    let mut settings = Settings::default();
    settings.http.rate_limit = 1;
    let app = App::start(false, settings).await;
    let (admin, reader) = (bearer(&app.key(Role::Admin).await), bearer(&app.key(Role::Read).await));
    let cancel = format!("/v1/transfers/{}/cancel", app.db.queued(1).await.id);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let refused = app.post(&cancel, &json!({}), &[("authorization", &reader)]).await;
        statuses.push(refused.status.as_u16());
    }
    let forbidden = statuses.iter().filter(|status| **status == 403).count();
    assert!(statuses[0] == 403 && statuses.contains(&429), "{statuses:?}");
    let entries = audited(&app, &admin).await;
    assert_eq!(entries.iter().filter(|entry| entry[0] == "refused").count(), forbidden);
}

#[tokio::test]
async fn a_tenant_has_no_more_waiting_than_its_quota() {
    let mut settings = Settings::default();
    settings.quotas.queued_transfers = 2;
    let app = App::start(true, settings).await;
    let submit =
        async |key: &str| app.post("/v1/transfers", &app.spec(), &[("idempotency-key", key)]).await;
    submit("1").await.ok(202);
    let second = submit("2").await.ok(202).json();
    let refused = submit("3").await;
    assert_eq!(refused.header("retry-after"), "60");
    refused.problem(429, "quota_exceeded");
    submit("2").await.ok(202);
    let cancel = format!("/v1/transfers/{}/cancel", second["id"].as_str().unwrap());
    app.post(&cancel, &json!({}), &[]).await.ok(200);
    submit("3").await.ok(202);
    execute(&app, "UPDATE tenants SET max_queued_transfers = 3").await;
    submit("4").await.ok(202);
    submit("5").await.problem(429, "quota_exceeded");
    let waiting = app.get("/v1/transfers?status=queued").await.ok(200).json();
    assert_eq!(waiting["data"].as_array().unwrap().len(), 3);
    // Neither a retry nor a retune by hand is a way around it.
    let retry = format!("/v1/transfers/{}/retry", second["id"].as_str().unwrap());
    app.post(&retry, &json!({}), &[]).await.problem(429, "quota_exceeded");
    assert_eq!(
        app.get(&format!("/v1/transfers/{}", second["id"].as_str().unwrap())).await.json()["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn submissions_at_the_same_moment_share_the_quota() {
    let mut settings = Settings::default();
    settings.quotas.queued_transfers = 3;
    let app = App::start(true, settings).await;
    let spec = app.spec();
    let all = (0..8).map(|_| app.post("/v1/transfers", &spec, &[]));
    let answers = futures::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 3);
}

#[tokio::test]
async fn a_tenant_computes_no_longer_than_its_quota_within_a_day() {
    let app = App::open().await;
    let submit = async || app.post("/v1/transfers", &app.spec(), &[]).await;
    submit().await.ok(202);
    // Two attempts of one transfer, each shorter than the quota.
    for _ in 0..2 {
        let lease = app.claim().await;
        execute(&app, "UPDATE transfers SET started_at = now() - interval '60 seconds'").await;
        let error = JobError { code: "x".into(), detail: "x".into(), pointer: None };
        let again = leases::fail(&app.db.database, &lease, &error, true, NOW).await.unwrap();
        assert_eq!(again, Some(AfterFailure::QueuedAgain));
    }
    execute(&app, "UPDATE tenants SET max_compute_seconds_per_day = 125").await;
    submit().await.ok(202);
    // What runs counts too.
    app.claim().await;
    let running = "UPDATE transfers SET started_at = now() - interval '60 seconds'
                   WHERE status = 'running'";
    execute(&app, running).await;
    submit().await.problem(429, "quota_exceeded");
    // Of what began yesterday, today's part.
    let longer = "UPDATE attempts SET began_at = began_at - interval '2 days'";
    execute(&app, longer).await;
    submit().await.problem(429, "quota_exceeded");
    let long_ago = "UPDATE attempts SET ended_at = ended_at - interval '25 hours'";
    execute(&app, long_ago).await;
    submit().await.ok(202);
}

#[tokio::test]
async fn a_tenant_writes_no_more_than_its_quota_within_a_day() {
    let mut settings = Settings::default();
    settings.quotas.result_bytes_per_day = 1500;
    let app = App::start(true, settings).await;
    let submit = async || app.post("/v1/transfers", &app.spec(), &[]).await;
    for _ in 0..2 {
        submit().await.ok(202);
        app.finish_next(Verdict::Published).await;
    }
    submit().await.problem(429, "quota_exceeded");
    execute(&app, "UPDATE tenants SET max_result_bytes_per_day = 2001").await;
    submit().await.ok(202);
    execute(&app, "UPDATE tenants SET max_result_bytes_per_day = NULL").await;
    submit().await.problem(429, "quota_exceeded");
    execute(&app, "UPDATE transfers SET finished_at = finished_at - interval '25 hours'").await;
    submit().await.ok(202);
}

/// Every row of a tenant, in every table that has tenants.
async fn everything_of(app: &App, tenant: Uuid) -> Vec<(String, Value)> {
    let pool = &app.db.database.pool;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.columns
         WHERE table_schema = 'public' AND column_name = 'tenant' AND table_name <> 'audit_events'
         ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let mut found = Vec::new();
    for table in tables {
        let rows = format!(
            "SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)), '[]') FROM {table} t
             WHERE tenant = '{tenant}'"
        );
        let rows: Value =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(pool).await.expect("rows");
        found.push((table, rows));
    }
    found
}

/// Walks the document, so that an endpoint added later is asked too.
#[tokio::test]
async fn another_tenants_ids_and_names_answer_404_in_every_endpoint() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let (own, theirs) =
        (bearer(&app.key(Role::Admin).await), bearer(&app.key_of(tenant, Role::Admin).await));
    let as_theirs = [("authorization", theirs.as_str())];
    let url = json!({"url": "https://example.com/"});
    app.put("/v1/webhook_endpoints/theirs", &url, &as_theirs).await.ok(201);
    app.put("/v1/base_models/theirs", &json!({}), &as_theirs).await.ok(201);
    let transfer = app.db.submit(Enqueue { tenant, ..enqueue() }).await.id.to_string();
    let deliveries = app.get_with("/v1/webhook_endpoints/theirs/deliveries", &as_theirs).await;
    let delivery = deliveries.ok(200).json()["data"][0]["id"].as_str().unwrap().to_owned();
    let keys = app.get_with("/v1/api_keys", &as_theirs).await.ok(200).json();
    let key = keys["data"][0]["id"].as_str().unwrap().to_owned();
    let before = everything_of(&app, tenant).await;

    let document = serde_json::to_value(api::openapi()).unwrap();
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.filter_map(move |method| {
            Some((Method::from_bytes(method.to_uppercase().as_bytes()).ok()?, path.as_str()))
        })
    });
    // Lists first: the audit log will have in it what was asked for.
    let (lists, others): (Vec<_>, Vec<_>) = operations
        .filter(|(_, path)| path.starts_with("/v1/"))
        .partition(|(_, path)| !path.contains('{'));
    let headers = [("authorization", own.as_str()), ("content-type", "application/json")];
    for (method, path) in lists {
        let text = app.send(request(method.clone(), path, &headers, Body::from("{}"))).await.text();
        for theirs in [&transfer, &delivery, &key] {
            assert!(!text.contains(theirs.as_str()), "{method} {path} shows {theirs}");
        }
    }
    assert!(others.len() >= 13, "{others:?}");
    // By PUT everyone makes their own, which is then there.
    let mut others = others;
    others.sort_by_key(|(method, _)| *method == Method::PUT);
    for (method, template) in others {
        let id = match template {
            _ if template.contains("/deliveries/") => &delivery,
            _ if template.starts_with("/v1/api_keys") => &key,
            _ => &transfer,
        };
        let file = if template.contains("/files/") { "report.json" } else { "theirs" };
        let path = fill_in(&template.replace("{id}", id).replace("{name}", file));
        let answer = app.send(request(method.clone(), &path, &headers, Body::from("{}"))).await;
        // A body is read before its place is looked for.
        let allowed: &[u16] = match method {
            Method::GET | Method::DELETE => &[404],
            Method::PUT => &[200, 201, 404, 422],
            _ => &[404, 422],
        };
        let status = answer.status.as_u16();
        assert!(allowed.contains(&status), "{method} {path}: {status}");
    }
    assert_eq!(everything_of(&app, tenant).await, before, "nothing of theirs was changed");
    app.get_with(&format!("/v1/transfers/{transfer}"), &as_theirs).await.ok(200);
}

/// Any further parameter of a path is a name.
fn fill_in(path: &str) -> String {
    let filled = |part: &str| if part.starts_with('{') { "theirs" } else { part }.to_owned();
    path.split('/').map(filled).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn no_error_repeats_the_key_or_the_body_that_caused_it() {
    let app = App::closed().await;
    let unknown = format!("rt_{}_{}", "0".repeat(12), "5".repeat(64));
    let admin = app.key(Role::Admin).await;
    for key in [&unknown, &admin] {
        let authorization = bearer(key);
        let headers = [("authorization", authorization.as_str()), ("content-type", "text/json")];
        for body in ["{", "{\"secret\": \"hunter2\"}", "\"hunter2\""] {
            for path in ["/v1/transfers", "/v1/api_keys", "/v1/nothing"] {
                let answer = app.send(request(Method::POST, path, &headers, body.into())).await;
                assert!(answer.status.is_client_error());
                assert!(answer.headers.get(header::SET_COOKIE).is_none());
                let text = answer.text();
                assert!(!text.contains("555555") && !text.contains(&key[16..]), "{text}");
            }
        }
    }
}
