//! The chaos run: real processes under thousands of faults, and nothing lost.
//!
//! ```text
//! cargo bench --bench chaos -- [--seed N] [--faults N] [--transfers N] [--minutes N]     # or: make chaos
//! cargo bench --bench chaos -- --rolling [--transfers N]     # or: make chaos ARGS=--rolling
//! ```
//!
//! One `serve` with a worker and four `work` processes on a PostgreSQL and an S3 server of the run's
//! own, under small transfers; each fault is drawn from the seed (its moment is the machine's). A
//! recovery is the time from a fault to the next claim or the end of each transfer that was running
//! under it. The results are written below `benches/results/`; exit code 1 where anything is lost,
//! published twice or otherwise wrong, or recovery takes too long. `--rolling` restarts two `serve`
//! and three `work` processes one after the other instead. `tests/chaos.rs` runs short forms.

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
    let rolling = std::env::args().any(|argument| argument == "--rolling");
    let plan = if rolling { rolling_plan()? } else { plan()? };
    let folder = tempfile::Builder::new().prefix("rt").tempdir()?;
    // Root's PostgreSQL runs as another user, who must be able to enter.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        if rolling {
            run::roll(&plan, folder.path()).await
        } else {
            run::run(&plan, folder.path()).await
        }
    });
    let sound = outcome.as_ref().is_ok_and(|outcome| {
        let aim = table::aim(plan.size.lease);
        let quick = table::recovery_p99(outcome).is_none_or(|p99| p99 <= aim);
        quick && outcome.judgement.is_clean() && outcome.injected.len() >= plan.faults
    });
    if !sound {
        eprintln!("the logs are kept in {}", folder.keep().display());
    }
    let outcome = outcome?;
    println!("{}", table::markdown(&plan, &outcome));
    record::write(if rolling { "rolling" } else { "chaos" }, &plan, &outcome)?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan() -> Result<Plan, Failure> {
    Ok(Plan {
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
    })
}

/// Two `serve` and three `work` processes.
fn rolling_plan() -> Result<Plan, Failure> {
    let plan = plan()?;
    Ok(Plan { size: Size { serves: 2, own_workers: 0, works: 3, ..plan.size }, faults: 0, ..plan })
}

fn number(name: &str, default: u64) -> Result<u64, Failure> {
    Ok(argument(name).map_or(Ok(default), |text| text.parse())?)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}
