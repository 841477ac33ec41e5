//! Whether two models have the same tensors, and what becomes of a head that only some have.

mod head;
pub mod modules;
pub mod prefix;

use serde_json::Value;

use crate::tensors::Signature;

pub use head::{AdoptedHead, OtherClasses};

/// The first differences between two models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{of} and {than} are not of the same architecture: {}{hint}", differences.join("; "))]
pub struct Incompatible {
    pub of: String,
    pub than: String,
    pub differences: Vec<String>,
    pub hint: &'static str,
}

/// Where only the length of a first axis differs.
const ROWS: &str = ". Classes and tokens may differ in number where both models name them: classes in \
                    config.json (id2label), tokens in tokenizer.json, vocab.json or vocab.txt";

/// Differences named in a message.
const MAX_NAMED_DIFFERENCES: usize = 3;

/// A model's headers, and what a message calls it.
#[derive(Clone, Copy, Debug)]
pub struct NamedSignature<'a> {
    pub name: &'a str,
    pub signature: &'a Signature,
}

/// A model as its `config.json` and its headers give it.
#[derive(Clone, Copy, Debug)]
pub struct Configured<'a> {
    pub config: &'a Value,
    pub signature: &'a Signature,
}

/// Names and shapes must agree; dtypes may differ between float types.
///
/// # Errors
/// The first differences, by tensor.
pub fn compare(of: NamedSignature, than: NamedSignature) -> Result<(), Incompatible> {
    let (mut differences, mut hint) = (Vec::new(), "");
    for (name, info) in of.signature {
        match than.signature.get(name) {
            None => differences.push(format!("{name} is missing in {}", than.name)),
            Some(other) if other.shape != info.shape => {
                if !info.shape.is_empty() && info.shape.get(1..) == other.shape.get(1..) {
                    hint = ROWS;
                }
                differences.push(format!(
                    "{name} is {:?} here and {:?} there",
                    info.shape, other.shape
                ));
            }
            Some(other) if other.dtype.is_float() != info.dtype.is_float() => {
                let (here, there) = (info.dtype.name(), other.dtype.name());
                differences.push(format!("{name} is {here} here and {there} there"));
            }
            Some(_) => {}
        }
    }

    let missing = than
        .signature
        .keys()
        .filter(|name| !of.signature.contains_key(*name));
    differences.extend(missing.map(|name| format!("{name} is missing in {}", of.name)));
    if differences.is_empty() {
        return Ok(());
    }

    Err(Incompatible {
        hint,
        ..Incompatible::new(of.name, than.name, differences)
    })
}

impl Incompatible {
    /// Names the first of the differences, and counts the rest.
    pub(super) fn new(of: &str, than: &str, mut differences: Vec<String>) -> Self {
        let more = differences.len().saturating_sub(MAX_NAMED_DIFFERENCES);
        differences.truncate(MAX_NAMED_DIFFERENCES);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }

        Self {
            of: of.to_owned(),
            than: than.to_owned(),
            differences,
            hint: "",
        }
    }
}

#[cfg(test)]
mod tests;
