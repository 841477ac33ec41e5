//! Base models, their versions and aliases.

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::cards::SuccessorPolicy;
use crate::contract::ids::{BaseAliasMoveId, BaseModelId, BaseVersionId, RetuneId};

/// What models are tuned from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BaseModel {
    /// The cursor of lists.
    #[serde(skip)]
    pub id: BaseModelId,
    pub name: String,
    pub description: Option<String>,
    pub licence: Option<String>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub metadata: Value,
    /// What becomes of a repository that the card of its newest version names as the next one.
    pub successors: SuccessorPolicy,
    /// Where each alias stands: versions by alias.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub aliases: Value,
    /// How many versions it has.
    pub versions: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// One model that a base model has been.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BaseVersion {
    #[serde(skip)]
    pub id: BaseVersionId,
    pub base_model: String,
    pub version: String,
    /// The folder of the model.
    pub uri: String,
    /// SHA-256, in hexadecimal, over names, sizes and digests of the model's files.
    pub digest: String,
    /// Bytes of those files.
    pub size: i64,
    /// The version that it was made from.
    pub parent: Option<String>,
    pub licence: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub retires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// The retune that its arrival made, if anything depended on it.
    #[schema(value_type = Option<Uuid>)]
    pub retune: Option<RetuneId>,
}

/// A version that has been looked at in storage.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub version: String,
    pub uri: String,
    pub digest: String,
    pub size: i64,
    pub parent: Option<String>,
    pub licence: Option<String>,
    pub retires_at: Option<OffsetDateTime>,
}

/// One time that an alias moved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BaseAliasMove {
    /// The cursor of lists.
    #[serde(skip)]
    pub id: BaseAliasMoveId,
    pub base_model: String,
    pub alias: String,
    /// Where it moved to.
    pub version: String,
    /// Where it stood before; null: it was new.
    pub previous: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub moved_at: OffsetDateTime,
}

/// A name that moves from version to version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BaseAlias {
    pub base_model: String,
    pub alias: String,
    pub version: String,
    pub uri: String,
    pub digest: String,
    #[serde(with = "time::serde::rfc3339")]
    pub moved_at: OffsetDateTime,
}
