//! Rows through the queue, without a service.

use std::time::{Duration, Instant};

use retune::{
    contract::ids::WorkerId,
    pipeline::{Outcome, Verdict},
    service::{
        database::{Database, transfers::Enqueue},
        domain::{access::DEFAULT_TENANT, leases::RetryPolicy},
        registry::{attempts, submit},
    },
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{AT_ONCE, Failure, rate};

const ROWS: usize = 4000;

pub(crate) async fn queue(url: &str) -> Result<(), Failure> {
    let database = Database::connect_to(url, AT_ONCE as u32).await?;
    database.migrate().await?;
    let begun = Instant::now();
    shared(&database, async |database, n| {
        for _ in 0..n {
            submit::enqueue(&database, row()).await?;
        }
        Ok(())
    })
    .await?;
    println!(
        "rows queued                    {:8.0} /s",
        rate(ROWS, begun)
    );
    let begun = Instant::now();
    shared(&database, async |database, _| {
        let worker = WorkerId::generate();
        let second = Duration::from_secs(1);
        let policy = RetryPolicy {
            lease: second * 30,
            backoff: second,
            max_wait: second * 3600,
            give_up: second * 3600,
        };
        while let Some(lease) = attempts::claim(&database, worker, policy).await? {
            let outcome = Outcome {
                uri: "file:///out/".into(),
                manifest_sha256: "0".repeat(64),
                bytes: 1000,
                verdict: Verdict::Published,
                recommendation: None,
                metrics: json!({}),
            };
            if !attempts::succeed(&database, &lease, &outcome).await? {
                return Err("a lease was lost".into());
            }
        }
        Ok(())
    })
    .await?;
    println!(
        "rows claimed and finished      {:8.0} /s",
        rate(ROWS, begun)
    );
    database.pool.close().await;
    Ok(())
}

/// Runs `task` as often as are at once, each for its share of the rows.
async fn shared<F>(database: &Database, task: impl Fn(Database, usize) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn(task(database.clone(), ROWS / AT_ONCE));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

pub(crate) fn row() -> Enqueue {
    let spec = json!({"source": {"base": "file:///a/", "trajectory": "file:///t/"},
        "target": {"base": "file:///b/"}, "methods": ["identity"], "output": "file:///out/"});
    let (metadata, max_attempts) = (json!({}), 3);
    Enqueue {
        tenant: DEFAULT_TENANT,
        spec,
        metadata,
        idempotency: None,
        max_attempts,
    }
}
