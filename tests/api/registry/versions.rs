//! Versions of base models: their bytes are their identity, and a hub's are kept at a commit.

use std::collections::HashMap;

use retune::{
    config::Settings,
    service::domain::access::DEFAULT_TENANT,
    storage::{StorageConfig, TenantStorage},
};
use serde_json::{Value, json};

use super::super::app::App;
use crate::support::hub_server::HubServer;

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
