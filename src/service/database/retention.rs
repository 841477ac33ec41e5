//! What is forgotten when it is old enough. Transfers, their events, retunes and versions never are.

use super::Database;
use crate::config::Retention;

/// How long attempts are kept, in days: the quota of compute seconds looks a day back.
const ATTEMPTS_DAYS: u32 = 2;

/// Deletes deliveries, arrivals, attempts and audit events that ended so long ago; how many of all.
/// What still waits stays, however old.
///
/// # Errors
/// From the database; what was deleted before stays so.
pub async fn prune(database: &Database, keep: Retention) -> Result<u64, sqlx::Error> {
    let pool = &database.pool;
    let mut pruned = 0;
    if let Some(days) = limit(keep.deliveries_days) {
        let query = sqlx::query!(
            "DELETE FROM deliveries WHERE finished_at < now() - make_interval(days => $1)",
            days
        );
        pruned += query.execute(pool).await?.rows_affected();
    }
    if let Some(days) = limit(keep.arrivals_days) {
        // A folder that is listed again and again would otherwise be looked at again, and what a card names be
        // announced again.
        let query = sqlx::query!(
            "DELETE FROM arrivals WHERE status <> 'waiting' AND inbound_token IS NOT NULL
             AND greatest(finished_at, announced_at) < now() - make_interval(days => $1)
             AND NOT EXISTS (SELECT 1 FROM inbound_tokens t
                             WHERE t.id = inbound_token AND t.poll_seconds IS NOT NULL)",
            days
        );
        pruned += query.execute(pool).await?.rows_affected();
    }
    if let Some(days) = limit(keep.audit_days) {
        let query = sqlx::query!(
            "DELETE FROM audit_events WHERE created_at < now() - make_interval(days => $1)",
            days
        );
        pruned += query.execute(pool).await?.rows_affected();
    }

    let days = limit(ATTEMPTS_DAYS);
    let query = sqlx::query!(
        "DELETE FROM attempts WHERE ended_at < now() - make_interval(days => $1)",
        days
    );

    Ok(pruned + query.execute(pool).await?.rows_affected())
}

/// Days as PostgreSQL counts them; `None` for ever.
fn limit(days: u32) -> Option<i32> {
    (days > 0).then(|| i32::try_from(days).unwrap_or(i32::MAX))
}
