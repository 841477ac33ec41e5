//! What became of an announced folder that was looked at, recorded under its lease token.

use serde_json::json;
use sqlx::PgConnection;

use super::new_version::{self, RegisterError};
use crate::{
    contract::events::EventKind,
    service::{
        database::{
            Database,
            arrivals::{self, Claimed},
            events,
            retry_policy::RetryPolicy,
        },
        domain::{
            access::Caller,
            registry::{arrivals::ArrivalStatus, base_models::NewVersion, retunes::Automatic},
        },
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
    if !arrivals::hold(&mut scope, claimed).await? {
        return Ok(AfterRegister::Lost);
    }

    let caller = Caller::from(claimed.tenant);
    let (_, created) =
        new_version::register_in(&mut scope, caller, &claimed.base_model, new, how).await?;
    let status = if created { ArrivalStatus::Registered } else { ArrivalStatus::Known };

    arrivals::finish(&mut scope, claimed, status, None).await?;
    scope.commit().await?;

    Ok(if created { AfterRegister::Registered } else { AfterRegister::Known })
}

/// Records that its version is there from this very folder; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn know(database: &Database, claimed: &Claimed) -> Result<bool, sqlx::Error> {
    let mut scope = database.scope(claimed.tenant).await?;
    let held = arrivals::hold(&mut scope, claimed).await?;
    if held {
        arrivals::finish(&mut scope, claimed, ArrivalStatus::Known, None).await?;
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
    let held = arrivals::hold(&mut scope, claimed).await?;
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
    policy: RetryPolicy,
) -> Result<Option<ArrivalStatus>, sqlx::Error> {
    let mut scope = database.scope(claimed.tenant).await?;
    let over = arrivals::put_off(&mut scope, claimed, reason, policy).await?;
    let Some(over) = over else { return Ok(None) };
    if over {
        give_up(&mut scope, claimed, reason).await?;
    }
    scope.commit().await?;

    Ok(Some(if over { ArrivalStatus::Failed } else { ArrivalStatus::Waiting }))
}

async fn give_up(
    connection: &mut PgConnection,
    claimed: &Claimed,
    reason: &str,
) -> Result<(), sqlx::Error> {
    arrivals::finish(connection, claimed, ArrivalStatus::Failed, Some(reason)).await?;
    let subject = format!("base_models/{}/arrivals", claimed.base_model);
    let data = json!({
        "base_model": claimed.base_model, "arrival": claimed.id, "version": claimed.version,
        "uri": claimed.uri, "reason": reason,
    });

    let kind = EventKind::BaseModelArrivalFailed;
    events::record(connection, claimed.tenant, &subject, kind, data).await
}
