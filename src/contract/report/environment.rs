//! Where and by what a transfer ran.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the transfer ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Environment {
    pub software: Software,
    pub device: String,
    pub threads: usize,
    pub architecture: String,
}

/// A program and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Software {
    pub name: String,
    pub version: String,
}

impl Software {
    /// This program.
    pub fn own() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}
