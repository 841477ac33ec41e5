//! What is forgotten when it is old enough. Transfers, their events, retunes and versions never are.

use crate::{
    config::Retention,
    service::database::{Database, arrivals, attempts, audit_events, deliveries},
};

/// How long attempts are kept, in days: the quota of compute seconds looks a day back.
const ATTEMPTS_DAYS: i32 = 2;

/// Deletes deliveries, arrivals, attempts and audit events that ended so long ago; how many of all.
/// What still waits stays, however old.
///
/// # Errors
/// From the database; what was deleted before stays so.
pub async fn prune(database: &Database, keep: Retention) -> Result<u64, sqlx::Error> {
    let mut pruned = 0;
    if let Some(days) = limit(keep.deliveries_days) {
        pruned += deliveries::prune(database, days).await?;
    }
    if let Some(days) = limit(keep.arrivals_days) {
        pruned += arrivals::prune(database, days).await?;
    }
    if let Some(days) = limit(keep.audit_days) {
        pruned += audit_events::prune(database, days).await?;
    }

    Ok(pruned + attempts::prune(database, ATTEMPTS_DAYS).await?)
}

/// Days as PostgreSQL counts them; `None` for ever.
fn limit(days: u32) -> Option<i32> {
    (days > 0).then(|| i32::try_from(days).unwrap_or(i32::MAX))
}
