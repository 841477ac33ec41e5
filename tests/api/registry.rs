//! Base models and whose they are; and what the tests of retunes stand on.

mod fine_tunes;
mod versions;

use retune::{
    contract::ids::TransferId,
    pipeline::Verdict,
    service::{
        database::transfers::leases::Claimed,
        domain::{
            access::{DEFAULT_TENANT, Role},
            leases::Lease,
        },
        registry::attempts,
    },
};
use serde_json::{Value, json};

use super::app::{Answer, App, bearer};
pub use crate::support::outcome;
use crate::support::{LONG, claim};

impl App {
    /// Puts files that pass for a model; their content makes the digest.
    pub fn put_model(&self, name: &str, content: &str) {
        let folder = self.objects.join(name);
        std::fs::create_dir_all(&folder).expect("our own folder");
        std::fs::write(folder.join("config.json"), "{}").expect("our own file");
        std::fs::write(folder.join("model.safetensors"), content).expect("our own file");
    }

    /// Registers a version whose model is of its own name and content.
    pub async fn version(&self, model: &str, version: &str) -> Answer {
        self.version_of(model, version, &format!("{model} {version}"))
            .await
    }

    pub async fn version_of(&self, model: &str, version: &str, content: &str) -> Answer {
        let folder = format!("{model}-{version}-{content}/").replace(' ', "-");
        self.put_model(&folder, content);
        self.announce(model, version, &folder).await
    }

    /// Registers a version whose model lies there.
    pub async fn announce(&self, model: &str, version: &str, folder: &str) -> Answer {
        let body = json!({"version": version, "uri": self.uri(folder)});
        self.post(&format!("/v1/base_models/{model}/versions"), &body, &[])
            .await
    }

    /// A base model `llama` with a version `1`.
    pub async fn with_base() -> Self {
        let app = Self::open().await;
        app.put("/v1/base_models/llama", &json!({}), &[])
            .await
            .ok(201);
        app.version("llama", "1").await.ok(201);
        app
    }

    pub fn fine_tune_body(&self, mode: &str) -> Value {
        json!({
            "base_model": "llama", "base_version": "1", "trajectory": self.uri("tuned/"),
            "spec": {"methods": ["identity"], "output": self.uri("out/")},
            "policy": {"on": "new_version", "mode": mode},
        })
    }

    pub async fn fine_tune(&self, name: &str, mode: &str) -> Answer {
        self.put(
            &format!("/v1/fine_tunes/{name}"),
            &self.fine_tune_body(mode),
            &[],
        )
        .await
    }

    pub async fn claim(&self) -> Lease<Claimed> {
        let claimed = claim(&self.db.database, LONG).await;
        claimed.expect("something to do")
    }

    pub async fn nothing_to_claim(&self) -> bool {
        claim(&self.db.database, LONG).await.is_none()
    }

    /// Claims the next transfer and ends it well, with this verdict.
    pub async fn finish_next(&self, verdict: Verdict) -> TransferId {
        let lease = self.claim().await;
        let outcome = outcome(lease.transfer, verdict);
        assert!(
            attempts::succeed(&self.db.database, &lease, &outcome)
                .await
                .unwrap()
        );
        lease.transfer
    }

    /// Kinds of the default tenant's events that are not a transfer's, in order.
    pub async fn registry_events(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT kind FROM events WHERE transfer IS NULL AND tenant = $1 ORDER BY seq",
        )
        .bind(DEFAULT_TENANT)
        .fetch_all(&self.db.database.pool)
        .await
        .expect("the database answers")
    }
}

