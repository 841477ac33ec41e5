//! Why an adapter is refused.

/// Why settings are refused: the code, and what is wrong.
pub(super) type Refusal = (&'static str, String);

pub(super) fn not_implemented(what: &str) -> Refusal {
    ("not_implemented", format!("{what}; merge the adapter into its base instead"))
}
