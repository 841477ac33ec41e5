//! One node forward: by its kernel here, by a transformer's (`transformer`), or by burn.

use super::{activation::CpuActivation, conv2d::Convolution, linear, transformer};
use crate::{
    execution::weights::Weights,
    network::{
        Inputs, Instruction, Layer,
        op::Pair,
        program::layer::{Conv2d, Nonlinearity},
    },
};

/// Runs a layer other than batch norm, which needs its moments.
pub(super) fn run(
    instruction: &Instruction,
    inputs: Inputs<CpuActivation>,
    weights: &Weights,
) -> CpuActivation {
    match &instruction.layer {
        Layer::Add => inputs.reduce(CpuActivation::plus),
        Layer::Linear(layer) => linear::Linear::new(layer, weights).forward(&inputs.first),
        Layer::Conv2d(layer @ Conv2d { groups: 1, .. }) => {
            Convolution::new(layer, weights).forward(&inputs.first)
        }
        Layer::Nonlinear(Nonlinearity::Relu) => inputs.first.map(|v| v.max(0.0)),
        Layer::GlobalAvgPool { .. } => inputs.first.mean_over_space(),
        Layer::AdaptiveAvgPool {
            input: [channels, ..],
            output: Pair(1, 1),
        } => inputs.first.mean_over_space().reshaped(&[*channels, 1, 1]),
        Layer::Flatten => inputs.first.flattened(),
        Layer::Identity => inputs.first,
        _ => transformer::run(instruction, inputs, weights),
    }
}
