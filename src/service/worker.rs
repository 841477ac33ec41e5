//! Runs transfers and hands them back.
//!
//! One process works on one transfer at a time, as `queue` claims it: read its specification, start a
//! heartbeat on a thread of its own, compute on another, record the end under the lease token. The task
//! that does so only waits; it never computes and holds no transaction. On shutdown the lease is handed
//! back without costing an attempt.

mod attempt;
mod heartbeat;
pub mod processes;
mod scratch;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics::histogram;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    config,
    contract::ids::WorkerId,
    pipeline::{self, Signer},
    service::{
        database::{
            Database,
            transfers::leases::Claimed,
            workers::{self, Introduction},
        },
        domain::{
            fleet::Fleet,
            leases::{Lease, RetryPolicy, Waiting},
        },
        queue::{self, Queue},
        registry::attempts,
    },
    storage::Storage,
};

/// How often an idle worker says that it is there.
const SEEN_EVERY: Duration = Duration::from_secs(30);

/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// What a worker process needs.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: WorkerId,
    pub database: Database,
    /// For the heartbeat's own connection.
    pub database_url: String,
    pub storage: Storage,
    /// For copies of remote inputs.
    pub scratch: PathBuf,
    /// For what other jobs and attempts can use.
    pub cache: Option<PathBuf>,
    /// Who signs results, if somebody does.
    pub signer: Option<Arc<Signer>>,
    pub settings: config::Worker,
    /// The workers there are; nothing is known of them before the first sign of life.
    pub fleet: Fleet,
}

impl config::Worker {
    /// What the settings say of claims and retries.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            lease: self.lease,
            backoff: self.backoff,
            max_wait: MAX_WAIT,
            give_up: self.unreadable,
        }
    }
}

impl Queue for Worker {
    type Entry = Claimed;

    const CHANNEL: &'static str = "transfer_queued";

    const NAME: &'static str = "work";

    fn database(&self) -> &Database {
        &self.database
    }

    fn listens(&self) -> bool {
        self.fleet.listens()
    }

    fn own_channel(&self) -> Option<String> {
        Some(workers::channel(self.id))
    }

    fn limit(&self) -> usize {
        1
    }

    fn poll(&self) -> Duration {
        self.settings.poll
    }

    /// An attempt ends by itself at the shutdown, and its end is recorded.
    fn shutdown_grace(&self) -> Option<Duration> {
        None
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
        let policy = self.settings.retry_policy();
        let claimed = attempts::claim(&self.database, self.id, policy).await?;
        if let Some(lease) = &claimed {
            histogram!("retune_claim_latency_seconds").record(lease.waited.as_secs_f64());
        }

        Ok(claimed.into_iter().collect())
    }

    async fn say_waiting(&self, listens: bool) -> Result<Waiting, sqlx::Error> {
        workers::say_waiting(&self.database, self.id, listens).await
    }

    async fn work(self, lease: Lease<Claimed>, shutdown: CancellationToken) {
        Box::pin(attempt::run(&self, lease, &shutdown)).await;
    }
}

/// Works until `shutdown`. Errors of the database are waited out.
pub async fn run(worker: Worker, shutdown: CancellationToken) {
    let presence = tokio::spawn(stay_known(worker.clone()));
    let held = scratch::Held::take(&worker.scratch);
    if let Err(error) = &held {
        tracing::warn!(%error, folder = %worker.scratch.display(), "the scratch folder cannot be taken");
    }
    queue::drive(worker.clone(), shutdown).await;

    presence.abort();
    drop(held);
    if let Err(error) = workers::remove(&worker.database, worker.id).await {
        tracing::debug!(%error, "could not sign off");
    }
}

async fn stay_known(worker: Worker) {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned());
    let own = Introduction {
        host,
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        device: pipeline::device_name(),
    };
    let mut every = time::interval(SEEN_EVERY);
    loop {
        every.tick().await;
        match workers::seen(&worker.database, worker.id, &own).await {
            Ok(workers) => worker.fleet.heard(workers),
            Err(error) => tracing::debug!(%error, "could not sign in"),
        }
    }
}
