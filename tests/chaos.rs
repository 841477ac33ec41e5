//! Real processes under faults, and nothing lost.
//!
//! `serve` and `work` processes on a PostgreSQL and an S3 server of the run's own, under small transfers; each
//! fault is drawn from the seed (its moment is the machine's). A recovery is the time from a fault to the next
//! claim or the end of each transfer that was running under it. Short forms are among the tests; [`long`] has
//! those that take half an hour.

mod arrivals;
mod case;
mod check;
mod client;
mod faults;
mod fleet;
mod inputs;
mod judgement;
mod long;
mod month;
mod month_check;
mod postgres;
mod receiver;
mod record;
mod recovery;
mod run;
mod store;
mod table;
mod world;

use std::time::Duration;

use run::Plan;
use world::Size;

use crate::support::reachable_folder;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_published_twice() {
    let plan = Plan {
        size: Size {
            seed: 1,
            lease: Duration::from_secs(3),
            serves: 1,
            own_workers: 1,
            works: 2,
            guests: true,
            more: Vec::new(),
        },
        faults: 32,
        transfers: 30,
        limit: Duration::from_mins(1),
        pace: Duration::from_millis(500),
        clients: 4,
    };
    let (folder, path) = reachable_folder();
    let outcome = Box::pin(run::run(&plan, &path)).await.expect("the run itself goes well");
    let text = table::markdown(&plan, &outcome);
    println!("{text}");
    assert!(outcome.judgement.is_clean(), "{text}\nlogs in {}", folder.keep().display());
    let struck = |kind| outcome.injected.iter().any(|fault| fault.kind == kind);
    let missing: Vec<_> = faults::Kind::all().filter(|kind| !struck(*kind)).collect();
    assert!(missing.len() <= 3, "{missing:?} were not injected");
    // Beside other tests, and unoptimised, a process may wait long for a processor; an outage of the database
    // gives held leases a whole lease again. `make chaos` judges the time alone.
    let p99 = table::recovery_p99(&outcome).expect("faults hit transfers");
    let aim = table::aim(plan.size.lease) + 40.0;
    assert!(p99 <= aim, "{text}\nlogs in {}", folder.keep().display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing_and_costs_no_attempt() {
    let plan = Plan {
        size: Size {
            seed: 2,
            lease: Duration::from_secs(30),
            serves: 2,
            own_workers: 0,
            works: 3,
            guests: false,
            more: Vec::new(),
        },
        faults: 0,
        transfers: 20,
        limit: Duration::from_mins(1),
        pace: Duration::from_millis(500),
        clients: 6,
    };
    let (folder, path) = reachable_folder();
    let outcome = Box::pin(run::roll(&plan, &path)).await.expect("every process ends well");
    let text = table::markdown(&plan, &outcome);
    assert!(outcome.judgement.is_clean(), "{text}\nlogs in {}", folder.keep().display());
    assert_eq!(outcome.restarts, 0, "nobody ended by himself");
    assert!(outcome.evidence.rows.iter().all(|row| row.attempt == 1), "{text}");
}
