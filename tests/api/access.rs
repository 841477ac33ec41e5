//! Who may do what, how much of it, and what is remembered of it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, header},
};
use retune::{
    config::Settings,
    contract::ids::TenantId,
    pipeline::Verdict,
    service::{
        api,
        database::transfers::Enqueue,
        domain::{access::Role, leases::RetryPolicy, transfers::JobError},
        registry::attempts::{self, AfterFailure},
    },
};
use serde_json::{Value, json};

use super::app::{App, bearer, request};
use crate::support::{LONG, enqueue};

/// What failed is tried again at once.
const NOW: RetryPolicy = RetryPolicy { backoff: Duration::from_nanos(1), ..LONG };

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
    post("fine_tunes/news/versions/2/rollback", json!({"alias": "production"})).await;
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
        ("retune.create", &retune),
        ("retune.pause", &retune),
        ("retune.resume", &retune),
        // Its policy, not a caller.
        ("fine_tune.promote", "fine_tunes/news/versions/1/aliases/production"),
        ("retune.create", &other),
        ("retune.create", &last),
        ("retune.cancel", &last),
        ("fine_tune.promote", "fine_tunes/news/versions/2/aliases/production"),
        ("fine_tune.rollback", "fine_tunes/news/versions/2/aliases/production"),
        ("inbound_token.create", &token),
        ("inbound_token.delete", &token),
    ];
    let entries = audited(&app, &admin).await;
    let done: Vec<_> =
        entries[1..].iter().map(|[_, action, subject, _]| [action, subject]).collect();
    let wanted: Vec<_> = expected.map(|(action, subject)| [json!(action), json!(subject)]).into();
    assert_eq!(done, wanted.iter().map(|[a, b]| [a, b]).collect::<Vec<_>>());
    for (i, [outcome, _, _, key]) in entries[1..].iter().enumerate() {
        let policy = expected[i].1.ends_with("versions/1/aliases/production");
        let caller = if policy { &Value::Null } else { &by_admin };
        assert_eq!((outcome, key), (&json!("done"), caller), "{:?}", expected[i]);
    }
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
        let again = attempts::fail(&app.db.database, &lease, &error, true, NOW).await.unwrap();
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
async fn everything_of(app: &App, tenant: TenantId) -> Vec<(String, Value)> {
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

/// What a tenant has, all of it called `theirs` where it has a name: ids by the paths that take them.
struct Theirs {
    transfer: String,
    retune: String,
    inbound: String,
    delivery: String,
    key: String,
}

impl Theirs {
    async fn make(app: &App, tenant: TenantId, headers: &[(&str, &str)]) -> Self {
        let made = async |path: &str, body: Value| {
            let answer = app.post(path, &body, headers).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text());
            answer.json()
        };
        let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
        app.put_model("theirs", "1");
        let model = "/v1/base_models/theirs";
        app.put(model, &json!({}), headers).await.ok(201);
        let version = json!({"version": "theirs", "uri": app.uri("theirs/")});
        made(&format!("{model}/versions"), version).await;
        let alias = json!({"version": "theirs"});
        app.put(&format!("{model}/aliases/theirs"), &alias, headers).await.ok(200);
        let inbound = json!({"prefix": app.uri("landing/")});
        let inbound = id(&made(&format!("{model}/inbound_tokens"), inbound).await);
        let mut fine_tune = app.fine_tune_body("publish");
        fine_tune["base_model"] = json!("theirs");
        fine_tune["base_version"] = json!("theirs");
        app.put("/v1/fine_tunes/theirs", &fine_tune, headers).await.ok(201);
        let onto = json!({"fine_tunes": ["theirs"], "targets": [app.uri("new/")]});
        made("/v1/retunes", onto.clone()).await;
        app.finish_next(Verdict::Published).await;
        let promote = "/v1/fine_tunes/theirs/versions/1/promote";
        made(promote, json!({"alias": "theirs"})).await;
        let retune = id(&made("/v1/retunes", onto).await);
        let url = json!({"url": "https://example.com/"});
        app.put("/v1/webhook_endpoints/theirs", &url, headers).await.ok(201);
        let transfer = app.db.submit(Enqueue { tenant, ..enqueue() }).await.id.to_string();
        let first = async |path: &str| {
            let page = app.get_with(path, headers).await.ok(200).json();
            id(&page["data"][0])
        };
        let delivery = first("/v1/webhook_endpoints/theirs/deliveries").await;
        let key = first("/v1/api_keys").await;
        Self { transfer, retune, inbound, delivery, key }
    }

    /// The path of a template, with what is theirs for every parameter.
    fn path(&self, template: &str) -> String {
        let id = match template {
            _ if template.contains("/deliveries/") => &self.delivery,
            _ if template.contains("/inbound_tokens/") => &self.inbound,
            _ if template.starts_with("/v1/api_keys") => &self.key,
            _ if template.starts_with("/v1/retunes") => &self.retune,
            _ => &self.transfer,
        };
        let file = if template.contains("/files/") { "report.json" } else { "theirs" };
        let version = if template.starts_with("/v1/fine_tunes") { "1" } else { "theirs" };
        let named = template.replace("{id}", id).replace("{name}", file);
        fill_in(&named.replace("{version}", version))
    }
}

/// Walks the document, so that an endpoint added later is asked too.
#[tokio::test]
async fn another_tenants_ids_and_names_answer_404_in_every_endpoint() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let (own, theirs) =
        (bearer(&app.key(Role::Admin).await), bearer(&app.key_of(tenant, Role::Admin).await));
    let as_theirs = [("authorization", theirs.as_str()), ("content-type", "application/json")];
    let there = Theirs::make(&app, tenant, &as_theirs[..1]).await;
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
        for id in [&there.transfer, &there.retune, &there.inbound, &there.delivery, &there.key] {
            assert!(!text.contains(id.as_str()), "{method} {path} shows {id}");
        }
    }
    assert!(others.len() >= 13, "{others:?}");
    // By PUT everyone makes their own, which is then there.
    let mut others = others;
    others.sort_by_key(|(method, _)| *method == Method::PUT);
    for (method, template) in &others {
        let path = there.path(template);
        let answer = app.send(request(method.clone(), &path, &headers, Body::from("{}"))).await;
        // A body is read before its place is looked for.
        let allowed: &[u16] = match *method {
            Method::GET | Method::DELETE => &[404],
            Method::PUT => &[200, 201, 404, 422],
            _ => &[404, 422],
        };
        let status = answer.status.as_u16();
        assert!(allowed.contains(&status), "{method} {path}: {status}");
    }
    assert_eq!(everything_of(&app, tenant).await, before, "nothing of theirs was changed");

    // Each of these is there, for whom it belongs to. Removals come last, and the key in use at all.
    let rank = |method: &Method, path: &str| (*method == Method::DELETE, path.contains("api_keys"));
    others.sort_by_key(|(method, path)| rank(method, path));
    for (method, template) in &others {
        // A transfer that waits has no files, and whoever notifies has no key.
        let nothing =
            ["/files/", "/report", "/inbound/"].iter().any(|part| template.contains(part));
        let path = there.path(template);
        let send = request(method.clone(), &path, &as_theirs, Body::from("{}"));
        let status = app.send(send).await.status.as_u16();
        assert!(nothing || (status != 404 && status < 500), "{method} {path}: {status}");
    }
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
