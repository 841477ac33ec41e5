//! A person begins a retune: once per idempotency key and within the tenant's quotas.

use sqlx::PgConnection;

use super::begin;
use crate::{
    config,
    contract::{
        events::AuditAction,
        ids::{BaseModelId, TenantId},
    },
    service::{
        database::{
            Database, audit_events, base_models,
            fine_tunes::dependents::{self, Dependents},
            idempotency::{Idempotency, KeyReused},
            quotas::{self, QuotaExceeded},
            retunes,
        },
        domain::{
            access::Caller,
            registry::{
                occasions::{Dependent, Occasion, Target},
                retunes::{Limits, Reason, Retune},
            },
        },
    },
};

/// A retune by hand.
#[derive(Clone, Debug)]
pub struct Wish {
    /// All that were tuned from the base model, where none is named.
    pub fine_tunes: Option<Vec<String>>,
    pub onto: Onto,
    pub limits: Limits,
    pub idempotency: Option<Idempotency>,
    pub max_attempts: i32,
}

/// Where to.
#[derive(Clone, Debug)]
pub enum Onto {
    Version {
        base_model: String,
        version: String,
    },
    /// Checked locations.
    Locations(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("there is no such base model or version")]
    UnknownBase,
    /// The place in the list, and the name.
    #[error("there is no fine-tune {1}")]
    UnknownFineTune(usize, String),
    #[error("every fine-tune concerned is or was carried onto this base, or was tuned from it")]
    NothingToDo,
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Begins a retune by hand, once per idempotency key and within the tenant's quotas.
///
/// # Errors
/// See [`BeginError`].
pub async fn begin(
    database: &Database,
    caller: impl Into<Caller>,
    wish: &Wish,
    quotas: &config::Quotas,
) -> Result<Retune, BeginError> {
    let caller = caller.into();
    let tenant = caller.tenant;
    let mut scope = database.scope(tenant).await?;
    if let Some(idempotency) = &wish.idempotency
        && let Some(retune) = begun_before(&mut scope, tenant, idempotency).await?
    {
        return Ok(retune);
    }

    let occasion = Occasion {
        tenant,
        reason: Reason::ByHand,
        limits: wish.limits,
        max_attempts: wish.max_attempts,
    };

    let names = wish.fine_tunes.as_deref();
    let id = match &wish.onto {
        Onto::Version {
            base_model,
            version,
        } => {
            let target = target(&mut scope, tenant, base_model, version).await?;
            let found = named(&mut scope, tenant, Some(target.base_model), names).await?;
            begin::onto_version(&mut scope, &occasion, &target, &found)
                .await?
                .ok_or(BeginError::NothingToDo)?
        }
        Onto::Locations(targets) => {
            let found = named(&mut scope, tenant, None, names).await?;
            begin::onto_locations(&mut scope, &occasion, targets, &found).await?
        }
    };
    if let Some(exceeded) = quotas::check(&mut scope, tenant, quotas).await? {
        return Err(exceeded.into());
    }

    if let Some(idempotency) = &wish.idempotency {
        retunes::remember_request(&mut scope, id, idempotency).await?;
    }
    let retune = retunes::by_id(&mut scope, id).await?;
    let subject = format!("retunes/{id}");
    audit_events::record(&mut scope, caller, AuditAction::RetuneCreate, &subject).await?;
    scope.commit().await?;

    Ok(retune)
}

/// The retune of an earlier request under this key.
async fn begun_before(
    connection: &mut PgConnection,
    tenant: TenantId,
    idempotency: &Idempotency,
) -> Result<Option<Retune>, BeginError> {
    idempotency.lock(connection, tenant).await?;
    let earlier = retunes::of_request(connection, tenant, &idempotency.key).await?;
    let Some(earlier) = earlier else {
        return Ok(None);
    };

    idempotency.check(earlier.request_sha256.as_deref())?;
    Ok(Some(retunes::by_id(connection, earlier.id).await?))
}

async fn target(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: &str,
    version: &str,
) -> Result<Target, BeginError> {
    let base_model = base_models::lock(connection, tenant, base_model)
        .await?
        .ok_or(BeginError::UnknownBase)?;
    let found = base_models::versions::find(connection, base_model, version)
        .await?
        .ok_or(BeginError::UnknownBase)?;

    Ok(Target::of(base_model, found))
}

/// The fine-tunes of these names, all of which must be there; all of the base model without names.
async fn named(
    connection: &mut PgConnection,
    tenant: TenantId,
    base_model: Option<BaseModelId>,
    names: Option<&[String]>,
) -> Result<Vec<Dependent>, BeginError> {
    let wanted = Dependents {
        base_model,
        names: names.map(<[_]>::to_vec),
        ..Dependents::of(tenant)
    };
    let found = dependents::find(connection, &wanted).await?;

    let missing = names
        .unwrap_or_default()
        .iter()
        .enumerate()
        .find(|(_, name)| !found.iter().any(|one| one.name == **name));

    match missing {
        Some((place, name)) => Err(BeginError::UnknownFineTune(place, name.clone())),
        None => Ok(found),
    }
}
