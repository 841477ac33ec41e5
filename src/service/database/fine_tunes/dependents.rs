//! Which fine-tunes an occasion concerns.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseModelId, BaseVersionId, FineTuneId, TenantId},
    service::{
        database::retunes::begin::Target,
        domain::registry::{
            Release,
            fine_tunes::{On, Template},
            is_newer,
        },
    },
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
        Self { tenant, base_model: None, on: None, alias: None, names: None }
    }
}

/// A fine-tune, as far as its jobs are concerned.
#[derive(Clone, Debug)]
pub struct Dependent {
    pub id: FineTuneId,
    pub name: String,
    pub trajectory: String,
    pub data: Option<Value>,
    pub spec: Value,
    pub base_id: BaseVersionId,
    pub base_version: String,
    pub base_uri: String,
    pub base_digest: String,
}

impl Dependent {
    /// Whether the version comes after the one that it was tuned from.
    pub(in crate::service::database) fn is_older_than(&self, target: &Target) -> bool {
        let own = Release { version: &self.base_version, id: self.base_id };
        is_newer(Release { version: &target.version, id: target.id }, own)
    }

    /// The job that carries it onto `target`.
    pub fn job(&self, target: &str) -> Value {
        let template = Template {
            source_base: &self.base_uri,
            trajectory: &self.trajectory,
            data: self.data.as_ref(),
            spec: &self.spec,
        };
        template.queued(target)
    }
}

/// Those concerned, oldest first.
pub(in crate::service::database) async fn find(
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
