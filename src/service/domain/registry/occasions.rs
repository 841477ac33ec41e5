//! What makes fine-tunes be carried over, whom it concerns, and onto which version.

use serde_json::Value;

use super::{
    Release,
    base_models::BaseVersion,
    fine_tunes::Template,
    is_newer,
    retunes::{Automatic, Limits, Reason},
};
use crate::contract::ids::{BaseModelId, BaseVersionId, FineTuneId, TenantId};

/// Why a retune begins, and under what terms.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    pub tenant: TenantId,
    pub reason: Reason,
    pub limits: Limits,
    pub max_attempts: i32,
}

impl Occasion {
    /// Of a retune that begins by itself.
    pub fn automatic(tenant: TenantId, reason: Reason, how: Automatic) -> Self {
        Self {
            tenant,
            reason,
            limits: how.limits,
            max_attempts: how.max_attempts,
        }
    }
}

/// The registered version that a retune is for.
#[derive(Clone, Debug)]
pub struct Target {
    pub base_model: BaseModelId,
    /// The base model's name.
    pub model: String,
    pub id: BaseVersionId,
    pub version: String,
    pub uri: String,
    pub digest: String,
}

impl Target {
    /// A version of the base model with this id.
    pub fn of(base_model: BaseModelId, version: BaseVersion) -> Self {
        Self {
            base_model,
            model: version.base_model,
            id: version.id,
            version: version.version,
            uri: version.uri,
            digest: version.digest,
        }
    }

    /// As far as the order of versions is concerned.
    pub fn release(&self) -> Release<'_> {
        Release {
            version: &self.version,
            id: self.id,
        }
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
    pub fn is_older_than(&self, target: &Target) -> bool {
        let own = Release {
            version: &self.base_version,
            id: self.base_id,
        };
        is_newer(target.release(), own)
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
