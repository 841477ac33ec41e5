//! Base models, their versions and aliases, and fine-tunes; and what the tests of retunes stand on.

use std::collections::HashMap;

use retune::{
    config::Settings,
    contract::ids::TransferId,
    pipeline::Verdict,
    service::{
        database::leases::Claimed,
        domain::{
            access::{DEFAULT_TENANT, Role},
            leases::Lease,
        },
        registry::attempts,
    },
    storage::{StorageConfig, TenantStorage},
};
use serde_json::{Value, json};

use super::app::{Answer, App, bearer};
pub use crate::support::outcome;
use crate::support::{LONG, claim, hub_server::HubServer};

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

/// A branch moves; a version does not.
#[tokio::test]
async fn a_version_of_a_hub_is_kept_at_the_commit_that_was_read() {
    let hub = HubServer::open().await;
    let model = |bytes: &'static [u8]| {
        [
            ("config.json", b"{}".as_slice()),
            ("model.safetensors", bytes),
        ]
    };
    let first = hub.commit("org/base", "main", &model(b"first"));
    let own = TenantStorage {
        roots: Some(vec!["hf://org/".into()]),
        ..TenantStorage::default()
    };
    let tenants = |_: &_| HashMap::from([(DEFAULT_TENANT.0, own)]);
    let servers = StorageConfig {
        hub: hub.config(None),
        ..StorageConfig::default()
    };
    let app = App::start_on(true, Settings::default(), servers, tenants);
    let app = Box::pin(app).await;

    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    let path = "/v1/base_models/llama/versions";
    let body = |version: &str| json!({"version": version, "uri": "hf://org/base@main/"});
    let made = app.post(path, &body("1"), &[]).await.ok(201).json();
    assert_eq!(made["uri"], format!("hf://org/base@{first}"));

    let second = hub.commit("org/base", "main", &model(b"second"));
    app.post(path, &body("1"), &[])
        .await
        .problem(409, "version_conflict");
    let next = app.post(path, &body("2"), &[]).await.ok(201).json();
    assert_eq!(next["uri"], format!("hf://org/base@{second}"));
    assert_eq!(app.get(&format!("{path}/1")).await.ok(200).json(), made);
}

#[tokio::test]
async fn a_version_is_registered_once_and_its_bytes_are_its_identity() {
    let app = App::with_base().await;
    let path = "/v1/base_models/llama/versions";
    let body = json!({"version": "1", "uri": app.uri("llama-1-llama-1/")});
    let again = app.post(path, &body, &[]).await.ok(200).json();
    assert_eq!(again["digest"].as_str().unwrap().len(), 64);
    // The same bytes elsewhere are the same model, other bytes are not.
    app.version_of("llama", "1", "llama 1").await.ok(200);
    app.version_of("llama", "1", "other")
        .await
        .problem(409, "version_conflict");

    app.put_model("two", "2");
    let two = json!({"version": "2", "uri": app.uri("two"), "parent": "1", "licence": "mit",
                     "retires_at": "2030-01-01T00:00:00Z"});
    let made = app.post(path, &two, &[]).await.ok(201);
    assert_eq!(made.header("location"), "/v1/base_models/llama/versions/2");
    let made = made.json();
    assert_eq!(
        (&made["parent"], &made["retune"]),
        (&json!("1"), &Value::Null)
    );
    assert_ne!(made["digest"], again["digest"]);
    let shown = app.get("/v1/base_models/llama/versions/2").await.ok(200);
    assert_eq!(shown.json(), made);
    let listed = app.get(path).await.ok(200).json();
    assert_eq!((&listed["data"][0], &listed["data"][1]), (&made, &again));
    assert_eq!(
        app.registry_events().await,
        ["base_model.version.created"; 2]
    );
}

#[tokio::test]
async fn what_is_no_model_is_refused_at_its_location() {
    let app = App::with_base().await;
    let post = async |body: Value| app.post("/v1/base_models/llama/versions", &body, &[]).await;
    std::fs::create_dir(app.objects.join("empty")).unwrap();
    for (uri, code) in [
        ("file:///etc/".to_owned(), "location_not_allowed"),
        ("nowhere".to_owned(), "location_malformed"),
        (app.uri("empty"), "no_model"),
        (app.uri("absent"), "no_model"),
    ] {
        let refused = post(json!({"version": "2", "uri": uri})).await;
        assert_eq!(refused.problem(422, code), ["/uri"], "{uri}");
    }
    let known = app.uri("llama-1-llama-1/");
    let orphan = post(json!({"version": "2", "uri": known, "parent": "0"})).await;
    assert_eq!(orphan.problem(422, "unknown_version"), ["/parent"]);
    let bad = post(json!({"version": "a b", "uri": known})).await;
    assert_eq!(bad.problem(422, "invalid_body"), ["/version"]);
    app.version("bert", "1").await.problem(404, "not_found");
    assert_eq!(
        app.registry_events().await.len(),
        1,
        "nothing was registered"
    );
}

