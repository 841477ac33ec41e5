//! Notices what the queues' times cannot tell by themselves: that the database was away, and that its clock
//! was set back.
//!
//! Whoever claims, beats or sweeps writes a sign of life into one row, at most once a second. Two things are
//! read from the distance between the last sign and now:
//!
//! - *Now is much later.* Nobody could write meanwhile, so nobody could renew a lease either. Every lease
//!   that held at the last sign holds for its whole length again: its worker comes back, and the outage costs
//!   no attempt.
//! - *Now is earlier.* The clock was set back. Every time that a queue waits for is set back by as much.
//!
//! Dates that somebody has set stay what they are, such as when a key expires; so does the day for which a secret
//! that was replaced goes on.

use std::time::Duration;

use sqlx::PgConnection;

use crate::service::database::{
    Database, arrivals, base_models::cards, clock, deliveries, inbound_tokens::listings,
    transfers::leases::times, webhook_endpoints::health, workers,
};

/// The least distance between two signs that are written, in seconds; as far may the clock go back unnoticed.
const SIGN_INTERVAL_SECONDS: f64 = 1.0;

/// The pace at which idle workers look for work is slower than any lease asks for; this is allowed for.
const IDLE_SLACK: Duration = Duration::from_secs(5);

/// Gives a sign of life, and puts leases and queues in order where the last one shows that it is needed. `lease`
/// is how long a lease lasts: workers beat at least twice as often.
///
/// # Errors
/// From the database; the next sign then finds the same.
pub async fn tick(database: &Database, lease: Duration) -> Result<(), sqlx::Error> {
    let passed = clock::since_last_sign(database).await?;
    if passed.is_some_and(|passed| (0.0..SIGN_INTERVAL_SECONDS).contains(&passed)) {
        return Ok(());
    }

    // Of several processes one finds the distance; the others wait for it and find none.
    let mut transaction = database.pool.begin().await?;
    let passed = clock::sign(&mut transaction).await?;

    match passed {
        Some(passed) if passed > (lease / 2 + IDLE_SLACK).as_secs_f64() => {
            let leases = times::renew_all(&mut transaction, passed, lease).await?;
            tracing::info!(
                seconds = passed,
                leases,
                "nobody could write for a while; leases hold on"
            );
        }
        Some(passed) if passed < -SIGN_INTERVAL_SECONDS => {
            set_back(&mut transaction, -passed).await?;
            tracing::warn!(
                seconds = -passed,
                "the database's clock was set back; the queues follow it"
            );
        }
        Some(_) => {}
        // Lost with a backup that left it out.
        None => {
            clock::insert(&mut transaction).await?;
        }
    }

    transaction.commit().await
}

/// Sets every time that a queue waits for, or counts from, back by so many seconds.
async fn set_back(connection: &mut PgConnection, seconds: f64) -> Result<(), sqlx::Error> {
    times::set_back(connection, seconds).await?;
    deliveries::set_back(connection, seconds).await?;
    health::set_back(connection, seconds).await?;
    arrivals::set_back(connection, seconds).await?;
    listings::set_back(connection, seconds).await?;
    cards::set_back(connection, seconds).await?;
    workers::set_back(connection, seconds).await
}
