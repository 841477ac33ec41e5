//! The same job gives the same bytes: twice by the command, and over HTTP.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::case::{Case, path_of, read_json};
use crate::support::{Served, TestDatabase, http, reachable_folder, retune, retune_serve};

/// Runs `retune transfer` to its end; the folder of the result.
pub fn by_command(case: &Case, spec: &Value) -> PathBuf {
    case.write("spec.json", spec.to_string());
    let done = retune()
        .args(["transfer", "--json"])
        .arg(case.path("spec.json"))
        .output()
        .expect("the program runs");
    let (said, complaint) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{said}{complaint}");
    let outcome: Value = serde_json::from_str(&said).expect("JSON");
    path_of(outcome["uri"].as_str().expect("a URI"))
}

/// Submits a job and waits for its end; the transfer.
pub async fn over_http(served: &Served, spec: &Value) -> Value {
    let client = http();
    let post = client.post(format!("{}/v1/transfers", served.url));
    let answer = post
        .header("content-type", "application/json")
        .body(spec.to_string())
        .send()
        .await
        .expect("an answer");
    let status = answer.status();
    let mut transfer: Value = answer.json().await.expect("JSON");
    assert_eq!(status.as_u16(), 202, "{transfer}");
    let url = format!(
        "{}/v1/transfers/{}?wait=30",
        served.url,
        transfer["id"].as_str().expect("id")
    );
    while ["queued", "running"].contains(&transfer["status"].as_str().expect("a status")) {
        let answer = client.get(&url).send().await.expect("an answer");
        transfer = answer.json().await.expect("JSON");
    }
    transfer
}

/// A report without what may differ.
pub fn lasting(report: &Path) -> Value {
    let mut report = read_json(report);
    let fields = report.as_object_mut().expect("an object");
    assert!(fields.remove("timing").is_some() && fields.remove("environment").is_some());
    report
}

/// Model, permutation and configuration byte for byte; the report but for time and place (of which
/// the card repeats the digest).
pub fn are_the_same(one: &Path, other: &Path) {
    assert_ne!(one, other);
    for name in [
        "model.safetensors",
        "permutation.safetensors",
        "config.json",
    ] {
        let read = |folder: &Path| fs::read(folder.join(name)).expect(name);
        assert!(
            read(one) == read(other),
            "{name} of {} and {}",
            one.display(),
            other.display()
        );
    }
    assert_eq!(
        lasting(&one.join("report.json")),
        lasting(&other.join("report.json"))
    );
}

#[test]
fn the_same_job_twice_gives_the_same_bytes() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.01, "batch_size": 32});
    let (_, first) = case.done(&spec);
    let (_, second) = case.done(&spec);
    are_the_same(&first, &second);
    are_the_same(&first, &by_command(&case, &spec));
    spec["options"]["seed"] = json!(1);
    let (_, other) = case.done(&spec);
    let differ = lasting(&first.join("report.json")) != lasting(&other.join("report.json"));
    assert!(differ, "another seed draws other samples");
}

#[tokio::test]
async fn the_same_job_over_http_gives_the_same_bytes() {
    // A runtime of the case's own may not start inside another.
    let case = tokio::task::spawn_blocking(Case::fresh)
        .await
        .expect("no panic");
    let spec = case.spec();
    let database = TestDatabase::fresh().await;
    let (_kept, data_dir) = reachable_folder();
    let mut command = retune_serve("1", &data_dir);
    command
        .env("DATABASE_URL", &database.url)
        .env("RETUNE_STORAGE_ROOTS", case.uri(""));
    let served = Served::start(&mut command).await;
    let transfer = over_http(&served, &spec).await;
    assert_eq!(transfer["status"], "succeeded", "{transfer}");
    let result = path_of(transfer["result"]["uri"].as_str().expect("a URI"));
    let manifest = fs::read(result.join("manifest.json")).expect("a manifest");
    let digest = retune::storage::sha256_of(&manifest).clone();
    assert_eq!(transfer["result"]["manifest_sha256"], digest);
    let check = move || are_the_same(&result, &by_command(&case, &spec));
    tokio::task::spawn_blocking(check)
        .await
        .expect("the same bytes");
}
