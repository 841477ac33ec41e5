//! The methods that a job may name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::auto;

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Identity,
    /// Closed-form fits of the function, layer by layer; needs inputs, and no labels.
    Functional,
    WeightMatching,
    Gmt,
    Fgmt,
    Gradfix,
    Bico,
    Theseus,
    Oracle,
}

impl Method {
    /// The name used in specifications, reports and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Functional => "functional",
            Self::WeightMatching => "weight_matching",
            Self::Gmt => "gmt",
            Self::Fgmt => "fgmt",
            Self::Gradfix => "gradfix",
            Self::Bico => "bico",
            Self::Theseus => "theseus",
            Self::Oracle => "oracle",
        }
    }

    /// What the method reads training samples for, in an error.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Functional => "inputs of the task",
            _ => "gradients",
        }
    }

    /// Whether the method reads training samples.
    pub fn needs_data(self) -> bool {
        !matches!(self, Self::Identity | Self::WeightMatching)
    }

    /// Whether it reads their labels too.
    pub fn needs_labels(self) -> bool {
        self.needs_data() && !matches!(self, Self::Functional | Self::Theseus)
    }
}

/// `"auto"` or a list of methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"auto\" or a list of: identity, functional, weight_matching, gmt, fgmt, gradfix, bico, theseus, oracle"
)]
pub enum Methods {
    #[default]
    #[serde(with = "auto")]
    Auto,
    Named(Vec<Method>),
}
