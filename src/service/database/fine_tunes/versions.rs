//! Versions of fine-tunes: one for each transfer that succeeded.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::locked::Follower;
use crate::{
    contract::ids::{BaseVersionId, FineTuneId, FineTuneVersionId, RetuneId, TenantId, TransferId},
    pipeline::Outcome,
    service::{
        database::{Database, enum_labels},
        domain::registry::{
            fine_tunes::{FineTuneVersion, VersionState},
            occasions::Target,
        },
    },
};

/// The columns of [`FineTuneVersion`] that are not its own types yet.
struct Row {
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
        let verdict = enum_labels::value(row.verdict)?
            .ok_or_else(|| sqlx::Error::Decode("a version without a verdict".into()))?;

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
            verdict,
            recommendation: enum_labels::value(row.recommendation)?,
            metrics: row.metrics,
            created_at: row.created_at,
        })
    }
}

/// A version where an alias stands, or is to stand.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Standing {
    pub id: FineTuneVersionId,
    pub number: i32,
}

/// A version to be.
pub(in crate::service) struct NewVersion<'a> {
    pub tenant: TenantId,
    pub fine_tune: FineTuneId,
    pub state: VersionState,
    pub base_version: Option<BaseVersionId>,
    pub transfer: TransferId,
    pub source_base: &'a str,
    pub trajectory: &'a str,
    pub target_base: &'a str,
    pub outcome: &'a Outcome,
}

/// Writes the next version of a fine-tune.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    new: &NewVersion<'_>,
) -> Result<Standing, sqlx::Error> {
    let (id, outcome) = (FineTuneVersionId::generate(), new.outcome);
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
        new.tenant.0,
        new.fine_tune.0,
        new.state as VersionState,
        new.base_version.map(Uuid::from),
        new.transfer.0,
        new.source_base,
        new.trajectory,
        new.target_base,
        outcome.metrics.get("method").and_then(Value::as_str),
        outcome.uri,
        outcome.manifest_sha256,
        enum_labels::label(&outcome.verdict),
        outcome.recommendation.as_ref().map(enum_labels::label),
        outcome.metrics,
    )
    .fetch_one(connection)
    .await?;

    Ok(Standing { id, number })
}

/// A version whose fine-tune is locked.
pub(in crate::service) struct Locked {
    pub fine_tune: FineTuneId,
    pub version: FineTuneVersionId,
    pub state: VersionState,
}

/// Locks a tenant's fine-tune, if it has a version of this number.
pub(in crate::service) async fn lock_fine_tune(
    connection: &mut PgConnection,
    tenant: TenantId,
    fine_tune: &str,
    number: i32,
) -> Result<Option<Locked>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT f.id, v.id AS version, v.state AS "state: VersionState"
           FROM fine_tunes f JOIN fine_tune_versions v ON v.fine_tune = f.id
           WHERE f.tenant = $1 AND f.name = $2 AND v.number = $3
           FOR NO KEY UPDATE OF f"#,
        tenant.0,
        fine_tune,
        number,
    )
    .fetch_optional(connection)
    .await?;

    Ok(row.map(|row| Locked {
        fine_tune: row.id.into(),
        version: row.version.into(),
        state: row.state,
    }))
}

/// Publishes a version that is proposed; another stays as it is.
pub(in crate::service) async fn publish_proposed(
    connection: &mut PgConnection,
    version: FineTuneVersionId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE fine_tune_versions SET state = 'published' WHERE id = $1 AND state = 'proposed'",
        version.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest published version of a fine-tune on the bytes of a target. What was made of a trajectory
/// since replaced does not count: it waits for a person.
pub(in crate::service) async fn published_on(
    connection: &mut PgConnection,
    fine_tune: &Follower,
    target: &Target,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        "SELECT v.id, v.number FROM fine_tune_versions v
             JOIN base_model_versions b ON b.id = v.base_version
             WHERE v.fine_tune = $1 AND v.state = 'published' AND v.trajectory = $2
               AND b.base_model = $3 AND b.digest = $4
             ORDER BY v.number DESC LIMIT 1",
        fine_tune.id.0,
        fine_tune.trajectory,
        target.base_model.0,
        target.digest,
    )
    .fetch_optional(connection)
    .await
}

/// One version by its id.
pub(in crate::service) async fn by_id(
    connection: &mut PgConnection,
    id: FineTuneVersionId,
) -> Result<FineTuneVersion, sqlx::Error> {
    select!("WHERE v.id = $1", id.0)
        .fetch_one(connection)
        .await?
        .try_into()
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
    select!(
        "WHERE f.tenant = $1 AND f.name = $2 AND v.number = $3",
        tenant.0,
        fine_tune,
        number
    )
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

/// The names of a tenant's fine-tunes with a version that waits for somebody to promote it.
///
/// # Errors
/// From the database.
pub async fn proposed(database: &Database, tenant: TenantId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT DISTINCT f.name FROM fine_tune_versions v JOIN fine_tunes f ON f.id = v.fine_tune
         WHERE v.tenant = $1 AND v.state = 'proposed'",
        tenant.0,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}

/// Deletes the versions of a fine-tune.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM fine_tune_versions WHERE fine_tune = $1", id.0)
        .execute(connection)
        .await?;
    Ok(())
}
