//! Another tenant's things are not there.

use axum::{body::Body, http::Method};
use retune::{
    contract::ids::TenantId,
    pipeline::Verdict,
    service::{api, database::transfers::Enqueue, domain::access::Role},
};
use serde_json::{Value, json};

use super::super::app::{App, bearer, request};
use crate::support::enqueue;

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
        let rows: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
            .fetch_one(pool)
            .await
            .expect("rows");
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
        app.put(&format!("{model}/aliases/theirs"), &alias, headers)
            .await
            .ok(200);
        let inbound = json!({"prefix": app.uri("landing/")});
        let inbound = id(&made(&format!("{model}/inbound_tokens"), inbound).await);
        let mut fine_tune = app.fine_tune_body("publish");
        fine_tune["base_model"] = json!("theirs");
        fine_tune["base_version"] = json!("theirs");
        app.put("/v1/fine_tunes/theirs", &fine_tune, headers)
            .await
            .ok(201);
        let onto = json!({"fine_tunes": ["theirs"], "targets": [app.uri("new/")]});
        made("/v1/retunes", onto.clone()).await;
        app.finish_next(Verdict::Published).await;
        let promote = "/v1/fine_tunes/theirs/versions/1/promote";
        made(promote, json!({"alias": "theirs"})).await;
        let retune = id(&made("/v1/retunes", onto).await);
        let url = json!({"url": "https://example.com/"});
        app.put("/v1/webhook_endpoints/theirs", &url, headers)
            .await
            .ok(201);
        let transfer = app
            .db
            .submit(Enqueue {
                tenant,
                ..enqueue()
            })
            .await
            .id
            .to_string();
        let first = async |path: &str| {
            let page = app.get_with(path, headers).await.ok(200).json();
            id(&page["data"][0])
        };
        let delivery = first("/v1/webhook_endpoints/theirs/deliveries").await;
        let key = first("/v1/api_keys").await;
        Self {
            transfer,
            retune,
            inbound,
            delivery,
            key,
        }
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
        let file = if template.contains("/files/") {
            "report.json"
        } else {
            "theirs"
        };
        let version = if template.starts_with("/v1/fine_tunes") {
            "1"
        } else {
            "theirs"
        };
        let named = template.replace("{id}", id).replace("{name}", file);
        fill_in(&named.replace("{version}", version))
    }
}

/// Walks the document, so that an endpoint added later is asked too.
#[tokio::test]
async fn another_tenants_ids_and_names_answer_404_in_every_endpoint() {
    let app = App::closed().await;
    let tenant = app.tenant().await;
    let (own, theirs) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key_of(tenant, Role::Admin).await),
    );
    let as_theirs = [
        ("authorization", theirs.as_str()),
        ("content-type", "application/json"),
    ];
    let there = Theirs::make(&app, tenant, &as_theirs[..1]).await;
    let before = everything_of(&app, tenant).await;

    let document = serde_json::to_value(api::openapi()).unwrap();
    let operations = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.filter_map(move |method| {
                Some((
                    Method::from_bytes(method.to_uppercase().as_bytes()).ok()?,
                    path.as_str(),
                ))
            })
        });
    // Lists first: the audit log will have in it what was asked for.
    let (lists, others): (Vec<_>, Vec<_>) = operations
        .filter(|(_, path)| path.starts_with("/v1/"))
        .partition(|(_, path)| !path.contains('{'));
    let headers = [
        ("authorization", own.as_str()),
        ("content-type", "application/json"),
    ];
    for (method, path) in lists {
        let text = app
            .send(request(method.clone(), path, &headers, Body::from("{}")))
            .await
            .text();
        for id in [
            &there.transfer,
            &there.retune,
            &there.inbound,
            &there.delivery,
            &there.key,
        ] {
            assert!(!text.contains(id.as_str()), "{method} {path} shows {id}");
        }
    }
    assert!(others.len() >= 13, "{others:?}");
    // By PUT everyone makes their own, which is then there.
    let mut others = others;
    others.sort_by_key(|(method, _)| *method == Method::PUT);
    for (method, template) in &others {
        let path = there.path(template);
        let answer = app
            .send(request(method.clone(), &path, &headers, Body::from("{}")))
            .await;
        // A body is read before its place is looked for.
        let allowed: &[u16] = match *method {
            Method::GET | Method::DELETE => &[404],
            Method::PUT => &[200, 201, 404, 422],
            _ => &[404, 422],
        };
        let status = answer.status.as_u16();
        assert!(allowed.contains(&status), "{method} {path}: {status}");
    }
    assert_eq!(
        everything_of(&app, tenant).await,
        before,
        "nothing of theirs was changed"
    );

    // Each of these is there, for whom it belongs to. Removals come last, and the key in use at all.
    let rank = |method: &Method, path: &str| (*method == Method::DELETE, path.contains("api_keys"));
    others.sort_by_key(|(method, path)| rank(method, path));
    for (method, template) in &others {
        // A transfer that waits has no files, and whoever notifies has no key.
        let nothing = ["/files/", "/report", "/inbound/"]
            .iter()
            .any(|part| template.contains(part));
        let path = there.path(template);
        let send = request(method.clone(), &path, &as_theirs, Body::from("{}"));
        let status = app.send(send).await.status.as_u16();
        assert!(
            nothing || (status != 404 && status < 500),
            "{method} {path}: {status}"
        );
    }
}

/// Any further parameter of a path is a name.
fn fill_in(path: &str) -> String {
    let filled = |part: &str| {
        if part.starts_with('{') {
            "theirs"
        } else {
            part
        }
        .to_owned()
    };
    path.split('/').map(filled).collect::<Vec<_>>().join("/")
}
