//! Why a location is refused.

use crate::contract::codes::FailureCode;

/// Why a location is refused. `code` is `location_malformed`, `location_scheme` or
/// `location_not_allowed`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location:?}: {detail}")]
pub struct LocationError {
    pub code: FailureCode,
    pub location: String,
    pub detail: String,
}

impl LocationError {
    pub fn malformed(location: &str, detail: impl Into<String>) -> Self {
        Self {
            code: FailureCode::LocationMalformed,
            location: location.into(),
            detail: detail.into(),
        }
    }

    pub fn not_allowed(location: &str, detail: impl Into<String>) -> Self {
        Self {
            code: FailureCode::LocationNotAllowed,
            location: location.into(),
            detail: detail.into(),
        }
    }
}
