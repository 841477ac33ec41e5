//! The commands of every day, as processes against a service: files in, a job followed, its result out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{CaseService, Commands, retune};

impl Commands for CaseService {
    fn program(&self) -> Command {
        let mut command = retune();
        command
            .env("RETUNE_URL", &self.served.url)
            .current_dir(self.case.folder.path());
        command
    }
}

impl CaseService {
    /// Code and complaint of a command.
    fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = self.run(arguments);
        (status.code(), String::from_utf8(stderr).expect("text"))
    }

    /// A file outside the roots.
    fn outside(&self, name: &str) -> PathBuf {
        self.case.folder.path().join(name)
    }

    fn spec(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut spec = self.case.spec();
        spec["methods"] = json!(["identity"]);
        change(&mut spec);
        let path = self.outside("spec.json");
        fs::write(&path, spec.to_string()).expect("our own file");
        path.display().to_string()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("our own folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("our own file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_from_plain_paths_to_a_downloaded_result() {
    let setting = CaseService::start().await;
    copy(&setting.case.path("new"), &setting.outside("my new"));
    let file = setting.spec(|spec| {
        spec["name"] = json!("mail sorter");
        spec["target"]["base"] = json!("my new/");
        // Under the root, a plain path will do.
        spec["source"]["base"] = json!(setting.case.path("old").display().to_string());
    });
    let (code, said) = setting.refused(&["submit", &file]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("retune push 'my new/'") && said.contains("/target/base"),
        "{said}"
    );

    let target = setting.case.uri("pushed/");
    let pushed = setting.json(&["push", "my new", &target]);
    assert_eq!(
        (&pushed["uri"], pushed["files"].as_array().unwrap().len()),
        (&json!(target), 2)
    );
    assert_eq!(
        pushed["files"][1]["name"], "config.json",
        "documents come last"
    );
    let again = setting.json(&["push", "my new", &target, "--verify"]);
    assert!(
        again["files"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["present"] == true)
    );
    fs::write(setting.outside("my new/config.json"), "{}").unwrap();
    let (code, said) = setting.refused(&["push", "my new", &target]);
    assert_eq!(code, Some(2));
    assert!(said.contains("nothing is ever replaced"), "{said}");
    assert_eq!(
        fs::read_dir(setting.case.path("pushed")).unwrap().count(),
        2,
        "nothing is left aside"
    );

    let file = setting.spec(|spec| {
        spec["name"] = json!("mail sorter");
        spec["target"]["base"] = json!(target);
    });
    let done = setting.json(&["submit", &file, "--wait"]);
    let id = done["id"].as_str().expect("an id").to_owned();
    let (short, ambiguous) = (&id[..23], &id[..7]);
    assert_eq!(setting.json(&["show", short])["name"], "mail sorter");
    assert!(setting.text(&["show", short]).contains("mail sorter"));
    assert!(setting.text(&["list", "--name", "SORTER"]).contains(&id));
    assert!(!setting.text(&["list", "--name", "news"]).contains(&id));
    assert_eq!(setting.refused(&["show", ambiguous]).0, Some(2));
    let none = setting.refused(&["show", "0190f0000000"]);
    assert!(
        none.1.contains("no transfer has an id that begins with"),
        "{}",
        none.1
    );
    assert!(setting.text(&["report", short]).contains("identity"));
    let events = setting.text(&["events", short, "--follow"]);
    assert!(
        events.contains("transfer.queued") && events.contains("transfer.succeeded"),
        "{events}"
    );
    let feed = setting.text(&["events"]);
    assert!(feed.contains(&format!("transfers/{id}")), "{feed}");

    let downloaded = setting.outside("result");
    let place = downloaded.display().to_string();
    setting.text(&["download", short, &place]);
    let result = setting.case.path(&format!("out/{id}"));
    let model = fs::read(result.join("model.safetensors")).unwrap();
    assert_eq!(
        fs::read(downloaded.join("model.safetensors")).unwrap(),
        model
    );
    // What broke off goes on, and what is damaged is not kept.
    fs::remove_file(downloaded.join("model.safetensors")).unwrap();
    fs::write(downloaded.join("model.safetensors.part"), &model[..100]).unwrap();
    setting.text(&["download", short, &place]);
    assert_eq!(
        fs::read(downloaded.join("model.safetensors")).unwrap(),
        model
    );
    assert!(!downloaded.join("model.safetensors.part").exists());

    setting.text(&["delete", short, "--files"]);
    assert!(!result.exists());
    assert_eq!(setting.refused(&["show", &id]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_tried_again_by_a_command() {
    let setting = CaseService::start().await;
    let file = setting.spec(|spec| spec["target"]["base"] = json!(setting.case.uri("later/")));
    let Output { status, stdout, .. } = setting.run(&["submit", &file, "--wait", "--json"]);
    let failed: Value = serde_json::from_slice(&stdout).expect("JSON");
    assert_eq!(
        (status.code(), &failed["status"]),
        (Some(1), &json!("failed"))
    );
    copy(&setting.case.path("new"), &setting.case.path("later"));
    let id = failed["id"].as_str().expect("an id");
    assert_eq!(setting.json(&["retry", &id[..18]])["id"], json!(id));
    setting.text(&["watch", id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_wrong_and_how_to_mend_it() {
    let setting = CaseService::start().await;
    let look = |roots: &str, url: &str| {
        let mut command = retune();
        command
            .args(["doctor", "--json", "--data-dir"])
            .arg(setting.case.folder.path().join("data"));
        command
            .env("DATABASE_URL", url)
            .env("RETUNE_STORAGE_ROOTS", roots);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the program starts");
        let said = String::from_utf8_lossy(&stderr).into_owned();
        let found: Value = serde_json::from_slice(&stdout).expect(&said);
        let of = |subject: &str| {
            let all = found["findings"].as_array().expect("findings");
            let one = all
                .iter()
                .find(|one| one["subject"].as_str().unwrap().starts_with(subject));
            one.unwrap_or_else(|| panic!("{subject} is not in {found:#}"))
                .clone()
        };
        (status.code(), of("database"), of("root"))
    };
    let (_, database, root) = look(&setting.case.uri(""), &setting.test.url);
    assert_eq!(
        (&database["state"], &root["state"]),
        (&json!("ok"), &json!("ok")),
        "{root:#}"
    );
    let before = fs::read_dir(setting.case.path("")).unwrap().count();

    fs::write(setting.outside("file"), "no folder").unwrap();
    let blocked = format!("file://{}/", setting.outside("file").display());
    let (code, database, root) = look(&blocked, "postgres://nobody@127.0.0.1:1/none");
    assert_eq!(code, Some(1));
    assert_eq!(
        (&database["state"], &root["state"]),
        (&json!("trouble"), &json!("trouble"))
    );
    assert!(database["mend"].is_string() && root["mend"].is_string());
    assert_eq!(
        fs::read_dir(setting.case.path("")).unwrap().count(),
        before,
        "nothing is left"
    );
}

#[test]
fn shells_are_told_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = retune()
            .args(["completions", shell])
            .output()
            .expect("the program starts");
        let script = String::from_utf8(done.stdout).expect("text");
        assert!(
            done.status.success() && script.contains("doctor"),
            "{shell}"
        );
    }
}
