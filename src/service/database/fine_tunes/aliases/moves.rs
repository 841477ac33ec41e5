//! Where aliases of fine-tunes have stood.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{FineTuneAliasMoveId, FineTuneId, FineTuneVersionId, TenantId},
    service::{
        database::{Database, fine_tunes::versions::Standing},
        domain::registry::fine_tunes::{Direction, FineTuneAliasMove},
    },
};

/// An alias, by name.
#[derive(Clone, Copy, Debug)]
pub struct NamedAlias<'a> {
    /// Name of the fine-tune.
    pub fine_tune: &'a str,
    pub alias: &'a str,
}

/// Moves of an alias of a tenant's fine-tune before the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    of: NamedAlias<'_>,
    after: Option<FineTuneAliasMoveId>,
    limit: i64,
) -> Result<Vec<FineTuneAliasMove>, sqlx::Error> {
    sqlx::query_as!(
        FineTuneAliasMove,
        r#"SELECT h.id, f.name AS fine_tune, h.alias, h.move AS "direction: Direction",
                  v.number AS version, p.number AS "previous?", h.moved_at
           FROM fine_tune_alias_moves h
           JOIN fine_tunes f ON f.id = h.fine_tune
           JOIN fine_tune_versions v ON v.id = h.version
           LEFT JOIN fine_tune_versions p ON p.id = h.previous
           WHERE f.tenant = $1 AND f.name = $2 AND h.alias = $3 AND ($4::uuid IS NULL OR h.id < $4)
           ORDER BY h.id DESC LIMIT $5"#,
        tenant.0,
        of.fine_tune,
        of.alias,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}

/// A line of history to be written.
pub(in crate::service) struct NewMove<'a> {
    pub tenant: TenantId,
    pub fine_tune: FineTuneId,
    pub alias: &'a str,
    pub direction: Direction,
    pub version: FineTuneVersionId,
    /// Where the alias stood before, if anywhere.
    pub previous: Option<FineTuneVersionId>,
}

/// Notes that an alias has moved.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    new: &NewMove<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fine_tune_alias_moves (id, tenant, fine_tune, alias, move, version, previous)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        FineTuneAliasMoveId::generate().0,
        new.tenant.0,
        new.fine_tune.0,
        new.alias,
        new.direction as Direction,
        new.version.0,
        new.previous.map(Uuid::from),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Where an alias stood before it was last promoted to a version.
pub(in crate::service) async fn before_promotion(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
    alias: &str,
    version: FineTuneVersionId,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT v.id, v.number
           FROM (SELECT previous FROM fine_tune_alias_moves
                 WHERE fine_tune = $1 AND alias = $2 AND version = $3 AND move = 'promoted'
                 ORDER BY id DESC LIMIT 1) AS last
           JOIN fine_tune_versions v ON v.id = last.previous"#,
        fine_tune.0,
        alias,
        version.0,
    )
    .fetch_optional(connection)
    .await
}

/// Deletes the moves of all aliases of a fine-tune.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn delete_of(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM fine_tune_alias_moves WHERE fine_tune = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}
