//! Versions of a fine-tune: look, promote, roll back.

pub mod control;
pub mod read;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::{
    api::problem::{Problem, ProblemCode},
    domain::registry::{PRODUCTION, check_name},
    registry::promote::MoveError,
};

/// Which alias is to move; without a body, `production`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasChoice {
    #[serde(default = "production")]
    #[schema(default = "production")]
    alias: String,
}

impl Default for AliasChoice {
    fn default() -> Self {
        Self {
            alias: production(),
        }
    }
}

fn production() -> String {
    PRODUCTION.to_owned()
}

impl AliasChoice {
    /// The number of the version in the path, and the alias that is to move.
    fn of(self, version: &str) -> Result<(i32, String), Problem> {
        let number = number(version)?;
        let mut faults = Vec::new();
        check_name("/alias", &self.alias, &mut faults);
        if faults.is_empty() {
            Ok((number, self.alias))
        } else {
            Err(Problem::invalid(ProblemCode::InvalidBody, faults))
        }
    }
}

/// The number of a version in a path. What is none names nothing.
fn number(text: &str) -> Result<i32, Problem> {
    text.parse().map_err(|_| Problem::not_found("version"))
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        let said = error.to_string();
        match error {
            MoveError::Unknown => Self::not_found("version"),
            MoveError::Protected(_) => Self::new(ProblemCode::AliasProtected, said),
            MoveError::Rejected => Self::new(ProblemCode::VersionRejected, said),
            MoveError::NotCurrent => Self::new(ProblemCode::NotCurrent, said),
            MoveError::NothingBefore => Self::new(ProblemCode::NothingBefore, said),
            MoveError::Database(error) => error.into(),
        }
    }
}
