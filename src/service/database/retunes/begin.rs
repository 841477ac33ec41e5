//! How a retune begins: its row, a transfer for each fine-tune concerned, and the end of what they
//! make superfluous, all in the transaction of the occasion.

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{settle, supersede::supersede};
use crate::{
    contract::{
        events::EventKind,
        ids::{BaseModelId, BaseVersionId, FineTuneId, RetuneId, TenantId, TransferId},
    },
    service::{
        database::{
            events,
            fine_tunes::{dependents::Dependent, following},
        },
        domain::registry::{
            base_models::BaseVersion,
            retunes::{Limits, Reason},
        },
    },
};

/// Why a retune begins, and under what terms.
#[derive(Clone, Copy, Debug)]
pub(in crate::service::database) struct Occasion {
    pub tenant: TenantId,
    pub reason: Reason,
    pub limits: Limits,
    pub max_attempts: i32,
}

/// The registered version that a retune is for.
#[derive(Clone, Debug)]
pub(in crate::service::database) struct Target {
    pub base_model: BaseModelId,
    /// The base model's name.
    pub model: String,
    pub id: BaseVersionId,
    pub version: String,
    pub uri: String,
    pub digest: String,
}

impl Target {
    /// A version of the base model with this id.
    pub fn of(base_model: BaseModelId, version: BaseVersion) -> Self {
        Self {
            base_model,
            model: version.base_model,
            id: version.id,
            version: version.version,
            uri: version.uri,
            digest: version.digest,
        }
    }
}

/// A transfer to be.
struct Member {
    fine_tune: FineTuneId,
    spec: Value,
    /// Version and digest of a registered target.
    base: Option<(BaseVersionId, String)>,
}

/// Carries the dependents onto a version: not those that were tuned from its bytes, nor those that a
/// transfer carries onto them or has carried; one that failed or was cancelled is no hindrance. Ends what
/// that makes superfluous, and lets `production` follow an alias that moved. `None` where no transfer
/// was to be made.
pub(in crate::service::database) async fn onto_version(
    connection: &mut PgConnection,
    occasion: &Occasion,
    target: &Target,
    dependents: &[Dependent],
) -> Result<Option<RetuneId>, sqlx::Error> {
    let begun = carry(connection, occasion, target, dependents).await?;
    let moved = occasion.reason == Reason::AliasMoved;
    if begun.is_none() && !moved {
        return Ok(None);
    }
    // Rows are locked in one order: transfers, fine-tunes, retunes.
    let (retune, carried) = begun.unzip();
    let concerned: Vec<FineTuneId> = dependents.iter().map(|one| one.id).collect();
    let left = supersede(connection, target, &carried.unwrap_or_default(), &concerned).await?;
    if moved {
        following::promote_what_is_there(connection, occasion.tenant, target, &concerned).await?;
    }
    settle::settle(connection, left).await?;
    Ok(retune)
}

/// The retune, and the fine-tunes that it carries; `None` where there are none.
async fn carry(
    connection: &mut PgConnection,
    occasion: &Occasion,
    target: &Target,
    dependents: &[Dependent],
) -> Result<Option<(RetuneId, Vec<FineTuneId>)>, sqlx::Error> {
    let others = dependents.iter().filter(|one| one.base_digest != target.digest);
    let members: Vec<Member> = others
        .map(|one| Member {
            fine_tune: one.id,
            spec: one.job(&target.uri),
            base: Some((target.id, target.digest.clone())),
        })
        .collect();
    if members.is_empty() {
        return Ok(None);
    }
    let retune = insert(connection, occasion, Some(target)).await?;
    let mut carried = Vec::new();
    for member in &members {
        if enqueue(connection, occasion, retune, member).await? {
            carried.push(member.fine_tune);
        }
    }
    if carried.is_empty() {
        sqlx::query!("DELETE FROM retunes WHERE id = $1", retune.0).execute(connection).await?;
        return Ok(None);
    }
    created(connection, occasion, retune, Some(target)).await?;
    Ok(Some((retune, carried)))
}

/// Carries the dependents onto each of the locations, again if it was done before.
pub(in crate::service::database) async fn onto_locations(
    connection: &mut PgConnection,
    occasion: &Occasion,
    targets: &[String],
    dependents: &[Dependent],
) -> Result<RetuneId, sqlx::Error> {
    let retune = insert(connection, occasion, None).await?;
    for one in dependents {
        for target in targets {
            let member = Member { fine_tune: one.id, spec: one.job(target), base: None };
            enqueue(connection, occasion, retune, &member).await?;
        }
    }
    created(connection, occasion, retune, None).await?;
    Ok(retune)
}

async fn insert(
    connection: &mut PgConnection,
    occasion: &Occasion,
    target: Option<&Target>,
) -> Result<RetuneId, sqlx::Error> {
    let id = RetuneId::generate();
    sqlx::query!(
        "INSERT INTO retunes
             (id, tenant, reason, base_model, base_version, max_concurrent, max_compute_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        occasion.tenant.0,
        occasion.reason as Reason,
        target.map(|target| target.base_model).map(Uuid::from),
        target.map(|target| target.id).map(Uuid::from),
        occasion.limits.max_concurrent,
        occasion.limits.max_compute_seconds,
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// Queues a member, held where only some may be at work at once; false where a transfer of the
/// fine-tune onto this base lives or has succeeded.
async fn enqueue(
    connection: &mut PgConnection,
    occasion: &Occasion,
    retune: RetuneId,
    member: &Member,
) -> Result<bool, sqlx::Error> {
    let id = TransferId::generate();
    let metadata = member.spec.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let (base_version, base_digest) = member.base.clone().unzip();
    let done = sqlx::query!(
        "INSERT INTO transfers (id, tenant, spec, metadata, max_attempts, retune, fine_tune,
                                base_version, base_digest, held)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (fine_tune, base_digest) WHERE status NOT IN ('failed', 'cancelled')
         DO NOTHING",
        id.0,
        occasion.tenant.0,
        member.spec,
        metadata,
        occasion.max_attempts,
        retune.0,
        member.fine_tune.0,
        base_version.map(Uuid::from),
        base_digest,
        occasion.limits.max_concurrent.is_some(),
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let data = json!({"reason": "retune", "retune": retune});
    events::insert(connection, id, EventKind::TransferQueued, data).await?;
    Ok(true)
}

/// The event, and the first transfers of a retune that may have some at work only.
async fn created(
    connection: &mut PgConnection,
    occasion: &Occasion,
    retune: RetuneId,
    target: Option<&Target>,
) -> Result<(), sqlx::Error> {
    let counts = super::by_id(connection, retune).await?.counts;
    let subject = format!("retunes/{retune}");
    let data = json!({
        "retune": retune, "reason": occasion.reason, "transfers": counts.total(),
        "base_model": target.map(|target| &target.model),
        "base_version": target.map(|target| &target.version),
    });
    events::record(connection, occasion.tenant, &subject, EventKind::RetuneCreated, data).await?;
    settle::settle(connection, [retune]).await
}
