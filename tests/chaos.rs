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

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use run::Plan;
use world::Size;

use crate::support::reachable_folder;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Held by one at a time, whoever panicked before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        // For kinds that find nothing to strike at first; a run is mostly done after a minute.
        limit: Duration::from_mins(4),
        pace: Duration::from_millis(500),
        // As many as workers: to wait for one measures no recovery.
        clients: 3,
    };
    let (folder, path) = reachable_folder();
    let outcome = Box::pin(run::run(&plan, &path))
        .await
        .expect("the run itself goes well");
    let text = table::markdown(&plan, &outcome);
    println!("{text}");
    assert!(
        outcome.judgement.is_clean(),
        "{text}\nlogs in {}",
        folder.keep().display()
    );
    let struck: BTreeSet<_> = outcome.injected.iter().map(|fault| fault.kind).collect();
    let missing: Vec<_> = faults::Kind::all()
        .filter(|kind| !struck.contains(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?} did not strike\n{text}");
    for fault in outcome
        .injected
        .iter()
        .filter(|fault| fault.kind.strikes_requests())
    {
        assert!(
            fault.requests > 0,
            "the storage has seen nothing of {}",
            fault.kind.name()
        );
    }
    let p99 = table::recovery_p99(&outcome).expect("faults hit transfers");
    let limit = recovery_limit(plan.size.lease);
    assert!(
        p99 <= limit,
        "{p99} s, not {limit}\n{text}\nlogs in {}",
        folder.keep().display()
    );
}

/// What a busy machine may add to a recovery.
const OTHER_TESTS: Duration = Duration::from_secs(30);

/// The longest recovery of the short form that its leases justify, in seconds.
///
/// - A lost worker costs its lease, a sweep and a look of another: what [`table::aim`] allows.
/// - The database may be away meanwhile. An outage of less than half a lease and five seconds lets leases run
///   out as they do; after a longer one they hold for a whole lease again (`database::clock`). The outages of
///   this run are shorter, so this is what they can add.
/// - Of three workers one may be stopped and one be starting. The stopped one comes back after a lease and a
///   quarter at the latest.
///
/// - Here it runs beside every other test, whose processes take their share of two cores ([`OTHER_TESTS`]).
///
/// `make chaos` judges the first part alone: there are seven workers there, and nothing else runs.
fn recovery_limit(lease: Duration) -> f64 {
    let outage = lease.mul_f64(0.5) + Duration::from_secs(5);
    let stopped = lease.mul_f64(1.25);
    table::aim(lease) + (outage + stopped + OTHER_TESTS).as_secs_f64()
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
    let outcome = Box::pin(run::roll(&plan, &path))
        .await
        .expect("every process ends well");
    let text = table::markdown(&plan, &outcome);
    assert!(
        outcome.judgement.is_clean(),
        "{text}\nlogs in {}",
        folder.keep().display()
    );
    assert_eq!(outcome.restarts, 0, "nobody ended by himself");
    assert!(
        outcome.evidence.rows.iter().all(|row| row.attempt == 1),
        "{text}"
    );
}
