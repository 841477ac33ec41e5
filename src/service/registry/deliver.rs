//! The result of a transfer becomes a version of its fine-tune, and is promoted where the policy says so.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::promote::{self, Step};
use crate::{
    contract::{
        events::EventKind,
        ids::{BaseVersionId, FineTuneId, TenantId, TransferId},
    },
    pipeline::{Outcome, Verdict},
    service::{
        database::{
            base_models, events,
            fine_tunes::{
                aliases::{self, protection},
                locked::{self, Locked},
                versions::{self, NewVersion},
            },
        },
        domain::registry::{
            PRODUCTION, Release,
            fine_tunes::{Mode, On, VersionState},
            is_newer,
            retunes::Reason,
        },
    },
};

/// What a transfer that has succeeded leaves: where it came from and what it was for.
pub(super) struct Delivery<'a> {
    pub transfer: TransferId,
    pub tenant: TenantId,
    pub fine_tune: FineTuneId,
    pub base_version: Option<BaseVersionId>,
    /// The occasion of its retune.
    pub reason: Option<Reason>,
    pub spec: &'a Value,
    pub outcome: &'a Outcome,
}

/// Makes the version of a transfer that has succeeded, and promotes it where the policy says so. Where
/// `production` is protected the version is proposed instead, and an event says so. The caller's transaction
/// holds the transfer's lock.
///
/// # Errors
/// From the database.
pub(super) async fn deliver(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
) -> Result<(), sqlx::Error> {
    let outcome = delivery.outcome;
    let fine_tune = locked::lock_policy(connection, delivery.fine_tune).await?;
    let moves = moves_production(connection, delivery, &fine_tune).await?;
    let waits = moves && protection::holds(connection, delivery.fine_tune, PRODUCTION).await?;
    let state = if waits {
        VersionState::Proposed
    } else {
        VersionState::of(outcome.verdict, fine_tune.policy_mode)
    };

    let new = NewVersion {
        tenant: delivery.tenant,
        fine_tune: delivery.fine_tune,
        state,
        base_version: delivery.base_version,
        transfer: delivery.transfer,
        source_base: text(delivery.spec, "/source/base"),
        trajectory: text(delivery.spec, "/source/trajectory"),
        target_base: text(delivery.spec, "/target/base"),
        outcome,
    };

    let version = versions::insert(connection, &new).await?;

    let subject = format!("fine_tunes/{}/versions/{}", fine_tune.name, version.number);
    let data = json!({
        "fine_tune": fine_tune.name, "version": version.number, "state": state,
        "transfer": delivery.transfer, "verdict": outcome.verdict,
        "recommendation": outcome.recommendation, "uri": outcome.uri,
    });

    let kind = EventKind::FineTuneVersionCreated;
    events::record(connection, delivery.tenant, &subject, kind, data).await?;

    if moves {
        let step = Step {
            tenant: delivery.tenant,
            fine_tune: delivery.fine_tune,
            name: &fine_tune.name,
            alias: PRODUCTION,
            to: version,
        };
        promote::by_policy(connection, &step).await?;
    }

    Ok(())
}

/// Whether the policy wants `production` to move to the result.
async fn moves_production(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
    fine_tune: &Locked,
) -> Result<bool, sqlx::Error> {
    let wanted = fine_tune.policy_mode == Mode::Promote
        && delivery.outcome.verdict == Verdict::Published
        // What was made of a trajectory since replaced waits for a person.
        && text(delivery.spec, "/source/trajectory") == fine_tune.trajectory;
    Ok(wanted && is_due(connection, delivery, fine_tune.policy_on).await?)
}

/// Whether the result stands on a registered version to which `production` may move by itself.
async fn is_due(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
    policy: On,
) -> Result<bool, sqlx::Error> {
    let Some(base) = delivery.base_version else {
        return Ok(false);
    };
    match policy {
        On::NewVersion | On::Manual => is_ahead_of_production(connection, delivery, base).await,
        // Wherever production stands.
        On::AliasMoved if locked::follows_to(connection, delivery.fine_tune, base).await? => {
            Ok(true)
        }
        // A person's wish goes beyond where the alias stands.
        On::AliasMoved if delivery.reason == Some(Reason::ByHand) => {
            is_ahead_of_production(connection, delivery, base).await
        }
        On::AliasMoved => Ok(false),
    }
}

/// Whether production stands on no version that is newer.
async fn is_ahead_of_production(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
    base: BaseVersionId,
) -> Result<bool, sqlx::Error> {
    let own = base_models::versions::named(connection, base).await?;
    let production =
        aliases::base_below(connection, delivery.fine_tune, PRODUCTION, own.base_model).await?;

    let own = Release {
        version: &own.version,
        id: base,
    };
    Ok(production.is_none_or(|production| {
        !is_newer(
            Release {
                version: &production.version,
                id: production.id,
            },
            own,
        )
    }))
}

fn text<'a>(spec: &'a Value, pointer: &str) -> &'a str {
    spec.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
