//! The programs in `examples/`, run as their users run them. Those that need `PyTorch` are
//! `make test-python-torch`.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::CaseService;

impl CaseService {
    /// Runs an example to its end.
    async fn run_example(&self, example: &str, arguments: &[&str]) -> Output {
        // `make test` makes the environment.
        let python = std::env::var("RETUNE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let tracking = self.case.folder.path().join("mlflow.db");
        let mut command = Command::new(python);
        command
            .arg("-B")
            .arg(examples.join(example))
            .args(arguments)
            .env("RETUNE_URL", &self.served.url)
            .env(
                "MLFLOW_TRACKING_URI",
                format!("sqlite:///{}", tracking.display()),
            );
        let run = move || command.output().expect("python3 runs");
        tokio::task::spawn_blocking(run).await.expect("no panic")
    }

    /// Submits by the example: its exit code and what it printed.
    async fn submitted(&self, spec: &Value, key: &str) -> (Option<i32>, Value) {
        self.case.write("spec.json", spec.to_string());
        let file = self.case.path("spec.json").display().to_string();
        let output = self.run_example("submit_and_wait.py", &[&file, key]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            serde_json::from_slice(&output.stdout).expect(&said),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_step_submits_once_and_tells_the_ends_apart() {
    let setting = CaseService::start().await;
    let spec = setting.case.spec();
    let (code, first) = setting.submitted(&spec, "run-1").await;
    assert_eq!(
        (code, &first["verdict"]),
        (Some(0), &json!("published")),
        "{first:#}"
    );
    let (code, again) = setting.submitted(&spec, "run-1").await;
    assert_eq!(
        (code, &again["id"]),
        (Some(0), &first["id"]),
        "a step that is tried again"
    );

    let mut strict = spec.clone();
    strict["gate"] = json!({"max_negative_flips": 0.0, "min": 1.0});
    let (code, rejected) = setting.submitted(&strict, "run-2").await;
    assert_eq!(
        (code, &rejected["verdict"]),
        (Some(3), &json!("rejected")),
        "{rejected:#}"
    );

    let mut broken = spec;
    broken["target"]["base"] = json!(setting.case.uri("nothing/"));
    let (code, failed) = setting.submitted(&broken, "run-3").await;
    assert_eq!(
        (code, &failed["status"]),
        (Some(1), &json!("failed")),
        "{failed:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_becomes_a_model_version_in_mlflow_once() {
    let setting = CaseService::start().await;
    let (_, transfer) = setting.submitted(&setting.case.spec(), "run").await;
    let id = transfer["id"].as_str().expect("an id");
    let said = async || {
        let output = setting
            .run_example("mlflow_register.py", &[id, "clothes"])
            .await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let uri = transfer["result"]["uri"].as_str().expect("a folder");
    let expected = format!("clothes version 1: {uri}");
    assert_eq!(said().await.trim_end(), expected);
    assert_eq!(said().await.trim_end(), expected, "registered already");
}
