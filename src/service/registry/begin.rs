//! How a retune begins: its row, a transfer for each fine-tune concerned, and the end of what they
//! make superfluous, all in the transaction of the occasion.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{promote, settle::settle, supersede::supersede};
use crate::{
    contract::{
        events::{EventKind, QueuedReason},
        ids::{FineTuneId, RetuneId},
    },
    service::{
        database::{
            events, retunes,
            transfers::members::{self, Member},
        },
        domain::registry::{
            occasions::{Dependent, Occasion, Target},
            retunes::Reason,
        },
    },
};

/// A retune that has begun.
struct Begun {
    retune: RetuneId,
    /// The fine-tunes that it carries.
    carried: Vec<FineTuneId>,
}

/// Carries the dependents onto a version: not those that were tuned from its bytes, nor those that a
/// transfer carries onto them or has carried; one that failed or was cancelled is no hindrance. Ends what
/// that makes superfluous, and lets `production` follow an alias that moved. `None` where no transfer
/// was to be made.
///
/// # Errors
/// From the database.
pub(super) async fn onto_version(
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
    let concerned: Vec<FineTuneId> = dependents.iter().map(|one| one.id).collect();
    let carried = begun
        .as_ref()
        .map_or(&[][..], |begun| begun.carried.as_slice());
    let left = supersede(connection, target, carried, &concerned).await?;
    if moved {
        promote::follow_alias(connection, occasion.tenant, target, &concerned).await?;
    }
    settle(connection, left).await?;

    Ok(begun.map(|begun| begun.retune))
}

/// `None` where there is nobody to carry.
async fn carry(
    connection: &mut PgConnection,
    occasion: &Occasion,
    target: &Target,
    dependents: &[Dependent],
) -> Result<Option<Begun>, sqlx::Error> {
    let members: Vec<Member> = dependents
        .iter()
        .filter(|one| one.base_digest != target.digest)
        .map(|one| Member {
            fine_tune: one.id,
            spec: one.job(&target.uri),
            base: Some((target.id, target.digest.clone())),
        })
        .collect();
    if members.is_empty() {
        return Ok(None);
    }

    let retune = retunes::insert(connection, occasion, Some(target)).await?;
    let mut carried = Vec::new();
    for member in &members {
        if enqueue(connection, occasion, retune, member).await? {
            carried.push(member.fine_tune);
        }
    }
    if carried.is_empty() {
        retunes::delete(connection, retune).await?;
        return Ok(None);
    }

    created(connection, occasion, retune, Some(target)).await?;

    Ok(Some(Begun { retune, carried }))
}

/// Carries the dependents onto each of the locations, again if it was done before.
///
/// # Errors
/// From the database.
pub(super) async fn onto_locations(
    connection: &mut PgConnection,
    occasion: &Occasion,
    targets: &[String],
    dependents: &[Dependent],
) -> Result<RetuneId, sqlx::Error> {
    let retune = retunes::insert(connection, occasion, None).await?;
    for dependent in dependents {
        for target in targets {
            let member = Member {
                fine_tune: dependent.id,
                spec: dependent.job(target),
                base: None,
            };
            enqueue(connection, occasion, retune, &member).await?;
        }
    }

    created(connection, occasion, retune, None).await?;

    Ok(retune)
}

/// Queues a member, held where only some may be at work at once; false where a transfer of the
/// fine-tune onto this base lives or has succeeded.
async fn enqueue(
    connection: &mut PgConnection,
    occasion: &Occasion,
    retune: RetuneId,
    member: &Member,
) -> Result<bool, sqlx::Error> {
    let Some(id) = members::insert(connection, occasion, retune, member).await? else {
        return Ok(false);
    };
    let data = json!({"reason": QueuedReason::Retune, "retune": retune});
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
    let counts = retunes::by_id(connection, retune).await?.counts;
    let subject = format!("retunes/{retune}");
    let data: Value = json!({
        "retune": retune, "reason": occasion.reason, "transfers": counts.total(),
        "base_model": target.map(|target| &target.model),
        "base_version": target.map(|target| &target.version),
    });

    events::record(
        connection,
        occasion.tenant,
        &subject,
        EventKind::RetuneCreated,
        data,
    )
    .await?;

    settle(connection, [retune]).await
}
