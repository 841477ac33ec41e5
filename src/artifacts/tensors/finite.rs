//! Looks for values that are NaN or infinite.

use rayon::prelude::*;

use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
    storage::Location,
};

/// Elements a task looks at.
pub(super) const CHUNK: usize = 1 << 16;

/// The first tensor, in order of name, with a NaN or infinite value, and that value's position.
pub fn first_not_finite(checkpoint: &Checkpoint) -> Option<(String, usize)> {
    let tensors: Vec<_> = checkpoint.iter().collect();
    tensors
        .into_iter()
        .find_map(|(name, tensor)| position_not_finite(tensor).map(|at| (name.to_owned(), at)))
}

/// Refuses NaN and infinite values.
///
/// # Errors
/// `not_finite`, with the tensor and the position.
pub fn check_finite(checkpoint: &Checkpoint, location: &Location) -> Result<(), ArtifactError> {
    let Some((name, position)) = first_not_finite(checkpoint) else {
        return Ok(());
    };
    let detail = format!("element {position} is NaN or infinite; every value must be finite");

    Err(ArtifactError::tensor(
        FailureCode::NotFinite,
        location,
        &name,
        detail,
    ))
}

fn position_not_finite(tensor: &HostTensor) -> Option<usize> {
    let starts = (0..tensor.len()).into_par_iter().step_by(CHUNK);
    starts.find_map_first(|start| {
        let bytes = tensor.bytes_of(start..(start + CHUNK).min(tensor.len()));
        tensor.dtype().first_not_finite(&bytes).map(|at| start + at)
    })
}
