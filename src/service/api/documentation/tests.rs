//! The whole document: every route, what each asks for and answers, and the names of schemas.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::service::api;

/// What is promised to clients; a route missing here or there fails.
const ROUTES: [&str; 68] = [
    "DELETE /v1/api_keys/{id}",
    "DELETE /v1/base_models/{name}",
    "DELETE /v1/base_models/{name}/inbound_tokens/{id}",
    "DELETE /v1/base_models/{name}/versions/{version}",
    "DELETE /v1/fine_tunes/{name}",
    "DELETE /v1/transfers/{id}",
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
    "GET /v1/events",
    "GET /v1/fine_tunes",
    "GET /v1/fine_tunes/{name}",
    "GET /v1/fine_tunes/{name}/aliases/{alias}",
    "GET /v1/fine_tunes/{name}/aliases/{alias}/moves",
    "GET /v1/fine_tunes/{name}/versions",
    "GET /v1/fine_tunes/{name}/versions/{version}",
    "GET /v1/me",
    "GET /v1/overview",
    "GET /v1/retunes",
    "GET /v1/retunes/{id}",
    "GET /v1/retunes/{id}/report",
    "GET /v1/transfers",
    "GET /v1/transfers/{id}",
    "GET /v1/transfers/{id}/events",
    "GET /v1/transfers/{id}/files/{name}",
    "GET /v1/transfers/{id}/position",
    "GET /v1/transfers/{id}/report",
    "GET /v1/webhook_endpoints",
    "GET /v1/webhook_endpoints/{name}",
    "GET /v1/webhook_endpoints/{name}/deliveries",
    "GET /v1/workers",
    "OPTIONS /v1/inbound/{sender}/{token}",
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
    "POST /v1/transfers/{id}/evaluations",
    "POST /v1/transfers/{id}/retry",
    "POST /v1/transfers:plan",
    "POST /v1/webhook_endpoints/{name}/deliveries/{id}/replay",
    "POST /v1/webhook_endpoints/{name}/rotate",
    "POST /v1/webhook_endpoints/{name}/test",
    "PUT /v1/base_models/{name}",
    "PUT /v1/base_models/{name}/aliases/{alias}",
    "PUT /v1/fine_tunes/{name}",
    "PUT /v1/fine_tunes/{name}/aliases/{alias}",
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
                found.push((
                    format!("{} {path}", method.to_uppercase()),
                    operation.clone(),
                ));
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
    let mut found: Vec<_> = operations(&document())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
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
        assert!(
            document.pointer(pointer).is_some(),
            "{pointer} is not in the document"
        );
    }
}

#[test]
fn what_is_not_open_asks_for_a_key_and_tells_its_errors() {
    for (name, operation) in operations(&document()) {
        // A notification's key is the token in its path.
        let open = !name.contains("/v1/") || name.contains("/v1/inbound/");
        assert_eq!(operation["security"] == json!([]), open, "{name}");
        for status in ["401", "403", "default"].into_iter().filter(|_| !open) {
            let problem = &operation["responses"][status]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{name} {status}");
        }
    }
}

#[test]
fn every_response_is_described_and_pages_name_their_items() {
    let document = document();
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let described = response["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            assert!(described, "{name} {status}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let pages: Vec<_> = schemas
        .iter()
        .filter(|(name, _)| name.ends_with("Page"))
        .collect();
    assert!(pages.len() >= 16, "{}", pages.len());
    for (name, page) in pages {
        let item = format!("#/components/schemas/{}", name.trim_end_matches("Page"));
        assert_eq!(
            page["properties"]["data"]["items"],
            json!({"$ref": item}),
            "{name}"
        );
    }
    assert!(
        schemas
            .keys()
            .all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())),
        "{schemas:?}"
    );
    assert_eq!(document["servers"][0]["url"], "/");
}

#[test]
fn the_stage_of_a_job_and_the_registrys_fine_tune_are_two_schemas() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let stage = schemas["FineTuneStage"]["properties"].as_object().unwrap();
    assert!(
        stage.contains_key("epochs") && !stage.contains_key("aliases"),
        "{stage:?}"
    );
    let registered = schemas["FineTune"]["properties"].as_object().unwrap();
    assert!(
        registered.contains_key("aliases") && !registered.contains_key("epochs"),
        "{registered:?}"
    );
    let asked = schemas["Spec"]["properties"]["fine_tune"].to_string();
    assert!(
        asked.contains("#/components/schemas/FineTuneStage\""),
        "{asked}"
    );
}

/// Two types of one name would share a schema, and the later one win.
#[test]
fn no_two_types_share_the_name_of_a_schema() {
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for path in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("ToSchema") {
            // From the derive to the type's own name, by way of `#[schema(as = …)]`.
            let Some(derive) = text[..at]
                .rfind("#[derive(")
                .filter(|from| !text[*from..at].contains(']'))
            else {
                continue;
            };
            let Some(declared) = ["pub struct ", "pub enum ", "struct ", "enum "]
                .iter()
                .filter_map(|word| {
                    text[derive..]
                        .find(word)
                        .map(|found| derive + found + word.len())
                })
                .min()
            else {
                continue;
            };
            let renamed = text[derive..declared].split("schema(as = ").nth(1);
            let name = renamed.unwrap_or(&text[declared..]);
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            names
                .entry(name)
                .or_default()
                .push(path.display().to_string());
        }
    }
    assert!(names.len() > 40, "{}", names.len());
    names.retain(|_, places| places.len() > 1);
    assert!(
        names.is_empty(),
        "give one of them #[schema(as = …)]: {names:#?}"
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
