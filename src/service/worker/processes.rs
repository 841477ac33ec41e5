//! The worker processes of `serve`: start them, start them again when they die, end them.
//!
//! Each holds the reading end of a pipe from us as its stdin: when we die, however suddenly, the
//! pipe closes and the worker ends too. When a worker dies, its lease is released at once. What it counts comes as
//! lines on its stdout ([`metrics::Relay`]).

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{self, ChildStdout},
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    contract::ids::WorkerId,
    service::{
        database::{Database, workers},
        domain::leases::RetryPolicy,
        metrics,
        registry::attempts,
    },
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// A worker that lived so long has earned a quick restart.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// How a worker process is started.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// `work` and its options.
    pub arguments: Vec<OsString>,
    pub database_url: String,
    /// Where workers keep what they need, each in a folder of its name.
    pub scratch: PathBuf,
    /// How long a worker may take to hand its lease back when told to end.
    pub shutdown_grace: Duration,
}

/// Keeps one worker process running until `shutdown`, then ends it.
pub async fn keep_one(
    program: Program,
    database: Database,
    policy: RetryPolicy,
    shutdown: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    while !shutdown.is_cancelled() {
        let id = WorkerId::generate();
        let begun = Instant::now();
        match live(&program, id, &shutdown).await {
            Ok(None) => return,
            Ok(Some(status)) => tracing::error!(%status, worker = %id, "a worker process died"),
            Err(error) => tracing::error!(%error, "no worker process could be started"),
        }
        release(&database, id, policy).await;
        super::scratch::forget(&program.scratch.join(id.to_string()));
        pause = if begun.elapsed() > STABLE_AFTER {
            FIRST_PAUSE
        } else {
            (pause * 2).min(MAX_PAUSE)
        };
        shutdown.run_until_cancelled(time::sleep(pause)).await;
    }
}

/// One process from start to end; `None` when it ended because we wanted it to.
async fn live(
    program: &Program,
    id: WorkerId,
    shutdown: &CancellationToken,
) -> io::Result<Option<ExitStatus>> {
    let mut child = process::Command::new(&program.path)
        .args(&program.arguments)
        .arg("--child-id")
        .arg(id.to_string())
        .env("DATABASE_URL", &program.database_url)
        // Which this one has read.
        .env_remove("DATABASE_URL_FILE")
        .env_remove("RETUNE_DATABASE_URL_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;

    let lifeline = child.stdin.take();
    // Until the process closes it, with its end at the latest.
    if let Some(figures) = child.stdout.take() {
        tokio::spawn(take_in(figures));
    }

    if let Some(status) = shutdown.run_until_cancelled(child.wait()).await {
        return status.map(Some);
    }

    drop(lifeline);
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended just now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if time::timeout(program.shutdown_grace, child.wait())
        .await
        .is_err()
    {
        tracing::warn!(worker = %id, "a worker did not end in time; killing it");
        child.kill().await?;
    }

    Ok(None)
}

/// Adds what a worker has counted to our own figures.
async fn take_in(figures: ChildStdout) {
    let mut lines = BufReader::new(figures).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        metrics::replay(&line);
    }
}

async fn release(database: &Database, id: WorkerId, policy: RetryPolicy) {
    let released = attempts::release(database, id, policy).await;
    if let Err(error) = released.and(workers::remove(database, id).await) {
        tracing::warn!(%error, "could not release the lease of a dead worker; it will run out");
    }
}
