//! Which versions of fine-tunes stand on which versions of their base model.

use crate::{
    contract::ids::TenantId,
    service::{database::Database, domain::registry::fine_tunes::VersionState},
};

/// One version of a fine-tune on a registered version of its base model.
#[derive(Clone, Debug)]
pub struct Point {
    pub fine_tune: String,
    pub version: i32,
    pub base_version: String,
    pub state: VersionState,
}

/// Versions that are looked at, at most.
const MAX_VERSIONS: i64 = 2000;

/// What was carried onto versions of a tenant's base model, the newest last.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    base_model: &str,
) -> Result<Vec<Point>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let mut points = sqlx::query_as!(
        Point,
        r#"SELECT f.name AS fine_tune, v.number AS version, b.version AS base_version,
                  v.state AS "state: VersionState"
           FROM fine_tune_versions v
           JOIN fine_tunes f ON f.id = v.fine_tune
           JOIN base_model_versions b ON b.id = v.base_version
           JOIN base_models m ON m.id = b.base_model
           WHERE f.tenant = $1 AND m.name = $2
           ORDER BY v.id DESC LIMIT $3"#,
        tenant.0,
        base_model,
        MAX_VERSIONS,
    )
    .fetch_all(&mut *scope)
    .await?;
    points.reverse();

    Ok(points)
}
