use retune::service::api;
use serde_json::Value;

use super::app::App;

/// What is promised to clients; a route missing here or there fails.
const ROUTES: [&str; 55] = [
    "DELETE /v1/api_keys/{id}",
    "DELETE /v1/base_models/{name}/inbound_tokens/{id}",
    "DELETE /v1/webhook_endpoints/{name}",
    "GET /healthz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /v1/api_keys",
    "GET /v1/audit_events",
    "GET /v1/base_models",
    "GET /v1/base_models/{name}",
    "GET /v1/base_models/{name}/aliases/{alias}",
    "GET /v1/base_models/{name}/aliases/{alias}/moves",
    "GET /v1/base_models/{name}/arrivals",
    "GET /v1/base_models/{name}/inbound_tokens",
    "GET /v1/base_models/{name}/versions",
    "GET /v1/base_models/{name}/versions/{version}",
    "GET /v1/fine_tunes",
    "GET /v1/fine_tunes/{name}",
    "GET /v1/fine_tunes/{name}/aliases/{alias}",
    "GET /v1/fine_tunes/{name}/aliases/{alias}/moves",
    "GET /v1/fine_tunes/{name}/versions",
    "GET /v1/fine_tunes/{name}/versions/{version}",
    "GET /v1/retunes",
    "GET /v1/retunes/{id}",
    "GET /v1/transfers",
    "GET /v1/transfers/{id}",
    "GET /v1/transfers/{id}/events",
    "GET /v1/transfers/{id}/files/{name}",
    "GET /v1/transfers/{id}/report",
    "GET /v1/webhook_endpoints",
    "GET /v1/webhook_endpoints/{name}",
    "GET /v1/webhook_endpoints/{name}/deliveries",
    "GET /v1/workers",
    "POST /v1/api_keys",
    "POST /v1/base_models/{name}/inbound_tokens",
    "POST /v1/base_models/{name}/versions",
    "POST /v1/callback_secret/rotate",
    "POST /v1/fine_tunes/{name}/versions/{version}/promote",
    "POST /v1/fine_tunes/{name}/versions/{version}/rollback",
    "POST /v1/inbound/{sender}/{token}",
    "POST /v1/retunes",
    "POST /v1/retunes/{id}/cancel",
    "POST /v1/retunes/{id}/pause",
    "POST /v1/retunes/{id}/resume",
    "POST /v1/transfers",
    "POST /v1/transfers/{id}/cancel",
    "POST /v1/transfers/{id}/retry",
    "POST /v1/transfers:plan",
    "POST /v1/webhook_endpoints/{name}/deliveries/{id}/replay",
    "POST /v1/webhook_endpoints/{name}/rotate",
    "PUT /v1/base_models/{name}",
    "PUT /v1/base_models/{name}/aliases/{alias}",
    "PUT /v1/fine_tunes/{name}",
    "PUT /v1/webhook_endpoints/{name}",
];

fn document() -> Value {
    serde_json::to_value(api::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.is_object() {
                found.push((format!("{} {path}", method.to_uppercase()), operation.clone()));
            }
        }
    }
    found
}

#[test]
fn the_document_names_the_licence_that_the_package_has() {
    assert_eq!(document()["info"]["license"]["identifier"], "MIT");
}

#[test]
fn every_route_is_in_the_document() {
    let mut found: Vec<_> = operations(&document()).into_iter().map(|(name, _)| name).collect();
    found.sort_unstable();
    assert_eq!(found, ROUTES);
}

#[test]
fn the_document_is_openapi_3_1_and_refers_to_what_it_has() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} is not in the document");
    }
}

#[test]
fn what_is_not_open_asks_for_a_key_and_tells_its_errors() {
    for (name, operation) in operations(&document()) {
        // A notification's key is the token in its path.
        let open = !name.contains("/v1/") || name.contains("/v1/inbound/");
        assert_eq!(operation["security"].is_null(), open, "{name}");
        for status in ["401", "403", "default"].into_iter().filter(|_| !open) {
            let problem = &operation["responses"][status]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let app = App::closed().await;
    assert_eq!(app.get("/openapi.json").await.ok(200).json(), document());
    let page = app.get("/docs/").await.ok(200);
    assert!(page.header("content-type").starts_with("text/html"));
}