#[tokio::test]
async fn a_base_model_is_registered_described_and_listed() {
    let app = App::open().await;
    let made = app
        .put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201)
        .json();
    assert_eq!(
        (&made["name"], &made["aliases"]),
        (&json!("llama"), &json!({}))
    );
    let described = json!({"licence": "mit", "metadata": {"team": "nlp"}});
    let again = app
        .put("/v1/base_models/llama", &described, &[])
        .await
        .ok(200)
        .json();
    assert_eq!(
        (&again["licence"], &again["created_at"]),
        (&json!("mit"), &made["created_at"])
    );
    app.put("/v1/base_models/bert", &json!({}), &[])
        .await
        .ok(201);
    let first = app.get("/v1/base_models?limit=1").await.ok(200).json();
    assert_eq!(first["data"][0]["name"], "bert");
    let after = first["next"].as_str().unwrap();
    let second = app
        .get(&format!("/v1/base_models?limit=1&after={after}"))
        .await
        .json();
    assert_eq!(
        (&second["data"][0]["name"], &second["next"]),
        (&json!("llama"), &Value::Null)
    );

    let shown = app.get("/v1/base_models/llama").await.ok(200);
    let known = [("if-none-match", shown.header("etag"))];
    app.get_with("/v1/base_models/llama", &known).await.ok(304);
    app.version("llama", "1").await.ok(201);
    app.put(
        "/v1/base_models/llama/aliases/stable",
        &json!({"version": "1"}),
        &[],
    )
    .await
    .ok(200);
    let changed = app
        .get_with("/v1/base_models/llama", &known)
        .await
        .ok(200)
        .json();
    assert_eq!(changed["aliases"], json!({"stable": "1"}));

    for (path, body, pointer) in [
        ("/v1/base_models/a%2Fb", json!({}), "/name"),
        ("/v1/base_models/a", json!({"license": "mit"}), "/license"),
        (
            "/v1/base_models/a",
            json!({"licence": "x".repeat(3000)}),
            "/licence",
        ),
    ] {
        assert_eq!(
            app.put(path, &body, &[]).await.problem(422, "invalid_body"),
            [pointer]
        );
    }
    let nul = app
        .put("/v1/base_models/a", &json!({"description": "\0"}), &[])
        .await;
    assert_eq!(nul.problem(422, "invalid_text"), ["/description"]);
}

#[tokio::test]
async fn another_tenants_registry_is_not_there() {
    let app = App::closed().await;
    let own = bearer(&app.key(Role::Admin).await);
    let own = [("authorization", own.as_str())];
    let theirs = bearer(&app.key_of(app.tenant().await, Role::Admin).await);
    let theirs = [("authorization", theirs.as_str())];
    app.put_model("one", "1");
    app.put("/v1/base_models/llama", &json!({}), &theirs)
        .await
        .ok(201);
    let version = json!({"version": "1", "uri": app.uri("one")});
    app.post("/v1/base_models/llama/versions", &version, &theirs)
        .await
        .ok(201);
    app.put(
        "/v1/base_models/llama/aliases/stable",
        &json!({"version": "1"}),
        &theirs,
    )
    .await
    .ok(200);
    let body = app.fine_tune_body("propose");
    app.put("/v1/fine_tunes/news", &body, &theirs).await.ok(201);
    let by_hand = json!({"fine_tunes": ["news"], "targets": [app.uri("one")]});
    let retune = app
        .post("/v1/retunes", &by_hand, &theirs)
        .await
        .ok(202)
        .json();
    let retune = format!("/v1/retunes/{}", retune["id"].as_str().unwrap());

    for path in [
        "/v1/base_models/llama",
        "/v1/base_models/llama/versions",
        "/v1/base_models/llama/versions/1",
        "/v1/base_models/llama/aliases/stable",
        "/v1/fine_tunes/news",
        "/v1/fine_tunes/news/versions",
        "/v1/fine_tunes/news/versions/1",
        "/v1/fine_tunes/news/aliases/production",
        &retune,
    ] {
        app.get_with(path, &own).await.problem(404, "not_found");
    }
    for path in ["/v1/base_models", "/v1/fine_tunes", "/v1/retunes"] {
        assert_eq!(
            app.get_with(path, &own).await.ok(200).json()["data"],
            json!([]),
            "{path}"
        );
    }
    app.post("/v1/base_models/llama/versions", &version, &own)
        .await
        .problem(404, "not_found");
    for verb in ["pause", "resume", "cancel"] {
        app.post(&format!("{retune}/{verb}"), &json!({}), &own)
            .await
            .problem(404, "not_found");
    }
    for verb in ["promote", "rollback"] {
        let path = format!("/v1/fine_tunes/news/versions/1/{verb}");
        app.post(&path, &json!({}), &own)
            .await
            .problem(404, "not_found");
    }
    let refused = app.post("/v1/retunes", &by_hand, &own).await;
    assert_eq!(refused.problem(422, "unknown_fine_tune"), ["/fine_tunes/0"]);
    assert_eq!(
        app.put("/v1/fine_tunes/news", &body, &own)
            .await
            .problem(422, "unknown_version"),
        ["/base_version"]
    );
    // The same name is free for us.
    app.put("/v1/base_models/llama", &json!({}), &own)
        .await
        .ok(201);
    // Reading is for every key, changing is not.
    let reader = bearer(&app.key(Role::Read).await);
    let reader = [("authorization", reader.as_str())];
    app.get_with("/v1/base_models/llama", &reader).await.ok(200);
    app.put("/v1/base_models/llama", &json!({}), &reader)
        .await
        .problem(403, "forbidden");
    app.post("/v1/retunes", &by_hand, &reader)
        .await
        .problem(403, "forbidden");
}
