//! `retune serve` as a process: its line, its workers, its refusals, its end.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use retune::service::database::workers;

use crate::support::{
    Served, TestDatabase, children_of, http, retune, retune_serve, unused_folder, within,
};

fn serve(test: &TestDatabase, workers: &str) -> std::process::Command {
    let mut command = retune_serve(workers, unused_folder());
    command.env("DATABASE_URL", &test.url);
    command
}

#[tokio::test]
async fn it_answers_after_its_line_and_ends_on_sigterm_with_its_workers() {
    let test = TestDatabase::fresh().await;
    let mut served = Served::start(&mut serve(&test, "2")).await;
    let answer = http()
        .get(format!("{}/healthz", served.url))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    let known = within("two workers sign in", async || {
        let known = workers::list(&test.database).await.unwrap();
        (known.len() == 2).then_some(known)
    })
    .await;
    assert!(known.iter().all(|worker| worker.device == "cpu"));
    assert!(
        known
            .iter()
            .all(|worker| children_of(served.process.id()).contains(&worker.pid))
    );

    served.process.signal(Signal::SIGTERM);
    assert_eq!(served.process.ended().await, Some(0));
    assert_eq!(
        served.process.line().await,
        "",
        "one line on stdout and no more"
    );
    assert!(
        workers::list(&test.database).await.unwrap().is_empty(),
        "they signed off"
    );
}

#[tokio::test]
async fn a_dead_worker_is_replaced_and_a_dead_service_leaves_no_worker() {
    let test = TestDatabase::fresh().await;
    let mut served = Served::start(&mut serve(&test, "1")).await;
    let parent = served.process.id();
    let worker = async |but: i32| {
        within("a worker runs", async || {
            children_of(parent).into_iter().find(|pid| *pid != but)
        })
        .await
    };
    let first = worker(0).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let second = worker(first).await;
    served.process.signal(Signal::SIGKILL);
    served.process.ended().await;
    within("the worker ends with its parent", async || {
        let stat = std::fs::read_to_string(format!("/proc/{second}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_open_address_without_a_key_is_refused() {
    let test = TestDatabase::fresh().await;
    let mut command = retune();
    command
        .args(["serve", "--workers", "0"])
        .env("DATABASE_URL", &test.url);
    let refused = command.env("RETUNE_LISTEN", "0.0.0.0:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("retune keys create"), "{said}");
}
