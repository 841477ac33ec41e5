//! The commands of the registry, as processes against a service.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{
    Commands, Served, TestDatabase, reachable_folder, retune, retune_serve, within,
};

struct Installation {
    database: TestDatabase,
    served: Served,
    folder: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Commands for Installation {
    fn program(&self) -> Command {
        let mut command = retune();
        command.env("RETUNE_URL", &self.served.url);
        command
    }
}

impl Installation {
    async fn begin() -> Self {
        let database = TestDatabase::fresh().await;
        let (guard, folder) = reachable_folder();
        let mut command = retune_serve("0", folder.join("state"));
        command
            .env(
                "RETUNE_STORAGE_ROOTS",
                format!("file://{}/", folder.display()),
            )
            .env("DATABASE_URL", &database.url);
        let served = Served::start(&mut command).await;
        Self {
            database,
            served,
            folder,
            _folder: guard,
        }
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}/{name}/", self.folder.display())
    }

    fn model(&self, name: &str) -> String {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).expect("our own folder");
        write(&folder.join("config.json"), "{}");
        write(&folder.join("model.safetensors"), name);
        self.uri(name)
    }

    fn file(&self, name: &str, content: &Value) -> String {
        let path = self.folder.join(name);
        write(&path, &content.to_string());
        path.display().to_string()
    }

    /// What a refused command says.
    fn refused(&self, arguments: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.run(arguments);
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{arguments:?}");
        String::from_utf8(stderr).expect("text")
    }
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).expect("our own file");
}

#[tokio::test]
async fn a_base_model_and_its_dependents_are_kept_by_commands_alone() {
    let all = Installation::begin().await;
    let described = all.file("description.json", &json!({"licence": "mit"}));
    assert_eq!(
        all.json(&["base-models", "put", "llama", &described])["licence"],
        "mit"
    );
    let first = all.json(&[
        "base-models",
        "add-version",
        "llama",
        "1",
        &all.model("llama-1"),
    ]);
    assert_eq!(
        (&first["version"], &first["retune"]),
        (&json!("1"), &Value::Null)
    );
    let spec = all.file(
        "news.json",
        &json!({
            "base_model": "llama", "base_version": "1", "trajectory": all.uri("tuned"),
            "spec": {"methods": ["identity"], "output": all.uri("out")},
            "policy": {"on": "new_version", "mode": "propose"},
        }),
    );
    assert!(
        all.text(&["fine-tunes", "put", "news", &spec])
            .contains("llama")
    );
    assert_eq!(
        all.json(&["fine-tunes", "show", "news"])["policy"]["mode"],
        "propose"
    );
    for (command, protected) in [("protect", json!(["production"])), ("unprotect", json!([]))] {
        let shown = all.json(&["fine-tunes", command, "news"]);
        assert_eq!(shown["protected_aliases"], protected);
    }
    let second = all.json(&[
        "base-models",
        "add-version",
        "llama",
        "2",
        &all.model("llama-2"),
        "--parent",
        "1",
        "--retires-at",
        "2030-01-31T00:00:00Z",
    ]);
    assert_eq!(second["retires_at"], "2030-01-31T00:00:00Z");
    let retune = second["retune"].as_str().expect("a retune");
    let listed = all.text(&["base-models", "versions", "llama"]);
    let lines: Vec<_> = listed.lines().collect();
    assert!(
        lines[0].starts_with("VERSION") && lines[1].starts_with("2 "),
        "{listed}"
    );
    assert!(lines[1].contains(retune) && lines.len() == 3, "{listed}");
    assert!(all.text(&["base-models", "list"]).contains("llama"));
    let moved = all.json(&["base-models", "alias", "llama", "stable", "2"]);
    assert_eq!(
        all.json(&["base-models", "alias", "llama", "stable"]),
        moved
    );
    let page = all.json(&["base-models", "versions", "llama", "--limit", "1"]);
    let next = page["next"].as_str().expect("another page");
    let rest = all.json(&["base-models", "versions", "llama", "--after", next]);
    assert_eq!(rest["data"][0]["version"], "1");

    for (command, status) in [
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
    ] {
        assert_eq!(all.json(&["retunes", command, retune])["status"], status);
    }
    assert_eq!(
        all.json(&["retunes", "show", retune])["counts"]["cancelled"],
        1
    );
    assert!(
        all.text(&["retunes", "list", "--status", "cancelled"])
            .contains(retune)
    );
    assert_eq!(
        all.json(&["retunes", "list", "--status", "queued"])["data"],
        json!([])
    );
    let target = all.model("elsewhere");
    let by_hand = all.json(&[
        "retunes",
        "start",
        "--fine-tune",
        "news",
        "--target",
        &target,
        "--max-concurrent",
        "1",
    ]);
    assert_eq!(by_hand["limits"]["max_concurrent"], 1);
}