#[tokio::test]
async fn a_fine_tune_is_checked_as_the_job_that_it_will_be() {
    let app = App::with_base().await;
    let put = async |change: &dyn Fn(&mut Value)| {
        let mut body = app.fine_tune_body("promote");
        change(&mut body);
        app.put("/v1/fine_tunes/news", &body, &[]).await
    };
    let refused = async |change: &dyn Fn(&mut Value), code: &str, pointer: &str| {
        assert_eq!(put(change).await.problem(422, code), [pointer]);
    };
    refused(
        &|b| b["spec"] = json!({"methods": ["identity"]}),
        "invalid_spec",
        "/spec",
    )
    .await;
    refused(
        &|b| b["spec"]["optons"] = json!({}),
        "invalid_spec",
        "/spec/optons",
    )
    .await;
    refused(
        &|b| b["spec"]["methods"] = json!(["fgmt"]),
        "invalid_spec",
        "/spec/methods/0",
    )
    .await;
    refused(
        &|b| b["spec"]["source"] = json!({}),
        "invalid_spec",
        "/spec/source",
    )
    .await;
    refused(
        &|b| b["spec"]["callback"] = json!({"url": "https://127.0.0.1/"}),
        "address_not_allowed",
        "/spec/callback/url",
    )
    .await;
    refused(
        &|b| b["spec"]["output"] = json!("file:///etc/"),
        "location_not_allowed",
        "/spec/output",
    )
    .await;
    refused(
        &|b| b["trajectory"] = json!("file:///etc/"),
        "location_not_allowed",
        "/trajectory",
    )
    .await;
    refused(
        &|b| b["data"] = json!({"train": "file:///etc/x"}),
        "location_not_allowed",
        "/data/train",
    )
    .await;
    refused(
        &|b| b["base_version"] = json!("9"),
        "unknown_version",
        "/base_version",
    )
    .await;
    refused(
        &|b| b["policy"]["alias"] = json!("stable"),
        "invalid_body",
        "/policy/alias",
    )
    .await;
    refused(
        &|b| b["policy"]["mode"] = json!("deploy"),
        "invalid_body",
        "/policy/mode",
    )
    .await;
    refused(&|b| b["extra"] = json!(1), "invalid_body", "/extra").await;
    assert_eq!(app.get("/v1/fine_tunes").await.json()["data"], json!([]));
    put(&|_| {}).await.ok(201);
}

#[tokio::test]
async fn a_fine_tune_is_changed_only_by_who_has_seen_it() {
    let app = App::with_base().await;
    let path = "/v1/fine_tunes/news";
    let body = app.fine_tune_body("propose");
    let absent = app.put(path, &body, &[("if-match", "*")]).await;
    absent.problem(412, "precondition_failed");
    let made = app.put(path, &body, &[]).await.ok(201);
    let first = made.header("etag").to_owned();
    // The same again is no change.
    assert_eq!(
        app.put(path, &body, &[]).await.ok(200).header("etag"),
        first
    );
    let changed = app.fine_tune_body("promote");
    let second = app
        .put(path, &changed, &[("if-match", &first)])
        .await
        .ok(200);
    assert_ne!(second.header("etag"), first);
    app.put(path, &body, &[("if-match", &first)])
        .await
        .problem(412, "precondition_failed");
    let shown = app.get(path).await.ok(200);
    assert_eq!(
        (shown.header("etag"), &shown.json()),
        (second.header("etag"), &second.json())
    );
    assert_eq!(
        shown.json()["policy"],
        json!({"on": "new_version", "mode": "promote"})
    );
    app.get_with(path, &[("if-none-match", second.header("etag"))])
        .await
        .ok(304);
    let of = async |model: &str| {
        app.get(&format!("/v1/fine_tunes?base_model={model}"))
            .await
            .ok(200)
            .json()["data"]
            .clone()
    };
    assert_eq!(
        (of("llama").await[0].clone(), of("bert").await),
        (shown.json(), json!([]))
    );
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
