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
        },
        domain::{
            access::Caller,
            leases::{Lease, RetryPolicy},
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
    held: &Lease<Claimed>,
    new: &NewVersion,
    how: Automatic,
) -> Result<AfterRegister, RegisterError> {
    let mut scope = database.scope(held.tenant).await?;
    if !arrivals::hold(&mut scope, held).await? {
        return Ok(AfterRegister::Lost);
    }

    let caller = Caller::from(held.tenant);
    let (_, created) =
        new_version::register_in(&mut scope, caller, &held.base_model, new, how).await?;
    let status = if created {
        ArrivalStatus::Registered
    } else {
        ArrivalStatus::Known
    };

    arrivals::finish(&mut scope, held, status, None).await?;
    scope.commit().await?;

    Ok(if created {
        AfterRegister::Registered
    } else {
        AfterRegister::Known
    })
}

/// Records that its version is there from this very folder; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn know(database: &Database, held: &Lease<Claimed>) -> Result<bool, sqlx::Error> {
    let mut scope = database.scope(held.tenant).await?;
    let locked = arrivals::hold(&mut scope, held).await?;
    if locked {
        arrivals::finish(&mut scope, held, ArrivalStatus::Known, None).await?;
        scope.commit().await?;
    }

    Ok(locked)
}

/// Gives an arrival up, which is an event; false when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn fail(
    database: &Database,
    held: &Lease<Claimed>,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let mut scope = database.scope(held.tenant).await?;
    let locked = arrivals::hold(&mut scope, held).await?;
    if locked {
        give_up(&mut scope, held, reason).await?;
        scope.commit().await?;
    }

    Ok(locked)
}

/// Records a look in vain: to be repeated later, at once where it was announced again meanwhile, or
/// given up when it was waited for long enough. The status then; `None` when the lease is lost.
///
/// # Errors
/// From the database.
pub async fn put_off(
    database: &Database,
    held: &Lease<Claimed>,
    reason: &str,
    policy: RetryPolicy,
) -> Result<Option<ArrivalStatus>, sqlx::Error> {
    let mut scope = database.scope(held.tenant).await?;
    let over = arrivals::put_off(&mut scope, held, reason, policy).await?;
    let Some(over) = over else { return Ok(None) };
    if over {
        give_up(&mut scope, held, reason).await?;
    }
    scope.commit().await?;

    Ok(Some(if over {
        ArrivalStatus::Failed
    } else {
        ArrivalStatus::Waiting
    }))
}

async fn give_up(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
    reason: &str,
) -> Result<(), sqlx::Error> {
    arrivals::finish(connection, held, ArrivalStatus::Failed, Some(reason)).await?;
    let subject = format!("base_models/{}/arrivals", held.base_model);
    let data = json!({
        "base_model": held.base_model, "arrival": held.id, "version": held.version,
        "uri": held.uri, "reason": reason,
    });

    let kind = EventKind::BaseModelArrivalFailed;
    events::record(connection, held.tenant, &subject, kind, data).await?;

    Ok(())
}
