//! Versions of fine-tunes: one for each transfer that succeeded.

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{aliases, following};
use crate::{
    contract::{
        events::EventKind,
        ids::{BaseVersionId, FineTuneId, FineTuneVersionId, RetuneId, TenantId, TransferId},
    },
    pipeline::{Outcome, Verdict},
    service::{
        database::{Database, events, names},
        domain::registry::{
            PRODUCTION, Release,
            fine_tunes::{FineTuneVersion, Mode, On, VersionState},
            is_newer,
            retunes::Reason,
        },
    },
};

/// The columns of [`FineTuneVersion`] that are not its own types yet.
pub(super) struct Row {
    pub id: FineTuneVersionId,
    pub fine_tune: String,
    pub version: i32,
    pub state: VersionState,
    pub parent: Option<i32>,
    pub base_model: String,
    pub base_version: Option<String>,
    pub transfer: TransferId,
    pub retune: Option<Uuid>,
    pub source_base: String,
    pub trajectory: String,
    pub target_base: String,
    pub method: Option<String>,
    pub uri: String,
    pub manifest_sha256: String,
    pub verdict: Option<String>,
    pub recommendation: Option<String>,
    pub metrics: Value,
    pub created_at: OffsetDateTime,
}

/// `SELECT` of [`Row`]s with the given ending, so that the columns are named once.
macro_rules! select {
    ($ending:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT v.id, f.name AS fine_tune, v.number AS version,
                      v.state AS "state: VersionState", p.number AS "parent?",
                      m.name AS base_model, b.version AS "base_version?", v.transfer, t.retune,
                      v.source_base, v.trajectory, v.target_base, v.method, v.uri,
                      v.manifest_sha256, v.verdict::text AS "verdict",
                      v.recommendation::text AS "recommendation", v.metrics, v.created_at
               FROM fine_tune_versions v
               JOIN fine_tunes f ON f.id = v.fine_tune
               JOIN transfers t ON t.id = v.transfer
               LEFT JOIN base_model_versions b ON b.id = v.base_version
               JOIN base_models m ON m.id = coalesce(b.base_model, f.base_model)
               LEFT JOIN fine_tune_versions p ON p.id = v.parent "# + $ending
            $(, $argument)*
        )
    };
}

impl TryFrom<Row> for FineTuneVersion {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let unknown = || sqlx::Error::Decode("a version without a verdict".into());
        Ok(Self {
            id: row.id,
            fine_tune: row.fine_tune,
            version: row.version,
            state: row.state,
            parent: row.parent,
            base_model: row.base_model,
            base_version: row.base_version,
            transfer: row.transfer,
            retune: row.retune.map(RetuneId),
            source_base: row.source_base,
            trajectory: row.trajectory,
            target_base: row.target_base,
            method: row.method,
            uri: row.uri,
            manifest_sha256: row.manifest_sha256,
            verdict: names::value(row.verdict)?.ok_or_else(unknown)?,
            recommendation: names::value(row.recommendation)?,
            metrics: row.metrics,
            created_at: row.created_at,
        })
    }
}

/// What a transfer that has succeeded leaves: where it came from and what it was for.
pub(in crate::service::database) struct Delivery<'a> {
    pub transfer: TransferId,
    pub tenant: TenantId,
    pub fine_tune: FineTuneId,
    pub base_version: Option<BaseVersionId>,
    /// The occasion of its retune.
    pub reason: Option<Reason>,
    pub spec: &'a Value,
    pub outcome: &'a Outcome,
}

/// Makes the version of a transfer that has succeeded, and promotes it where the policy says so. The
/// caller's transaction holds the transfer's lock.
pub(in crate::service::database) async fn deliver(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
) -> Result<(), sqlx::Error> {
    let fine_tune = sqlx::query!(
        r#"SELECT name, policy_on AS "policy_on: On", policy_mode AS "policy_mode: Mode", trajectory
           FROM fine_tunes WHERE id = $1 FOR NO KEY UPDATE"#,
        delivery.fine_tune.0,
    )
    .fetch_one(&mut *connection)
    .await?;
    let state = VersionState::of(delivery.outcome.verdict, fine_tune.policy_mode);
    let (id, number) = insert(connection, delivery, state).await?;
    let subject = format!("fine_tunes/{}/versions/{number}", fine_tune.name);
    let data = json!({
        "fine_tune": fine_tune.name, "version": number, "state": state,
        "transfer": delivery.transfer, "verdict": delivery.outcome.verdict,
        "recommendation": delivery.outcome.recommendation, "uri": delivery.outcome.uri,
    });
    events::record(connection, delivery.tenant, &subject, EventKind::FineTuneVersionCreated, data)
        .await?;
    let wanted = fine_tune.policy_mode == Mode::Promote
        && delivery.outcome.verdict == Verdict::Published
        // What was made of a trajectory since replaced waits for a person.
        && text(delivery.spec, "/source/trajectory") == fine_tune.trajectory;
    if wanted && is_due(connection, delivery, fine_tune.policy_on).await? {
        let step = aliases::Step {
            tenant: delivery.tenant,
            fine_tune: (delivery.fine_tune, &fine_tune.name),
            alias: PRODUCTION,
            to: (id, number),
        };
        aliases::promote(connection, &step).await?;
    }
    Ok(())
}

