//! The networks of which a device's answers are known.
//!
//! Every operation of a graph and every option that a kernel depends on is in one of them; a test asks for each.

mod attention;
mod experts;
mod images;
mod matrices;
mod tokens;

use serde_json::{Value, json};

use super::{Case, LENGTH};

/// All cases.
pub(super) fn cases() -> Vec<Case> {
    [
        matrices::cases(),
        images::cases(),
        tokens::cases(),
        attention::cases(),
        experts::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Samples of 67 features.
fn features() -> Value {
    json!({"kind": "features", "shape": [67]})
}

/// Images of odd sizes.
fn image() -> Value {
    json!({"kind": "image", "shape": [3, 17, 13]})
}

/// Sentences.
fn tokens() -> Value {
    json!({"kind": "tokens", "shape": [LENGTH]})
}
