//! The private PostgreSQL: made, shared, found again after a kill, stopped by the last.

use std::future::Future;

use nix::sys::signal::Signal;
use retune::service::{database::Database, private_cluster::PrivateCluster};

use crate::support::{Served, reachable_folder, retune_serve, within};

fn answers(url: &str) -> impl Future<Output = Option<()>> + use<> {
    let url = url.to_owned();
    async move { Database::connect_to(&url, 1).await.ok().map(|_| ()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_outlives_a_killed_service_and_is_joined_and_stopped_by_the_next() {
    let (_folder, data_dir) = reachable_folder();
    let serve = || retune_serve("0", &data_dir);
    let mut first = Served::start(&mut serve()).await;
    let pid_file = data_dir.join("postgres/data/postmaster.pid");
    let postmaster = || {
        std::fs::read_to_string(&pid_file)
            .ok()?
            .lines()
            .next()
            .map(str::to_owned)
    };
    let started = postmaster().expect("a server runs");
    first.process.signal(Signal::SIGKILL);
    first.process.ended().await;

    let mut second = Served::start(&mut serve()).await;
    assert_eq!(
        postmaster().as_ref(),
        Some(&started),
        "the orphan is joined, not replaced"
    );

    // A third user comes and goes without taking the server away.
    let third = PrivateCluster::open(&data_dir, "").unwrap();
    let url = third.url();
    third.close().unwrap();
    answers(&url).await.expect("still there");

    second.process.signal(Signal::SIGTERM);
    assert_eq!(second.process.ended().await, Some(0));
    within("the server stops", || {
        let gone = (!pid_file.exists()).then_some(());
        async move { gone }
    })
    .await;
    assert!(answers(&url).await.is_none());
}

#[test]
fn a_folder_of_another_version_is_left_alone() {
    let (_folder, data_dir) = reachable_folder();
    let cluster = PrivateCluster::open(&data_dir, "").unwrap();
    cluster.close().unwrap();
    let version = data_dir.join("postgres/data/PG_VERSION");
    std::fs::write(&version, "9.6\n").unwrap();
    let error = PrivateCluster::open(&data_dir, "").unwrap_err().to_string();
    assert!(
        error.contains("9.6") && error.contains("RETUNE_PG_BIN"),
        "{error}"
    );
}

#[test]
fn a_long_data_dir_gets_its_socket_elsewhere() {
    let (_folder, data_dir) = reachable_folder();
    let deep = data_dir.join("d".repeat(120));
    let cluster = PrivateCluster::open(&deep, "").unwrap();
    assert!(
        cluster.url().contains("%2Ftmp%2Fretune-"),
        "{}",
        cluster.url()
    );
    cluster.close().unwrap();
}
