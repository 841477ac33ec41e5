//! The chaos run: real processes under thousands of faults, and nothing lost.
//!
//! ```text
//! cargo bench --bench chaos -- [--seed N] [--faults N] [--transfers N] [--minutes N]     # or: make chaos
//! cargo bench --bench chaos -- --rolling [--transfers N]     # or: make chaos ARGS=--rolling
//! cargo bench --bench chaos -- --month [--seed N]            # or: make chaos ARGS=--month
//! ```
//!
//! One `serve` with a worker and six `work` processes on a PostgreSQL and an S3 server of the run's
//! own, under small transfers; each fault is drawn from the seed (its moment is the machine's). A
//! recovery is the time from a fault to the next claim or the end of each transfer that was running
//! under it. The results are written below `benches/results/`; exit code 1 where anything is lost,
//! published twice or otherwise wrong, or recovery takes too long. `--rolling` restarts two `serve`
//! and three `work` processes one after the other instead; `--month` plays new bases
//! arriving by every route. `tests/chaos.rs` runs short forms of the first two.

#[path = "chaos/arrivals.rs"]
mod arrivals;
#[path = "chaos/case.rs"]
mod case;
#[path = "chaos/check.rs"]
mod check;
#[path = "chaos/client.rs"]
mod client;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/fleet.rs"]
mod fleet;
#[path = "chaos/month.rs"]
mod month;
#[path = "chaos/month_check.rs"]
mod month_check;
#[path = "chaos/postgres.rs"]
mod postgres;
#[path = "chaos/receiver.rs"]
mod receiver;
#[path = "chaos/record.rs"]
mod record;
#[path = "chaos/recovery.rs"]
mod recovery;
#[path = "chaos/run.rs"]
mod run;
#[path = "chaos/store.rs"]
mod store;
#[path = "chaos/table.rs"]
mod table;
#[path = "chaos/world.rs"]
mod world;

use std::{error::Error, fs, path::Path, process::ExitCode, time::Duration};

use run::Plan;
use world::Size;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let folder = tempfile::Builder::new().prefix("rt").tempdir()?;
    // Root's PostgreSQL runs as another user, who must be able to enter.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let commit = record::commit();
    let sound = if flag("--month") {
        runtime.block_on(play(folder.path(), &commit))
    } else {
        runtime.block_on(carry(folder.path(), &commit))
    };
    if !matches!(sound, Ok(true)) {
        eprintln!("the logs are kept in {}", folder.keep().display());
    }
    Ok(if sound? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The chaos run, or the rolling restart; whether everything held.
async fn carry(folder: &Path, commit: &str) -> Result<bool, Failure> {
    let rolling = flag("--rolling");
    let plan = if rolling { rolling_plan()? } else { plan()? };
    let outcome =
        if rolling { run::roll(&plan, folder).await? } else { run::run(&plan, folder).await? };
    let table = table::markdown(&plan, &outcome);
    let (name, title) =
        if rolling { ("rolling", "Rolling restart") } else { ("chaos", "Chaos run") };
    record::write(name, title, (&table, record::of_run(&plan, &outcome)), commit)?;
    let aim = table::aim(plan.size.lease);
    let quick = table::recovery_p99(&outcome).is_none_or(|p99| p99 <= aim);
    Ok(quick && outcome.judgement.is_clean() && outcome.injected.len() >= plan.faults)
}

/// The month; whether everything held.
async fn play(folder: &Path, commit: &str) -> Result<bool, Failure> {
    let plan = month_plan()?;
    let outcome = month::play(&plan, folder).await?;
    let parts = (&*record::month_table(&plan, &outcome), record::of_month(&plan, &outcome));
    record::write("month", "A month", parts, commit)?;
    Ok(outcome.finding.wrong.is_empty())
}

fn plan() -> Result<Plan, Failure> {
    Ok(Plan {
        size: Size {
            seed: number("--seed", 1)?,
            lease: Duration::from_secs(30),
            serves: 1,
            own_workers: 1,
            works: 6,
            more: Vec::new(),
        },
        faults: number("--faults", 2000)? as usize,
        transfers: number("--transfers", 300)? as usize,
        limit: Duration::from_mins(number("--minutes", 35)?),
        pace: Duration::from_millis(500),
        // About as many as workers that are not stopped: waiting for one does not measure recovery,
        // and a job alone would take every fault.
        clients: 8,
    })
}

/// Two `serve` and three `work` processes.
fn rolling_plan() -> Result<Plan, Failure> {
    let plan = plan()?;
    Ok(Plan { size: Size { serves: 2, own_workers: 0, works: 3, ..plan.size }, faults: 0, ..plan })
}

/// Shorter leases; faults until the month is over.
fn month_plan() -> Result<Plan, Failure> {
    let plan = plan()?;
    let more = vec![
        ("RETUNE_WEBHOOKS_ALLOW_PRIVATE", "true".to_owned()),
        ("RETUNE_WEBHOOKS_BACKOFF_SECONDS", "0.2".to_owned()),
        ("RETUNE_WEBHOOKS_TIMEOUT_SECONDS", "5".to_owned()),
        ("RETUNE_WEBHOOKS_POLL_SECONDS", "1".to_owned()),
    ];
    let size = Size { lease: Duration::from_secs(10), works: 3, more, ..plan.size };
    Ok(Plan { size, pace: Duration::from_millis(350), ..plan })
}

fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

fn number(name: &str, default: u64) -> Result<u64, Failure> {
    Ok(argument(name).map_or(Ok(default), |text| text.parse())?)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}
