//! Where fine-tunes stand, and whether that is the base that they follow.

use time::OffsetDateTime;

use crate::{contract::ids::TenantId, service::database::Database};

/// A fine-tune, what is in production of it, and the version of its base model that it ought to stand on.
#[derive(Clone, Debug)]
pub struct Standing {
    pub fine_tune: String,
    pub base_model: String,
    /// The base version that it was tuned from.
    pub tuned_from: String,
    /// The number of the version in production.
    pub production: Option<i32>,
    /// The base version below that, or without one the version that it was tuned from; absent where the target was
    /// given by location.
    pub stands_on: Option<String>,
    /// Where the followed alias of the base model stands, or its newest version.
    pub current: String,
    pub is_stale: bool,
    /// When the base below retires.
    pub retires_at: Option<OffsetDateTime>,
}

/// Fine-tunes of a tenant, of one base model where it is named, by name.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    base_model: Option<&str>,
    limit: i64,
) -> Result<Vec<Standing>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    sqlx::query_as!(
        Standing,
        r#"SELECT f.name AS fine_tune, m.name AS base_model, own.version AS tuned_from,
                  p.number AS "production?",
                  CASE WHEN p.id IS NULL THEN own.version ELSE below.version END AS stands_on,
                  current.version AS "current!",
                  CASE WHEN p.id IS NULL THEN own.digest ELSE coalesce(below.digest, '') END
                      <> current.digest AS "is_stale!",
                  CASE WHEN p.id IS NULL THEN own.retires_at ELSE below.retires_at END AS retires_at
           FROM fine_tunes f
           JOIN base_models m ON m.id = f.base_model
           JOIN base_model_versions own ON own.id = f.base_version
           LEFT JOIN fine_tune_aliases a ON a.fine_tune = f.id AND a.alias = 'production'
           LEFT JOIN fine_tune_versions p ON p.id = a.version
           LEFT JOIN base_model_versions below ON below.id = p.base_version
           LEFT JOIN base_model_aliases s ON s.base_model = f.base_model AND s.alias = f.policy_alias
           JOIN base_model_versions current ON current.id = coalesce(s.version,
               (SELECT n.id FROM base_model_versions n WHERE n.base_model = f.base_model
                ORDER BY n.id DESC LIMIT 1))
           WHERE f.tenant = $1 AND ($2::text IS NULL OR m.name = $2)
           ORDER BY f.name LIMIT $3"#,
        tenant.0,
        base_model,
        limit,
    )
    .fetch_all(&mut *scope)
    .await
}
