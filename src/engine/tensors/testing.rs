//! Headers for tests.

use super::{DType, Signature, TensorInfo};

/// Tensors by name, dtype and shape.
pub fn headers(tensors: &[(&str, DType, &[usize])]) -> Signature {
    tensors
        .iter()
        .map(|(name, dtype, shape)| {
            (
                (*name).to_owned(),
                TensorInfo {
                    dtype: *dtype,
                    shape: shape.to_vec(),
                },
            )
        })
        .collect()
}

/// Tensors of one value, of which only the names count.
pub fn named(names: &[&str]) -> Signature {
    let tensors: Vec<(&str, DType, &[usize])> = names
        .iter()
        .map(|name| (*name, DType::F32, &[1][..]))
        .collect();
    headers(&tensors)
}
