//! Where aliases of fine-tunes have stood.
use uuid::Uuid;

use crate::{
    contract::ids::{FineTuneAliasMoveId, TenantId},
    service::{
        database::Database,
        domain::registry::fine_tunes::{Direction, FineTuneAliasMove},
    },
};

/// Moves of an alias of a tenant's fine-tune before the given one, newest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    (fine_tune, alias): (&str, &str),
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
        fine_tune,
        alias,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(&mut *database.scope(tenant).await?)
    .await
}