/// Whether the result stands on a registered version to which `production` may move by itself.
async fn is_due(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
    policy: On,
) -> Result<bool, sqlx::Error> {
    let Some(base) = delivery.base_version else { return Ok(false) };
    match policy {
        On::NewVersion | On::Manual => is_ahead_of_production(connection, delivery, base).await,
        // Wherever production stands.
        On::AliasMoved if following::stands_on(connection, delivery.fine_tune, base).await? => {
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
    let own =
        sqlx::query!("SELECT version, base_model FROM base_model_versions WHERE id = $1", base.0)
            .fetch_one(&mut *connection)
            .await?;
    let production = sqlx::query!(
        "SELECT b.id, b.version FROM fine_tune_aliases a
         JOIN fine_tune_versions v ON v.id = a.version
         JOIN base_model_versions b ON b.id = v.base_version
         WHERE a.fine_tune = $1 AND a.alias = $2 AND b.base_model = $3",
        delivery.fine_tune.0,
        PRODUCTION,
        own.base_model,
    )
    .fetch_optional(connection)
    .await?;
    let own = Release { version: &own.version, id: base };
    Ok(production
        .is_none_or(|row| !is_newer(Release { version: &row.version, id: row.id.into() }, own)))
}

/// The new version's id and number.
async fn insert(
    connection: &mut PgConnection,
    delivery: &Delivery<'_>,
    state: VersionState,
) -> Result<(FineTuneVersionId, i32), sqlx::Error> {
    let (id, outcome) = (FineTuneVersionId::generate(), delivery.outcome);
    let number = sqlx::query_scalar!(
        "INSERT INTO fine_tune_versions
             (id, tenant, fine_tune, number, state, parent, base_version, transfer, source_base,
              trajectory, target_base, method, uri, manifest_sha256, verdict, recommendation, metrics)
         SELECT $1, $2, $3, 1 + coalesce(max(number), 0), $4,
                (array_agg(id ORDER BY number DESC) FILTER (WHERE state <> 'rejected'))[1],
                $5, $6, $7, $8, $9, $10, $11, $12, $13::text::transfer_verdict,
                $14::text::transfer_recommendation, $15
         FROM fine_tune_versions WHERE fine_tune = $3
         RETURNING number",
        id.0,
        delivery.tenant.0,
        delivery.fine_tune.0,
        state as VersionState,
        delivery.base_version.map(Uuid::from),
        delivery.transfer.0,
        text(delivery.spec, "/source/base"),
        text(delivery.spec, "/source/trajectory"),
        text(delivery.spec, "/target/base"),
        outcome.metrics.get("method").and_then(Value::as_str),
        outcome.uri,
        outcome.manifest_sha256,
        names::label(&outcome.verdict),
        outcome.recommendation.as_ref().map(names::label),
        outcome.metrics,
    )
    .fetch_one(connection)
    .await?;
    Ok((id, number))
}

fn text<'a>(spec: &'a Value, pointer: &str) -> &'a str {
    spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// One version by its id.
pub(super) async fn by_id(
    connection: &mut PgConnection,
    id: FineTuneVersionId,
) -> Result<FineTuneVersion, sqlx::Error> {
    select!("WHERE v.id = $1", id.0).fetch_one(connection).await?.try_into()
}

/// A version of a tenant's fine-tune.
///
/// # Errors
/// From the database.
pub async fn get(
    database: &Database,
    tenant: TenantId,
    fine_tune: &str,
    number: i32,
) -> Result<Option<FineTuneVersion>, sqlx::Error> {
    select!("WHERE f.tenant = $1 AND f.name = $2 AND v.number = $3", tenant.0, fine_tune, number)
        .fetch_optional(&mut *database.scope(tenant).await?)
        .await?
        .map(FineTuneVersion::try_from)
        .transpose()
}

/// Versions of a tenant's fine-tune after the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    fine_tune: &str,
    after: Option<FineTuneVersionId>,
    limit: i64,
) -> Result<Vec<FineTuneVersion>, sqlx::Error> {
    let rows = select!(
        "WHERE f.tenant = $1 AND f.name = $2 AND ($3::uuid IS NULL OR v.id < $3)
         ORDER BY v.id DESC LIMIT $4",
        tenant.0,
        fine_tune,
        after.map(Uuid::from),
        limit,
    );
    rows.fetch_all(&mut *database.scope(tenant).await?)
        .await?
        .into_iter()
        .map(FineTuneVersion::try_from)
        .collect()
}
