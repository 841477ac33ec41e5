//! Why a location is refused.

/// Why a location is refused. `code` is `location_malformed`, `location_scheme` or
/// `location_not_allowed`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location:?}: {detail}")]
pub struct LocationError {
    pub code: &'static str,
    pub location: String,
    pub detail: String,
}

impl LocationError {
    pub fn malformed(location: &str, detail: impl Into<String>) -> Self {
        Self { code: "location_malformed", location: location.into(), detail: detail.into() }
    }

    pub fn not_allowed(location: &str, detail: impl Into<String>) -> Self {
        Self { code: "location_not_allowed", location: location.into(), detail: detail.into() }
    }
}
