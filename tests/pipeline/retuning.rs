//! From a new base to a new production version through the running service: HTTP, queue, a worker
//! process, a real transfer.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::case::{Case, path_of, read_json};
use crate::support::{Served, TestDatabase, http, retune_serve};

/// The answer's status and body.
async fn send(served: &Served, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("{}/v1/{path}", served.url);
    let mut request = http().request(method, url);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")),
    )
}

/// Follows the retune's only transfer to its end.
async fn followed(served: &Served, retune: &Value) -> Value {
    let retune = retune.as_str().expect("a retune");
    let (_, members) = send(
        served,
        Method::GET,
        &format!("transfers?retune={retune}"),
        None,
    )
    .await;
    let id = members["data"][0]["id"]
        .as_str()
        .expect("one transfer")
        .to_owned();
    loop {
        let (_, transfer) = send(
            served,
            Method::GET,
            &format!("transfers/{id}?wait=30"),
            None,
        )
        .await;
        if transfer["finished_at"].is_string() {
            return transfer;
        }
    }
}

async fn serve(case: &Case, test: &TestDatabase) -> Served {
    let mut command = retune_serve("1", case.folder.path().join("state"));
    command
        .env("DATABASE_URL", &test.url)
        .env("RETUNE_STORAGE_ROOTS", case.uri(""));
    Served::start(&mut command).await
}

#[test]
fn a_new_base_is_in_production_without_a_person() {
    let case = Case::fresh();
    Runtime::new().unwrap().block_on(async {
        let test = TestDatabase::fresh().await;
        let served = serve(&case, &test).await;
        let put = async |path: &str, body| send(&served, Method::PUT, path, Some(body)).await.0;
        let land = async |version: &str, folder: &str| {
            let body = json!({"version": version, "uri": case.uri(folder)});
            send(
                &served,
                Method::POST,
                "base_models/mlp/versions",
                Some(body),
            )
            .await
        };
        assert_eq!(put("base_models/mlp", json!({})).await, 201);
        assert_eq!(land("1", "old/").await.0, 201);
        let fine_tune = json!({
            "base_model": "mlp", "base_version": "1", "trajectory": case.uri("tuned/"),
            "data": {"train": case.uri("train.safetensors"), "test": case.uri("test.safetensors")},
            "spec": {
                "methods": ["weight_matching"], "gate": {"min": 0.1}, "output": case.uri("out/"),
                "metadata": {"team": "x"},
            },
            "policy": {"on": "new_version", "mode": "promote"},
        });
        assert_eq!(put("fine_tunes/turned", fine_tune).await, 201);
        let (status, landed) = land("2", "new/").await;
        assert_eq!(status, 201);
        let transfer = followed(&served, &landed["retune"]).await;
        assert_eq!(transfer["status"], "succeeded", "{transfer}");
        assert_eq!(transfer["metadata"], json!({"team": "x"}));

        let path = "fine_tunes/turned/aliases/production";
        let (status, production) = send(&served, Method::GET, path, None).await;
        assert_eq!((status, &production["base_version"]), (200, &json!("2")));
        assert_eq!(
            (&production["verdict"], &production["method"]),
            (&json!("published"), &json!("weight_matching"))
        );
        let folder = path_of(production["uri"].as_str().unwrap());
        assert!(folder.join("model.safetensors").is_file());
        let manifest = read_json(&folder.join("manifest.json"));
        assert_eq!(
            (&manifest["id"], &manifest["spec"]),
            (&transfer["id"], &transfer["spec"])
        );
        let retune = format!("retunes/{}", landed["retune"].as_str().unwrap());
        let (_, retune) = send(&served, Method::GET, &retune, None).await;
        assert_eq!(retune["status"], "succeeded");
        assert!(retune["compute_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(
            land("2", "new/").await.0,
            200,
            "the same again is nothing new"
        );
    });
}
