//! Layers that burn runs and differentiates, one at a time. The backward pass runs the layer once more,
//! which is cheaper than storing what it did.

use burn::tensor::{Device, Gradients as BurnGradients, Tensor};

use super::{activation::CpuActivation, gradients::Gradients};
use crate::{
    execution::{
        burn::{BurnActivation, run},
        statistics::Statistics,
        values::floats,
        weights::Weights,
    },
    network::{Inputs, Instruction},
};

pub(super) fn forward(
    instruction: &Instruction,
    inputs: &Inputs<CpuActivation>,
    weights: &Weights,
) -> CpuActivation {
    let inputs =
        inputs.map(|x| BurnActivation::upload(x.values().to_vec(), x.shape(), &Device::flex()));

    match run(instruction, inputs, weights, &mut Statistics::Running) {
        BurnActivation::Features(y) => downloaded(y),
        BurnActivation::Tokens(y) => downloaded(y),
        BurnActivation::Image(y) => downloaded(y),
    }
}

fn downloaded<const D: usize>(y: Tensor<D>) -> CpuActivation {
    let dims = y.dims();
    CpuActivation::new(floats(y), &dims[1..])
}

/// The gradients of the inputs, none of those that the output does not depend on smoothly (ids);
/// those of the layer's own tensors are added up.
pub(super) fn backward(
    instruction: &Instruction,
    inputs: &Inputs<CpuActivation>,
    dy: &CpuActivation,
    weights: &Weights,
    gradients: &mut Gradients,
) -> Vec<Option<CpuActivation>> {
    let weights = weights.leaves_of(&instruction.params);
    let leaves = inputs.map(leaf);

    // d Σ(dy · y) / dx = dyᵀ ∂y/∂x, with dy a constant.
    let loss = match run(
        instruction,
        leaves.clone(),
        &weights,
        &mut Statistics::Running,
    ) {
        BurnActivation::Features(y) => (y * dy.tensor::<2>().autodiff()).sum(),
        BurnActivation::Tokens(y) => (y * dy.tensor::<3>().autodiff()).sum(),
        BurnActivation::Image(y) => (y * dy.tensor::<4>().autodiff()).sum(),
    };

    let mut found = loss.backward();
    for param in &instruction.params {
        let Some(flat) = weights.flat(&param.name) else {
            continue;
        };
        match flat.grad_remove(&mut found) {
            Some(gradient) => gradients.add_tensor(&param.name, gradient),
            None if param.expert.is_some() => {
                gradients.add_tensor(&param.name, flat.inner().zeros_like());
            }
            None => {}
        }
    }

    leaves.iter().map(|leaf| taken(leaf, &mut found)).collect()
}

fn leaf(x: &CpuActivation) -> BurnActivation {
    match x.shape().len() {
        1 => BurnActivation::Features(x.tensor::<2>().autodiff().require_grad()),
        2 => BurnActivation::Tokens(x.tensor::<3>().autodiff().require_grad()),
        _ => BurnActivation::Image(x.tensor::<4>().autodiff().require_grad()),
    }
}

fn taken(leaf: &BurnActivation, found: &mut BurnGradients) -> Option<CpuActivation> {
    match leaf {
        BurnActivation::Features(x) => x.grad_remove(found).map(downloaded),
        BurnActivation::Tokens(x) => x.grad_remove(found).map(downloaded),
        BurnActivation::Image(x) => x.grad_remove(found).map(downloaded),
    }
}
