//! The embedded PostgreSQL dies under `serve`, and is started again.

use std::path::{Path, PathBuf};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    pipeline::case::Case,
    support::{Served, http, reachable_folder, retune_serve, within},
};

struct Service {
    case: Case,
    served: Served,
    data_dir: PathBuf,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let case = Case::fresh();
        let (guard, data_dir) = reachable_folder();
        let mut command = retune_serve("1", &data_dir);
        command
            .env(
                "RETUNE_STORAGE_ROOTS",
                format!("file://{}/", case.folder.path().display()),
            )
            .env("RETUNE_WORKER_POLL_SECONDS", "0.2");
        let served = Served::start(&mut command).await;
        Self {
            case,
            served,
            data_dir,
            _folder: guard,
        }
    }

    /// Submits a job, and waits for its end as a patient client does.
    async fn succeeds(&self) {
        let post = async || {
            let sent = http()
                .post(format!("{}/v1/transfers", self.served.url))
                .header("content-type", "application/json")
                .header("idempotency-key", "once-a-round")
                .body(self.case.spec().to_string())
                .send()
                .await
                .ok()?;
            let is_made = sent.status() == 202;
            let answer: Value = serde_json::from_str(&sent.text().await.ok()?).ok()?;
            is_made.then(|| answer["id"].as_str().expect("an id").to_owned())
        };
        let id = within("a job is taken", post).await;
        within("the job succeeds", async || {
            let url = format!("{}/v1/transfers/{id}", self.served.url);
            let text = http().get(url).send().await.ok()?.text().await.ok()?;
            let transfer: Value = serde_json::from_str(&text).ok()?;
            assert_ne!(transfer["status"], json!("failed"), "{transfer}");
            (transfer["status"] == "succeeded").then_some(())
        })
        .await;
    }

    async fn is_ready(&self) -> Option<()> {
        let answer = http()
            .get(format!("{}/readyz", self.served.url))
            .send()
            .await
            .ok()?;
        (answer.status() == 200).then_some(())
    }
}

fn postmaster(data_dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_started_again_and_jobs_go_on() {
    let mut service = Service::start().await;
    // By a fast shutdown from outside, and by a crash.
    for death in [Signal::SIGINT, Signal::SIGKILL] {
        let before = postmaster(&service.data_dir).expect("a server runs");
        kill(Pid::from_raw(before), death).expect("it lives");
        within("another server runs", async || {
            postmaster(&service.data_dir).filter(|pid| *pid != before)
        })
        .await;
        within("the service is ready again", || service.is_ready()).await;
    }
    service.succeeds().await;
    let last = postmaster(&service.data_dir).expect("a server runs");
    service.served.process.signal(Signal::SIGTERM);
    assert_eq!(service.served.process.ended().await, Some(0));
    within("the server ends with the service", async || {
        kill(Pid::from_raw(last), None).is_err().then_some(())
    })
    .await;
}
