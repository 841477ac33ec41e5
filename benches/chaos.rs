//! The chaos run: real processes under thousands of faults, and nothing lost.
//!
//! ```text
//! cargo bench --bench chaos -- [--seed N] [--faults N] [--transfers N] [--minutes N]     # or: make chaos
//! ```
//!
//! One `serve` with a worker and four `work` processes on a PostgreSQL and an S3 server of the run's
//! own, under small transfers; each fault is drawn from the seed (its moment is the machine's). A
//! recovery is the time from a fault to the next claim or the end of each transfer that was running
//! under it. The results are written below `benches/results/`; exit code 1 where anything is lost,
//! published twice or otherwise wrong, or recovery takes too long. `tests/chaos.rs` runs a short form.

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
#[path = "chaos/postgres.rs"]
mod postgres;
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

use std::{error::Error, fs, process::ExitCode, time::Duration};

use run::Plan;
use world::Size;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let number = |name: &str, default: u64| {
        argument(name).map_or(Ok(default), |text| text.parse::<u64>())
    };
    let plan = Plan {
        size: Size {
            seed: number("--seed", 1)?,
            lease: Duration::from_secs(30),
            serves: 1,
            own_workers: 1,
            works: 4,
            more: Vec::new(),
        },
        faults: number("--faults", 2000)? as usize,
        transfers: number("--transfers", 300)? as usize,
        limit: Duration::from_mins(number("--minutes", 35)?),
        pace: Duration::from_millis(700),
        clients: 12,
    };
    let folder = tempfile::Builder::new().prefix("rt").tempdir()?;
    // Root's PostgreSQL runs as another user, who must be able to enter.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run::run(&plan, folder.path()));
    let sound = outcome.as_ref().is_ok_and(|outcome| {
        let quick = table::recovery_p99(outcome).is_some_and(|p99| p99 <= table::aim(plan.size.lease));
        outcome.judgement.is_clean() && quick
    });
    if !sound {
        eprintln!("the logs are kept in {}", folder.keep().display());
    }
    let outcome = outcome?;
    println!("{}", table::markdown(&plan, &outcome));
    record::write(&plan, &outcome)?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}
