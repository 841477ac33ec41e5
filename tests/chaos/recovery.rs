//! How long it took until what a fault had hit went on.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Failure,
    faults::{Injected, Kind},
};

/// A claim of a transfer, or its end.
#[derive(Clone, Copy, Debug, PartialEq, sqlx::FromRow)]
pub struct Step {
    pub transfer: Uuid,
    pub at: OffsetDateTime,
}

/// Every claim and every end, in order.
pub async fn steps(pool: &PgPool) -> Result<Vec<Step>, Failure> {
    let steps = sqlx::query_as(
        "SELECT transfer, created_at AS at FROM events
         WHERE transfer IS NOT NULL AND kind IN ('transfer.started', 'transfer.succeeded',
             'transfer.failed', 'transfer.cancelled')
         ORDER BY seq",
    );
    Ok(steps.fetch_all(pool).await?)
}

/// For each kind the times from its faults to the next claim or end of each transfer that they
/// hit. A transfer whose worker was taken by an earlier fault, and who waits for another since,
/// counts for that fault alone.
pub fn recoveries(injected: &[Injected], steps: &[Step]) -> BTreeMap<Kind, Vec<Duration>> {
    let mut by_transfer: HashMap<Uuid, Vec<OffsetDateTime>> = HashMap::new();
    for step in steps {
        by_transfer.entry(step.transfer).or_default().push(step.at);
    }
    let mut faults: Vec<&Injected> = injected.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let mut waits_until: HashMap<Uuid, OffsetDateTime> = HashMap::new();
    let mut found: BTreeMap<Kind, Vec<Duration>> = BTreeMap::new();
    for fault in faults {
        for transfer in &fault.touched {
            let next = by_transfer
                .get(transfer)
                .into_iter()
                .flatten()
                .find(|at| **at > fault.at);
            // What is never taken up again is lost, and seen elsewhere; or it had just ended.
            let Some(next) = next else { continue };
            if waits_until
                .get(transfer)
                .is_some_and(|until| *until > fault.at)
            {
                continue;
            }
            if fault.kind.takes_workers() {
                waits_until.insert(*transfer, *next);
            }
            let took = Duration::try_from(*next - fault.at).unwrap_or_default();
            found.entry(fault.kind).or_default().push(took);
        }
    }
    found.values_mut().for_each(|times| times.sort());
    found
}

/// The time that this share of the sorted times does not exceed.
pub fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}
