//! What a look came to, recorded under the lease token.

use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

use super::{Claimed, Database, Terms};
use crate::{
    contract::events::EventKind,
    service::{
        database::{
            base_models::versions::{self, NewVersion, RegisterError},
            events,
        },
        domain::registry::{arrivals::ArrivalStatus, retunes::Automatic},
    },
};

/// What became of an arrival that was looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRegister {
    Registered,
    Known,
    /// The lease was lost; nothing was recorded.
    Lost,
}

/// Registers the version and records so, both or neither: a version that is new makes its retune.
///
/// # Errors
/// See [`RegisterError`]; the arrival is then as before.
pub async fn register(
    database: &Database,
    claimed: &Claimed,
    new: &NewVersion,
    how: Automatic,
) -> Result<AfterRegister, RegisterError> {
    let mut scope = database.scope(claimed.tenant).await?;
    if !hold(&mut scope, claimed).await? {
        return Ok(AfterRegister::Lost);
    }
    let of = (claimed.tenant.into(), claimed.base_model.as_str());
    let (_, created) = versions::register_in(&mut scope, of, new, how).await?;
    let status = if created { ArrivalStatus::Registered } else { ArrivalStatus::Known };
    finish(&mut scope, claimed, status, None).await?;
    scope.commit().await?;
    Ok(if created { AfterRegister::Registered } else { AfterRegister::Known })
}

/// Records that its version is there from this very folder; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn know(database: &Database, claimed: &Claimed) -> Result<bool, sqlx::Error> {
    let mut scope = database.scope(claimed.tenant).await?;
    let held = hold(&mut scope, claimed).await?;
    if held {
        finish(&mut scope, claimed, ArrivalStatus::Known, None).await?;
        scope.commit().await?;
    }
    Ok(held)
}

/// Gives an arrival up, which is an event; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn fail(
    database: &Database,
    claimed: &Claimed,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let mut scope = database.scope(claimed.tenant).await?;
    let held = hold(&mut scope, claimed).await?;
    if held {
        give_up(&mut scope, claimed, reason).await?;
        scope.commit().await?;
    }
    Ok(held)
}

/// Records a look in vain: to be repeated later, at once where it was announced again meanwhile, or
/// given up when it was waited for long enough. The status then; `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn put_off(
    database: &Database,
    claimed: &Claimed,
    reason: &str,
    terms: Terms,
) -> Result<Option<ArrivalStatus>, sqlx::Error> {
    let mut scope = database.scope(claimed.tenant).await?;
    // The last look is taken when the time is up.
    let row = sqlx::query!(
        r#"UPDATE arrivals
           SET lease_token = CASE WHEN now() >= retry_since + make_interval(secs => $3)
                                  THEN lease_token END,
               next_look_at = CASE WHEN announcements > announcements_seen THEN now()
                                   ELSE least(now() + make_interval(secs => $4),
                                              greatest(now(), retry_since + make_interval(secs => $3)))
                              END,
               reason = $5
           WHERE id = $1 AND lease_token = $2
           RETURNING lease_token IS NOT NULL AS "over!""#,
        claimed.id.0,
        claimed.token.0,
        terms.give_up.as_secs_f64(),
        terms.wait_after(claimed.looks),
        reason,
    )
    .fetch_optional(&mut *scope)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.over {
        give_up(&mut scope, claimed, reason).await?;
    }
    scope.commit().await?;
    Ok(Some(if row.over { ArrivalStatus::Failed } else { ArrivalStatus::Waiting }))
}

/// Gives the lease back: the look was broken off and does not count.
///
/// # Errors
/// From the database; the lease then runs out.
pub async fn release(database: &Database, claimed: &Claimed) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals SET lease_token = NULL, next_look_at = now(), looks = looks - 1
         WHERE id = $1 AND lease_token = $2",
        claimed.id.0,
        claimed.token.0,
    )
    .execute(&database.pool)
    .await?;
    Ok(())
}

/// Prolongs the lease; false when it is lost.
///
/// # Errors
/// From the database.
pub async fn is_held(
    database: &Database,
    claimed: &Claimed,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let prolonged = sqlx::query!(
        "UPDATE arrivals SET next_look_at = now() + make_interval(secs => $3)
         WHERE id = $1 AND lease_token = $2",
        claimed.id.0,
        claimed.token.0,
        lease.as_secs_f64(),
    )
    .execute(&database.pool)
    .await?;
    Ok(prolonged.rows_affected() == 1)
}

/// Locks the row until the transaction ends, if the lease is still ours.
async fn hold(connection: &mut PgConnection, claimed: &Claimed) -> Result<bool, sqlx::Error> {
    let held: Option<Uuid> = sqlx::query_scalar!(
        "SELECT id FROM arrivals WHERE id = $1 AND lease_token = $2 FOR UPDATE",
        claimed.id.0,
        claimed.token.0,
    )
    .fetch_optional(connection)
    .await?;
    Ok(held.is_some())
}

async fn give_up(
    connection: &mut PgConnection,
    claimed: &Claimed,
    reason: &str,
) -> Result<(), sqlx::Error> {
    finish(connection, claimed, ArrivalStatus::Failed, Some(reason)).await?;
    let subject = format!("base_models/{}/arrivals", claimed.base_model);
    let data = json!({
        "base_model": claimed.base_model, "arrival": claimed.id, "version": claimed.version,
        "uri": claimed.uri, "reason": reason,
    });
    events::record(connection, claimed.tenant, &subject, EventKind::BaseModelArrivalFailed, data)
        .await
}

async fn finish(
    connection: &mut PgConnection,
    claimed: &Claimed,
    status: ArrivalStatus,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE arrivals SET status = $3, reason = $4, finished_at = now(), lease_token = NULL
         WHERE id = $1 AND lease_token = $2",
        claimed.id.0,
        claimed.token.0,
        status as ArrivalStatus,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}
