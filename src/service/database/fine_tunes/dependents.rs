//! Which fine-tunes an occasion concerns.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseModelId, TenantId},
    service::domain::registry::{fine_tunes::On, occasions::Dependent},
};

/// Whom to look for; everything given must hold.
#[derive(Clone, Debug)]
pub struct Dependents {
    pub tenant: TenantId,
    pub base_model: Option<BaseModelId>,
    pub on: Option<On>,
    /// The alias that they follow, by its name or because they follow every one.
    pub alias: Option<String>,
    pub names: Option<Vec<String>>,
}

impl Dependents {
    /// All of a tenant's.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            base_model: None,
            on: None,
            alias: None,
            names: None,
        }
    }
}

/// Those concerned, oldest first.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn find(
    connection: &mut PgConnection,
    wanted: &Dependents,
) -> Result<Vec<Dependent>, sqlx::Error> {
    sqlx::query_as!(
        Dependent,
        "SELECT f.id, f.name, f.trajectory, f.data, f.spec, b.id AS base_id,
                b.version AS base_version, b.uri AS base_uri, b.digest AS base_digest
         FROM fine_tunes f JOIN base_model_versions b ON b.id = f.base_version
         WHERE f.tenant = $1
           AND ($2::uuid IS NULL OR f.base_model = $2)
           AND ($3::policy_on IS NULL OR f.policy_on = $3)
           AND ($4::text IS NULL OR f.policy_alias IS NULL OR f.policy_alias = $4)
           AND ($5::text[] IS NULL OR f.name = ANY ($5))
         ORDER BY f.id",
        wanted.tenant.0,
        wanted.base_model.map(Uuid::from),
        wanted.on as Option<On>,
        wanted.alias,
        wanted.names.as_deref(),
    )
    .fetch_all(connection)
    .await
}
