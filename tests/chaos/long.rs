//! The runs of half an hour, each a command (`make chaos`, with `FORM=rolling` or `FORM=month`).
//!
//! The results are written below `benches/results/`; a test fails where anything is lost, published twice or
//! otherwise wrong, or where recovery takes too long.

use std::{env, path::PathBuf, time::Duration};

use super::{
    month, record,
    run::{self, Plan},
    table,
    world::Size,
};
use crate::support::reachable_folder;

/// One `serve` with a worker and six `work` processes under a thousand faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: make chaos"]
async fn faults() {
    let logs = Logs::kept();
    let plan = plan();
    let outcome = Box::pin(run::run(&plan, &logs.path))
        .await
        .expect("the run itself goes well");
    let (table, record) = (
        table::markdown(&plan, &outcome),
        record::of_run(&plan, &outcome),
    );
    record::write("chaos", "Chaos run", &table, record, &record::commit())
        .expect("the repository's own folder");

    assert!(outcome.judgement.is_clean(), "{:?}", outcome.judgement);
    assert!(
        outcome.injected.len() >= plan.faults,
        "{} faults",
        outcome.injected.len()
    );
    let (p99, aim) = (table::recovery_p99(&outcome), table::aim(plan.size.lease));
    assert!(
        p99.is_none_or(|p99| p99 <= aim),
        "recovery {p99:?} s, not {aim}"
    );
    logs.are_dull();
}

/// Two `serve` and three `work` processes, restarted one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make chaos FORM=rolling"]
async fn rolling() {
    let logs = Logs::kept();
    let plan = plan();
    let size = Size {
        serves: 2,
        own_workers: 0,
        works: 3,
        guests: false,
        ..plan.size
    };
    let plan = Plan {
        size,
        faults: 0,
        ..plan
    };
    let outcome = Box::pin(run::roll(&plan, &logs.path))
        .await
        .expect("every process ends well");
    let (table, record) = (
        table::markdown(&plan, &outcome),
        record::of_run(&plan, &outcome),
    );
    record::write(
        "rolling",
        "Rolling restart",
        &table,
        record,
        &record::commit(),
    )
    .expect("the repository's own folder");

    assert!(outcome.judgement.is_clean(), "{:?}", outcome.judgement);
    logs.are_dull();
}

/// New bases arriving by every route, under faults, until every fine-tune has followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: make chaos FORM=month"]
async fn month() {
    let logs = Logs::kept();
    let plan = plan();
    let more = vec![
        ("RETUNE_WEBHOOKS_ALLOW_PRIVATE", "true".to_owned()),
        ("RETUNE_WEBHOOKS_BACKOFF_SECONDS", "0.2".to_owned()),
        ("RETUNE_WEBHOOKS_TIMEOUT_SECONDS", "5".to_owned()),
        ("RETUNE_WEBHOOKS_POLL_SECONDS", "1".to_owned()),
    ];
    // Shorter leases.
    let size = Size {
        lease: Duration::from_secs(10),
        works: 3,
        guests: false,
        more,
        ..plan.size
    };
    let plan = Plan {
        size,
        pace: Duration::from_millis(350),
        ..plan
    };
    let outcome = Box::pin(month::play(&plan, &logs.path))
        .await
        .expect("the month itself goes well");
    let (table, record) = (
        record::month_table(&plan, &outcome),
        record::of_month(&plan, &outcome),
    );
    record::write("month", "A month", &table, record, &record::commit())
        .expect("the repository's own folder");

    let wrong = &outcome.finding.wrong;
    assert!(wrong.is_empty(), "{wrong:?}");
    logs.are_dull();
}

fn plan() -> Plan {
    Plan {
        size: Size {
            seed: number("CHAOS_SEED", 1),
            lease: Duration::from_secs(30),
            serves: 1,
            own_workers: 1,
            works: 6,
            guests: true,
            more: Vec::new(),
        },
        // With 19 kinds, of which some wait for a request to strike, two in three seconds on two cores.
        faults: number("CHAOS_FAULTS", 1000) as usize,
        transfers: number("CHAOS_TRANSFERS", 300) as usize,
        limit: Duration::from_mins(number("CHAOS_MINUTES", 35)),
        pace: Duration::from_millis(500),
        // About as many as workers that are not stopped: waiting for one does not measure recovery,
        // and a job alone would take every fault.
        clients: 8,
    }
}

/// A number from the environment; nothing and an empty text are the default.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().expect("a number"),
        _ => default,
    }
}

/// A folder whose logs stay, unless [`Logs::are_dull`].
struct Logs {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Logs {
    fn kept() -> Self {
        let (mut folder, path) = reachable_folder();
        folder.disable_cleanup(true);
        println!("the logs of a failure are kept in {}", path.display());
        Self { folder, path }
    }

    fn are_dull(mut self) {
        self.folder.disable_cleanup(false);
    }
}
