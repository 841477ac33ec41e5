//! Whether two models have the same tensors.

use crate::engine::network::Signature;

/// The first differences between two models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{of} and {than} are not of the same architecture: {}", differences.join("; "))]
pub struct Incompatible {
    pub of: String,
    pub than: String,
    pub differences: Vec<String>,
}

/// Differences named in a message.
const NAMED: usize = 3;

/// Names and shapes must agree; dtypes may differ between float types.
///
/// # Errors
/// The first differences, by tensor.
pub fn compare(of: (&str, &Signature), than: (&str, &Signature)) -> Result<(), Incompatible> {
    let mut differences = Vec::new();
    for (name, info) in of.1 {
        match than.1.get(name) {
            None => differences.push(format!("{name} is missing in {}", than.0)),
            Some(other) if other.shape != info.shape => {
                differences
                    .push(format!("{name} is {:?} here and {:?} there", info.shape, other.shape));
            }
            Some(other) if other.dtype.is_float() != info.dtype.is_float() => {
                let (here, there) = (info.dtype.name(), other.dtype.name());
                differences.push(format!("{name} is {here} here and {there} there"));
            }
            Some(_) => {}
        }
    }
    let missing = than.1.keys().filter(|name| !of.1.contains_key(*name));
    differences.extend(missing.map(|name| format!("{name} is missing in {}", of.0)));
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(NAMED);
    differences.truncate(NAMED);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(Incompatible { of: of.0.to_owned(), than: than.0.to_owned(), differences })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::network::{DType, TensorInfo};

    fn model(tensors: &[(&str, DType, &[usize])]) -> Signature {
        let info = |(name, dtype, shape): &(&str, DType, &[usize])| {
            ((*name).to_owned(), TensorInfo { dtype: *dtype, shape: shape.to_vec() })
        };
        tensors.iter().map(info).collect()
    }

    #[test]
    fn the_first_differences_are_named() {
        let a = model(&[("w", DType::F32, &[2, 3]), ("b", DType::BF16, &[2])]);
        assert_eq!(
            compare(
                ("a", &a),
                ("b", &model(&[("w", DType::F16, &[2, 3]), ("b", DType::F32, &[2])]))
            ),
            Ok(())
        );
        let other = model(&[("w", DType::F32, &[3, 2]), ("c", DType::F32, &[2])]);
        let error = compare(("the source", &a), ("the target", &other)).unwrap_err().to_string();
        assert!(error.contains("w is [2, 3] here and [3, 2] there"), "{error}");
        assert!(
            error.contains("b is missing in the target")
                && error.contains("c is missing in the source"),
            "{error}"
        );
    }
}