#[tokio::test]
async fn what_a_service_refuses_is_told_with_exit_code_2() {
    let all = Installation::begin().await;
    for command in [
        &["base-models", "versions", "llama"][..],
        &[
            "base-models",
            "add-version",
            "llama",
            "1",
            "file:///nowhere/",
        ],
        &["fine-tunes", "show", "news"],
        &["fine-tunes", "versions", "news"],
        &["fine-tunes", "promote", "news", "1"],
        &["fine-tunes", "rollback", "news", "1", "--alias", "beta"],
        &["fine-tunes", "protect", "news", "--alias", "beta"],
        &["retunes", "pause", "00000000-0000-7000-8000-000000000000"],
    ] {
        assert!(all.refused(command).contains("not_found"), "{command:?}");
    }
    all.text(&["base-models", "put", "llama"]);
    let outside = all.refused(&["base-models", "add-version", "llama", "1", "file:///etc/"]);
    assert!(
        outside.contains("location_not_allowed") && outside.contains("/uri"),
        "{outside}"
    );
    for usage in [
        &["retunes", "start"][..],
        &["retunes", "start", "--base-model", "llama"],
        &["retunes", "start", "--target", "file:///a/"],
        &["base-models"],
    ] {
        assert!(all.refused(usage).contains("Usage"), "{usage:?}");
    }
    let no_number = all.refused(&["fine-tunes", "promote", "news", "first"]);
    assert!(no_number.contains("'first' for '<VERSION>'"), "{no_number}");
}

#[tokio::test]
async fn arrivals_and_tenants_are_listed() {
    let all = Installation::begin().await;
    all.text(&["base-models", "put", "llama"]);
    all.model("llama/2");
    let address = format!("{}/v1/base_models/llama/inbound_tokens", all.served.url);
    let body = json!({"prefix": all.uri("llama"), "poll_seconds": 30});
    let made = crate::support::http()
        .post(address)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(made.status(), 201);
    within("what is in the folder is registered", async || {
        let listed = all.text(&["base-models", "arrivals", "llama", "--status", "registered"]);
        listed
            .lines()
            .nth(1)
            .map(str::to_owned)
            .filter(|line| line.starts_with("2 "))
    })
    .await;
    let run = |arguments: &[&str]| {
        let ran = retune()
            .args(arguments)
            .env("DATABASE_URL", &all.database.url)
            .output();
        String::from_utf8(ran.expect("the program starts").stdout).expect("text")
    };
    run(&["keys", "create", "--tenant", "vision"]);
    let tenants: Value = serde_json::from_str(&run(&["tenants", "list", "--json"])).expect("JSON");
    let names: Vec<_> = tenants["data"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["default", "vision"]);
    assert!(
        run(&["tenants", "list"])
            .lines()
            .any(|line| line.ends_with("  vision"))
    );
    let quotas = |arguments: &[&str]| -> [Value; 2] {
        let all = [&["tenants", "quotas", "vision", "--json"], arguments].concat();
        let tenant: Value = serde_json::from_str(&run(&all)).expect("JSON");
        ["queued_transfers", "result_bytes_per_day"].map(|name| tenant[name].clone())
    };
    assert_eq!(
        quotas(&["--queued-transfers", "3"]),
        [json!(3), Value::Null]
    );
    // What is not named stays.
    assert_eq!(
        quotas(&["--result-bytes-per-day", "5000000000"]),
        [json!(3), json!(5_000_000_000_i64)]
    );
    assert_eq!(
        quotas(&["--queued-transfers", "default"]),
        [Value::Null, json!(5_000_000_000_i64)]
    );
    assert!(run(&["tenants", "quotas", "vision"]).contains("queued_transfers          default"));
    assert_eq!(run(&["tenants", "quotas", "nobody", "--json"]), "");
}
