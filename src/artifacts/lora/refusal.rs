//! Why an adapter is refused.

use crate::contract::codes::FailureCode;

/// Why settings are refused: the code, and what is wrong.
pub(super) type Refusal = (FailureCode, String);

pub(super) fn not_implemented(what: &str) -> Refusal {
    (
        FailureCode::NotImplemented,
        format!("{what}; merge the adapter into its base instead"),
    )
}
