//! `retune push` to a hub, as a process.

use std::{fs, process::Command};

use super::{Case, MODEL};
use crate::support::hub_server::TOKEN;

/// A folder to be pushed: small files, an empty one, a large one, and one that goes in parts.
struct Pushing {
    case: Case,
    folder: tempfile::TempDir,
    token: tempfile::NamedTempFile,
}

impl Pushing {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("step-1");
        fs::create_dir(&within).unwrap();
        fs::write(folder.path().join("config.json"), "{\"new\": 1}").unwrap();
        fs::write(folder.path().join("empty.txt"), "").unwrap();
        fs::write(within.join("a b.txt"), "x".repeat(1000)).unwrap();
        let pushing = Self {
            case: Case::new(),
            folder,
            token: tempfile::NamedTempFile::new().unwrap(),
        };
        fs::write(
            pushing.folder.path().join("model.safetensors"),
            &pushing.case.weights,
        )
        .unwrap();
        pushing
    }

    fn push(&self, more: &[&str]) -> (Option<i32>, String) {
        self.push_with(Some(TOKEN), more)
    }

    fn push_with(&self, token: Option<&str>, more: &[&str]) -> (Option<i32>, String) {
        let mut command = crate::support::retune();
        command.arg("push").arg(self.folder.path()).args(more);
        command.env("HF_ENDPOINT", &self.case.hub.address);
        if let Some(token) = token {
            fs::write(self.token.path(), format!("{token}\n")).unwrap();
            command.env("HF_TOKEN_FILE", self.token.path());
        }
        let ran = command.output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8(said).unwrap())
    }
}

#[test]
fn a_folder_is_pushed_by_one_commit() {
    let all = Pushing::new();
    let place = "hf://org/model/out";
    let before = all.case.hub.files(MODEL, "main");
    // Busy, then broken: neither costs anything.
    all.case.hub.be_busy(1);
    all.case.hub.break_off(1);
    let (code, said) = all.push(&[place, "--verify", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let told: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(told["files"].as_array().unwrap().len(), 4, "{told}");

    let after = all.case.hub.files(MODEL, "main");
    assert_eq!(after.len(), before.len() + 4);
    assert!(before.iter().all(|(path, bytes)| after[path] == *bytes));
    assert_eq!(after["out/model.safetensors"], all.case.weights);
    assert_eq!(after["out/config.json"], "{\"new\": 1}");
    assert_eq!(after["out/step-1/a b.txt"].len(), 1000);
    assert_eq!(after["out/empty.txt"], "");
    let asked = all.case.hub.asked_of_the_other_host();
    assert!(asked.iter().all(|asked| asked.token.is_none()), "{asked:?}");

    // The folder at its commit, and the same again is no commit.
    let pinned = told["uri"].as_str().unwrap();
    assert!(
        pinned.starts_with("hf://org/model@") && pinned.ends_with("/out/"),
        "{pinned}"
    );
    let (code, again) = all.push(&[place, "--json"]);
    assert_eq!(code, Some(0), "{again}");
    let again: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(again["uri"], told["uri"]);
    assert!(
        again["files"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["present"] == true)
    );
}

#[test]
fn a_push_replaces_nothing_and_is_whole_or_not_at_all() {
    let all = Pushing::new();
    let files = all.case.hub.files(MODEL, "main");
    // `config.json` is there and is another.
    let (code, said) = all.push(&["hf://org/model"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing is ever replaced"), "{said}");

    all.case.hub.move_before_commit();
    let (code, said) = all.push(&["hf://org/model/out"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another commit meanwhile"), "{said}");
    let moved = all.case.hub.files(MODEL, "main");
    assert!(moved.keys().all(|path| !path.starts_with("out/")));
    assert!(files.contains_key("config.json"));

    fs::write(all.folder.path().join("x.ignored"), "x").unwrap();
    let (code, said) = all.push(&["hf://org/model/out"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("x.ignored") && said.contains(".gitignore"),
        "{said}"
    );
}

#[test]
fn a_push_says_who_may_not_and_where_not() {
    let all = Pushing::new();
    for token in [None, Some("hf_of_another")] {
        let (code, said) = all.push_with(token, &["hf://org/model/out"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("HF_TOKEN") && !said.contains("hf_of_another"),
            "{said}"
        );
    }
    let at_commit = format!("hf://org/model@{}/out", all.case.first);
    for place in [at_commit.as_str(), "hf://org"] {
        let (code, said) = all.push(&[place]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("on no branch"), "{said}");
    }
    let (code, said) = all.push(&["hf://org/none/out"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no such repository"), "{said}");

    // Another branch, a data set, a repository that was renamed.
    all.case
        .hub
        .commit(MODEL, "next", &[("README.md", b"next")]);
    all.case
        .hub
        .commit("datasets/org/data", "main", &[("README.md", b"data")]);
    all.case.hub.rename("org/old-name", MODEL);
    for (place, repository, branch) in [
        ("hf://org/model@next/out", MODEL, "next"),
        ("hf://datasets/org/data/out", "datasets/org/data", "main"),
        ("hf://org/old-name/out", MODEL, "main"),
    ] {
        let (code, said) = all.push(&[place]);
        assert_eq!(code, Some(0), "{place}: {said}");
        let files = all.case.hub.files(repository, branch);
        assert_eq!(files["out/model.safetensors"], all.case.weights, "{place}");
    }
}

/// The same protocol by the hub's own library: the server of these tests is no friendlier than a hub.
#[test]
fn the_hubs_own_library_writes_to_the_server_of_these_tests() {
    let python = std::env::var("RETUNE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python)
        .args(["-c", "import huggingface_hub"])
        .output();
    if !found.expect("python3 runs").status.success() {
        eprintln!("huggingface_hub is not installed: nothing was tried");
        return;
    }

    let (all, home) = (Pushing::new(), tempfile::tempdir().unwrap());
    let script = "import sys, huggingface_hub as hub\n\
        hub.HfApi().upload_folder(repo_id='org/model', folder_path=sys.argv[1], path_in_repo='out')";
    let run = Command::new(&python)
        .args(["-B", "-c", script])
        .arg(all.folder.path())
        .env("HF_ENDPOINT", &all.case.hub.address)
        .env("HF_TOKEN", TOKEN)
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HOME", home.path())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let files = all.case.hub.files(MODEL, "main");
    assert_eq!(files["out/model.safetensors"], all.case.weights);
    assert_eq!(files["out/config.json"], "{\"new\": 1}");
}
