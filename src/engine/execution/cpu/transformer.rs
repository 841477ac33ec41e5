//! Which kernel runs which layer of a transformer. What has none is run by burn.

use super::{
    activation::CpuActivation,
    attention::{Attention, RowSoftmax},
    burn_fallback, channels,
    embedding::{Rows, positions, sinusoids},
    functions,
    norm::RowNorm,
    patches::Patches,
    planes,
    pooling::{self, Shares},
};
use crate::{
    execution::weights::Weights,
    network::{
        Inputs, Instruction, Layer, Operand,
        program::layer::{self, Nonlinearity, Norm},
    },
};

/// One node forward.
pub(super) fn run(
    instruction: &Instruction,
    inputs: Inputs<CpuActivation>,
    weights: &Weights,
) -> CpuActivation {
    let second = inputs.rest.first();

    match &instruction.layer {
        Layer::Nonlinear(function) => nonlinear(*function, inputs.first),
        Layer::Gate => inputs.reduce(|a, b| a.zip(&b, |a, b| a * b)),
        Layer::ChannelGate { .. } => inputs.reduce(planes::gated),
        Layer::Concat => planes::concatenated(&inputs),
        Layer::Scale { factor } => scaled(inputs.first, *factor),
        Layer::SoftCap { cap } => capped(inputs.first, *cap as f32),
        Layer::Split { part, .. } => channels::part(&inputs.first, *part, instruction.channels()),
        Layer::LayerScale { gamma } if inputs.first.shape().len() == 2 => {
            channels::scaled(inputs.first, &weights.host(gamma))
        }
        Layer::Norm(layer) if is_last_axis(layer, &inputs.first) => {
            RowNorm::new(layer, weights).forward(&inputs.first)
        }
        Layer::Attention(layer) if !layer.is_left_to_burn() => attention(layer, &inputs, weights).0,
        Layer::Embedding(layer) => {
            Rows::of_ids(layer, &inputs.first).forward(&weights.host(&layer.table))
        }
        Layer::Sinusoids => sinusoids(&inputs.first, instruction.channels()),
        Layer::ToTokens { .. } => channels::last(&inputs.first),
        Layer::Offset { bias } => channels::offset(inputs.first, &weights.host(bias)),
        Layer::TokenTypeEmbedding { table } => {
            Rows::of_types(table, &inputs.first).forward(&weights.host(table))
        }
        Layer::PositionEmbedding(layer) => positions(layer, &inputs.first, weights),
        Layer::ClassToken { token, at } => {
            pooling::with_tokens(&inputs.first, &weights.host(token), *at)
        }
        Layer::PatchEmbed(layer) => Patches::new(layer, weights).forward(&inputs.first),
        Layer::SelectToken(chosen) => {
            Shares::of_one(chosen, &inputs.first, second).forward(&inputs.first)
        }
        Layer::MeanTokens { skip } => {
            Shares::of_mean(&inputs.first, second, *skip).forward(&inputs.first)
        }
        _ => burn_fallback::forward(instruction, &inputs, weights),
    }
}

/// An attention layer, and the softmax of its rows, which the backward pass reads.
pub(super) fn attention(
    layer: &layer::Attention,
    inputs: &Inputs<CpuActivation>,
    weights: &Weights,
) -> (CpuActivation, Vec<RowSoftmax>) {
    Attention::new(layer, inputs, weights).forward()
}

fn nonlinear(function: Nonlinearity, x: CpuActivation) -> CpuActivation {
    match function {
        Nonlinearity::Relu => x.map(|v| v.max(0.0)),
        Nonlinearity::Gelu => x.map(functions::gelu),
        Nonlinearity::GeluTanh => x.map(functions::gelu_tanh),
        Nonlinearity::Silu => x.map(functions::silu),
        Nonlinearity::Tanh => x.map(functions::tanh),
        Nonlinearity::Sigmoid => x.map(functions::sigmoid),
        Nonlinearity::HardSigmoid => x.map(functions::hard_sigmoid),
        Nonlinearity::HardSwish => x.map(functions::hard_swish),
        Nonlinearity::Relu6 => x.map(functions::relu6),
        Nonlinearity::QuickGelu => x.map(functions::quick_gelu),
    }
}

pub(super) fn scaled(x: CpuActivation, factor: f64) -> CpuActivation {
    let factor = factor as f32;
    x.map(|v| v * factor)
}

/// `cap · tanh(x / cap)`
fn capped(x: CpuActivation, cap: f32) -> CpuActivation {
    x.map(|v| cap * functions::tanh(v / cap))
}

/// Whether a norm is over the last axis: of images it is over the first.
pub(super) fn is_last_axis(layer: &Norm, x: &CpuActivation) -> bool {
    x.shape().len() <= 2 && x.shape().last() == Some(&layer.weight.len())
}

/// The activations that the backward step of a layer reads; `None` of a layer that is not a transformer's.
pub(super) fn read_by_backward(instruction: &Instruction) -> Option<Vec<Operand>> {
    let inputs = instruction.inputs.iter().copied();

    match &instruction.layer {
        Layer::Attention(layer) if !layer.is_left_to_burn() => Some(
            inputs
                .chain([Operand::Node(instruction.position)])
                .collect(),
        ),
        Layer::Scale { .. }
        | Layer::Split { .. }
        | Layer::ClassToken { .. }
        | Layer::Concat
        | Layer::Offset { .. }
        | Layer::Sinusoids
        | Layer::ToTokens { .. } => Some(Vec::new()),
        _ => None,
    }
}
