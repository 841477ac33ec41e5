//! The OpenAPI document before a validator, and a client generated from it before a real service.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::support::CaseService;

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_client_submits_a_job_with_a_stage_of_fine_tuning() {
    let python = std::env::var("RETUNE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let wanted = "import openapi_spec_validator, openapi_python_client, httpx";
    let found = Command::new(&python)
        .args(["-c", wanted])
        .output()
        .expect("python3 runs");
    if !found.status.success() {
        eprintln!(
            "openapi-spec-validator and openapi-python-client are not installed: nothing was tried"
        );
        return;
    }

    let service = CaseService::start().await;
    let case = &service.case;
    let mut spec = case.spec();
    spec["fine_tune"] =
        json!({"epochs": 1, "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 32});
    case.write("client.json", spec.to_string());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/check.py");
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_retune"))
        .arg(case.path("client.json"))
        .env("RETUNE_URL", &service.served.url);
    let run = move || command.output().expect("python3 runs");
    let done = tokio::task::spawn_blocking(run).await.expect("no panic");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success(),
        "{}{said}",
        String::from_utf8_lossy(&done.stdout)
    );
}
