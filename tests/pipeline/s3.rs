//! The service on S3: a real server as a separate process, signed requests, parts, and the same
//! bytes as on files.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    case::{Case, path_of},
    same_bytes::{by_command, over_http},
};
use crate::{
    engine::networks::mlp,
    support::{
        Served, TestDatabase, http, reachable_folder, retune_serve,
        weed::{ACCESS_KEY, SECRET_KEY, Weed},
    },
};

/// Above what goes in one request.
const LARGE: u64 = 16 << 20;

/// A network whose weights are larger than one request, and a job about it.
fn large_case() -> Case {
    let case = Case::fresh();
    let wide = mlp(&[6, 2048, 2048, 3]);
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.write(
            &format!("{name}/config.json"),
            wide.graph.to_document().to_string(),
        );
        case.put_weights(name, &wide.parameters(seed));
    }
    case
}

const INPUTS: [&str; 9] = [
    "old/config.json",
    "old/model.safetensors",
    "tuned/config.json",
    "tuned/model.safetensors",
    "new/config.json",
    "new/model.safetensors",
    "train.safetensors",
    "validation.safetensors",
    "test.safetensors",
];

fn serve_on(weed: &Weed, database: &TestDatabase, data_dir: &Path) -> std::process::Command {
    let mut command = retune_serve("1", data_dir);
    command
        .env("DATABASE_URL", &database.url)
        .env("RETUNE_STORAGE_ROOTS", "s3://bucket/jobs/")
        .env(
            "RETUNE_STORAGE_S3_ENDPOINT",
            format!("http://127.0.0.1:{}", weed.s3),
        )
        .env("RETUNE_STORAGE_S3_ALLOW_HTTP", "true")
        .env("RETUNE_STORAGE_S3_PATH_STYLE", "true")
        .env("RETUNE_STORAGE_S3_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

#[tokio::test]
async fn a_job_on_s3_gives_the_bytes_that_files_give() {
    let weed = Weed::start().await;
    let case = tokio::task::spawn_blocking(large_case)
        .await
        .expect("no panic");
    for name in INPUTS {
        weed.put(
            &format!("jobs/{name}"),
            std::fs::read(case.path(name)).expect("a file"),
        )
        .await;
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let on_s3 = spec.to_string().replace(&case.uri(""), "s3://bucket/jobs/");
    let on_s3: Value = serde_json::from_str(&on_s3).expect("JSON");

    let database = TestDatabase::fresh().await;
    let (_kept, data_dir) = reachable_folder();
    let served = Served::start(&mut serve_on(&weed, &database, &data_dir)).await;
    let transfer = over_http(&served, &on_s3).await;
    assert_eq!(transfer["status"], "succeeded", "{transfer}");
    let uri = transfer["result"]["uri"]
        .as_str()
        .expect("a URI")
        .to_owned();
    let folder = uri
        .strip_prefix("s3://bucket/")
        .expect("in the bucket")
        .to_owned();

    let run_here = move || {
        let folder = by_command(&case, &spec);
        (case, folder)
    };
    let (case, local) = tokio::task::spawn_blocking(run_here)
        .await
        .expect("a result on files");
    for name in [
        "model.safetensors",
        "permutation.safetensors",
        "config.json",
    ] {
        let wanted = std::fs::read(local.join(name)).expect(name);
        assert!(
            weed.get(&format!("{folder}{name}")).await == wanted,
            "{name} on S3"
        );
        let url = format!(
            "{}/v1/transfers/{}/files/{name}",
            served.url,
            transfer["id"].as_str().expect("id")
        );
        let streamed = http()
            .get(url)
            .send()
            .await
            .expect("an answer")
            .bytes()
            .await;
        assert!(
            streamed.expect("a body") == wanted,
            "{name} through the service"
        );
    }
    assert!(
        std::fs::metadata(local.join("model.safetensors"))
            .expect("there")
            .len()
            > LARGE
    );
    let mut names = weed.names(&folder).await;
    names.sort();
    assert_eq!(
        names,
        super::case::names_in(&path_of(&format!("file://{}", local.display())))
    );

    // A bad input on S3 leaves nothing there either.
    let spoilt = b"\xff\xff\xff\xff\xff\xff\xff\xff{}".to_vec();
    weed.put("jobs/spoilt/model.safetensors", spoilt).await;
    weed.put("jobs/spoilt/config.json", b"{}".to_vec()).await;
    let mut bad = on_s3.clone();
    bad["source"]["trajectory"] = json!("s3://bucket/jobs/spoilt/");
    bad["output"] = json!("s3://bucket/jobs/refused/");
    let transfer = over_http(&served, &bad).await;
    assert_eq!(transfer["status"], "failed", "{transfer}");
    assert_eq!(transfer["error"]["code"], "header_too_large", "{transfer}");
    assert!(weed.names("jobs/refused/").await.is_empty());
    tokio::task::spawn_blocking(move || drop(case))
        .await
        .expect("no panic");
}
