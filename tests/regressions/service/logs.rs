//! What a worker's log says of transfers that went well.

use std::fs::{self, File};

use nix::sys::signal::Signal;

use crate::{service::crash::Case, support::Process};

/// A heartbeat on its way when the end was recorded found no lease, and said that it was lost: of every fourth
/// short transfer that had succeeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_that_succeed_warn_of_nothing_and_every_line_names_its_transfer() {
    let case = Case::fresh().await;
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(case.queued_with("identity", 1).await);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let mut command = case.command();
    command
        .env("RETUNE_LOG_LEVEL", "info")
        .stderr(File::create(&path).expect("a file"));
    let mut worker = Process::start(&mut command);
    for id in &ids {
        case.succeeded_once(*id).await;
    }
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0));

    let log = fs::read_to_string(&path).expect("text");
    assert!(!log.contains("WARN") && !log.contains("lost"), "{log}");
    let of_transfers = ["retune::pipeline", "retune::service::worker::attempt"];
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| of_transfers.iter().any(|target| line.contains(target)))
        .collect();
    for id in &ids {
        let id = id.to_string();
        let said = |word: &str| {
            lines
                .iter()
                .any(|line| line.contains(&id) && line.contains(word))
        };
        assert!(
            said("started") && said("candidate") && said("finished"),
            "{log}"
        );
    }
    let nameless = lines
        .iter()
        .find(|line| !ids.iter().any(|id| line.contains(&id.to_string())));
    assert_eq!(nameless, None);
}
