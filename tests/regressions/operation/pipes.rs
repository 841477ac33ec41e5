//! What commands end with: exit codes, and readers that have seen enough.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::json;

use crate::{
    pipeline::case::Case,
    support::{Served, TestDatabase, retune, retune_serve, unused_folder},
};

/// Reads one line of what a command answers and closes the pipe, as `| head -1` does; what the command
/// ended with and complained of.
fn head(command: &mut Command) -> (Option<i32>, String, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("text");
    let said = complaints(&mut child);
    (child.wait().expect("our child").code(), line, said)
}

/// Closes the pipe before anything is answered.
fn deaf(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let said = complaints(&mut child);
    (child.wait().expect("our child").code(), said)
}

/// What a command says beside its answer; where a list goes on is no complaint.
fn complaints(child: &mut Child) -> String {
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("text");
    said.split_inclusive('\n')
        .filter(|line| !line.starts_with("more: "))
        .collect()
}

fn local(arguments: &[&str]) -> Command {
    let mut command = retune();
    command.args(arguments).env("RETUNE_LOG_LEVEL", "error");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough_ends_every_command_quietly() {
    let test = TestDatabase::fresh().await;
    let mut command = retune_serve("0", unused_folder());
    command.env("DATABASE_URL", &test.url);
    let served = Served::start(&mut command).await;
    for _ in 0..40 {
        test.queued(1).await;
    }
    let case = Case::fresh();
    let spec = case.path("spec.json");
    let mut small = case.spec();
    small["methods"] = json!(["identity"]);
    std::fs::write(&spec, small.to_string()).expect("our own file");
    let (spec, model, data) = (
        spec.display().to_string(),
        case.path("new").display().to_string(),
        case.uri("test.safetensors"),
    );
    let id = test.queued(1).await.id.to_string();

    let commands: Vec<Vec<&str>> = vec![
        vec!["list", "--limit", "40"],
        vec!["list", "--limit", "40", "--json"],
        vec!["openapi"],
        vec!["symmetry", &model],
        vec!["symmetry", &model, "--json"],
        vec!["evaluate", &model, "--data", &data],
        vec!["plan", &spec],
        vec!["plan", &spec, "--json"],
        vec!["transfer", &spec],
        vec!["transfer", &spec, "--json"],
        vec!["base-models", "list"],
        vec!["fine-tunes", "list"],
        vec!["retunes", "list"],
        vec!["keys", "list"],
        vec!["tenants", "list"],
        vec!["migrate", "--json"],
        vec!["cancel", &id, "--json"],
        vec!["--help"],
    ];
    for arguments in commands {
        let prepared = || {
            let mut command = local(&arguments);
            command
                .env("RETUNE_URL", &served.url)
                .env("DATABASE_URL", &test.url);
            command
        };
        let (code, line, said) = head(&mut prepared());
        assert!(!line.is_empty(), "{arguments:?} answers");
        assert_eq!(
            (code, said.as_str()),
            (Some(0), ""),
            "{arguments:?} | head -1"
        );
        if arguments[0] != "cancel" {
            assert_eq!(
                deaf(&mut prepared()),
                (Some(0), String::new()),
                "{arguments:?} | true"
            );
        }
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let done = local(&["openapi"])
        .stdout(full)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("the answer cannot be written"), "{said}");
}

fn file(case: &Case, minimum: f64) -> String {
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["gate"] = json!({"metric": "accuracy", "min": minimum});
    let path = case.path(&format!("gate-{minimum}.json"));
    std::fs::write(&path, spec.to_string()).expect("our own file");
    path.display().to_string()
}

fn code(Output { status, stderr, .. }: &Output) -> (Option<i32>, String) {
    (status.code(), String::from_utf8_lossy(stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_model_was_not_published_ends_with_3() {
    let case = Case::fresh();
    let (passes, fails) = (file(&case, 0.0), file(&case, 1.0));
    let transfer = |spec: &str| local(&["transfer", spec]).output().expect("it starts");
    assert_eq!(code(&transfer(&passes)).0, Some(0));
    let rejected = transfer(&fails);
    assert_eq!(code(&rejected), (Some(3), String::new()));
    assert_eq!(
        code(
            &local(&["transfer", &fails, "--json"])
                .output()
                .expect("it starts")
        )
        .0,
        Some(3)
    );
    // Even when nobody reads what it says.
    assert_eq!(deaf(&mut local(&["transfer", &fails])).0, Some(3));

    let test = TestDatabase::fresh().await;
    let served = Served::start(&mut serve(&test, case.folder.path())).await;
    let remote = |arguments: &[&str]| {
        local(arguments)
            .env("RETUNE_URL", &served.url)
            .output()
            .expect("it starts")
    };
    assert_eq!(code(&remote(&["submit", "--wait", &passes])).0, Some(0));
    let rejected = remote(&["submit", "--wait", &fails]);
    let said = String::from_utf8_lossy(&rejected.stdout).into_owned();
    assert_eq!(code(&rejected).0, Some(3), "{said}");
    assert!(
        said.contains("done: rejected, no model was published"),
        "{said}"
    );
    let id = said.lines().next().expect("an id");
    assert_eq!(code(&remote(&["watch", id])).0, Some(3));
    assert_eq!(code(&remote(&["watch", id, "--json"])).0, Some(3));
}

fn serve(test: &TestDatabase, root: &Path) -> Command {
    let mut command = retune_serve("1", unused_folder());
    command.env("DATABASE_URL", &test.url).env(
        "RETUNE_STORAGE_ROOTS",
        format!("file://{}/", root.display()),
    );
    command
}
