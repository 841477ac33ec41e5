//! Whether two models of the same tensors compute the same.

use super::{Configured, TRAJECTORY};
use crate::{
    contract::codes::FailureCode,
    engine::{network::Graph, tensors::Signature},
    pipeline::failure::{self, Failure},
};

/// Refuses a tuned model that computes otherwise than the new base from tensors of the same shapes: another
/// number of heads, activation or padding. It would be judged, and its steps taken, as another function.
///
/// What two releases of one base may differ in is told instead: the update can be carried, but the old
/// models are judged as the new base computes.
///
/// # Errors
/// `incompatible_models`, `malformed_config`.
pub fn check(tuned: Configured<'_>, target: Configured<'_>) -> Result<Option<String>, Failure> {
    // What has other tensors is compared by them.
    if !tuned.signature.keys().eq(target.signature.keys())
        || !ranks(tuned.signature).eq(ranks(target.signature))
    {
        return Ok(None);
    }

    let own = Graph::from_config(tuned.config, tuned.signature)
        .map_err(failure::graph(TRAJECTORY, "the tuned model"))?;
    let new = Graph::from_config(target.config, target.signature)
        .map_err(failure::graph("/target/base", "the new base"))?;

    match own.difference(&new) {
        None => Ok(None),
        Some(difference) if difference.is_an_update => Ok(Some(format!(
            "the new base (there) does not compute as the tuned model (here): {}; the old models were \
             judged as the new base computes",
            difference.detail
        ))),
        Some(difference) => Err(Failure::Input {
            code: FailureCode::IncompatibleModels,
            pointer: Some(TRAJECTORY.into()),
            detail: format!(
                "the tuned model (here) does not compute as the new base (there): {}; their \
                 configurations must agree",
                difference.detail
            ),
        }),
    }
}

fn ranks(signature: &Signature) -> impl Iterator<Item = usize> {
    signature.values().map(|info| info.shape.len())
}
