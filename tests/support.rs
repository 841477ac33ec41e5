//! What integration tests stand on: a PostgreSQL shared by the run, a database for each test, real
//! `retune` processes, and waiting for what must happen without ever sleeping.

mod case_service;
mod database;
pub mod files;
pub mod gate;
pub mod hub_server;
pub mod kept;
pub mod models;
mod process;
pub mod published;
pub mod receiver;
pub mod s3_server;
pub mod webhooks;
pub mod weed;

use std::{
    future::Future,
    io,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::time;

pub use case_service::CaseService;
pub use database::{LONG, OVER, TestDatabase, claim, enqueue, outcome, spec};
pub use process::{Commands, Process, Served, retune, retune_serve, unused_folder};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Asks until there is an answer. For what nothing announces: the end of processes, mostly.
pub async fn within<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    let mut pace = time::interval(Duration::from_millis(20));
    while begun.elapsed() < PATIENCE {
        if let Some(answer) = ask().await {
            return answer;
        }
        pace.tick().await;
    }
    panic!("waited in vain: {what}");
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: i32) -> Vec<i32> {
    let stat = |entry: std::fs::DirEntry| {
        let child: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // pid (name, perhaps with spaces) state parent …
        let mut after = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (after.next()?, after.next()?.parse::<i32>().ok()?);
        (parent == pid && state != "Z").then_some(child)
    };
    std::fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(stat)
        .collect()
}

/// A folder of the test's own that root's PostgreSQL can reach.
pub fn reachable_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::Builder::new()
        .prefix("rt")
        .tempdir()
        .expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("our own folder");
    let path = folder.path().to_owned();
    (folder, path)
}

/// An HTTP client; the TLS provider must be there even for plain http.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Ports that are free now; held together so that they differ.
pub fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners: io::Result<Vec<_>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    listeners?
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
