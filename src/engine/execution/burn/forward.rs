//! Walks a program on a burn device.

use burn::tensor::{Tensor, module::adaptive_avg_pool2d};

use super::{
    activation::BurnActivation::{self, Features, Image, Tokens},
    attention::{Operands, attention},
    batch_norm::BatchNorm,
    experts::experts,
    image_norms, layers, tokens, windows,
};
use crate::{
    execution::{samples::Samples, statistics::Statistics, weights::Weights},
    network::{Inputs, Instruction, Layer, Operand, Program},
};

/// The logits `[B, classes]` of a batch; of tokens `[B, S · vocabulary]`.
///
/// # Panics
/// When the input is not what the program reads, or the weights are another program's.
pub fn forward(
    program: &Program,
    weights: &Weights,
    samples: impl Into<Samples<BurnActivation>>,
    mut statistics: Statistics<'_>,
) -> Tensor<2> {
    let last_reader = program.last_readers();
    let mut alive = samples.into().operands();

    for instruction in &program.instructions {
        let position = instruction.position;
        let inputs = instruction.inputs.map(|operand| alive[operand].clone());
        alive.retain(|operand, _| {
            last_reader
                .get(operand)
                .is_some_and(|&last| last > position)
        });

        let output = run(instruction, inputs, weights, &mut statistics);
        alive.insert(Operand::Node(position), output);
    }

    alive[&program.output()].clone().features()
}

/// One node.
#[expect(clippy::too_many_lines, reason = "an arm for every layer")]
pub(in crate::execution) fn run(
    instruction: &Instruction,
    inputs: Inputs<BurnActivation>,
    weights: &Weights,
    statistics: &mut Statistics<'_>,
) -> BurnActivation {
    let width = instruction.channels();

    match &instruction.layer {
        Layer::Add => inputs.reduce(BurnActivation::plus),
        Layer::Gate => inputs.reduce(BurnActivation::times),
        Layer::ChannelGate { input } => {
            let Inputs { first, mut rest } = inputs;
            let values = rest.pop().expect("a resolved gate has two inputs");
            Image(layers::gated(first.image(*input), values.features()))
        }
        Layer::Concat => layers::concatenated(inputs),
        Layer::Identity => inputs.first,
        Layer::Flatten => Features(inputs.first.features()),
        Layer::Nonlinear(function) => layers::nonlinear(inputs.first, *function),
        Layer::Scale { factor } => layers::scaled(inputs.first, *factor),
        Layer::SoftCap { cap } => layers::capped(inputs.first, *cap),
        Layer::Split { part, .. } => layers::split(inputs.first, *part, width),
        Layer::Linear(layer) => layers::linear(inputs.first, layer, weights),

        Layer::Conv2d(layer) => Image(layers::conv2d(
            inputs.first.image(layer.input),
            layer,
            weights,
        )),
        Layer::BatchNorm(layer) => {
            let norm = BatchNorm {
                node: instruction.position,
                layer,
                weights,
            };
            match inputs.first {
                Image(x) => Image(norm.apply(x, statistics)),
                x => Features(norm.apply(x.features(), statistics)),
            }
        }
        Layer::Pool(pool) => Image(layers::pool(inputs.first.image(pool.input), pool)),
        Layer::AdaptiveAvgPool { input, output } => Image(adaptive_avg_pool2d(
            inputs.first.image(*input),
            output.array(),
        )),
        Layer::GlobalAvgPool { input } => {
            Features(layers::global_avg_pool(inputs.first.image(*input)))
        }

        Layer::Norm(layer) => tokens::norm(inputs.first, layer, weights),
        Layer::GroupNorm(layer) => Image(image_norms::group_norm(
            inputs.first.image(layer.input),
            layer,
            weights,
        )),
        Layer::ResponseNorm(layer) => Image(image_norms::response_norm(
            inputs.first.image(layer.input),
            layer,
            weights,
        )),
        Layer::LayerScale { gamma } => {
            layers::scaled_by_channel(inputs.first, weights.tensor(gamma))
        }
        Layer::Embedding(layer) => {
            let table = weights.tensor(&layer.table);
            let ids = inputs.first.features();
            Tokens(tokens::embedding(ids, table, layer.padding))
        }
        Layer::Sinusoids => Tokens(tokens::sinusoids(inputs.first, width)),
        Layer::ToTokens { input } => Tokens(tokens::of_image(inputs.first.image(*input))),
        Layer::MergeTokens { grid } => {
            Tokens(windows::merged(inputs.first.tokens(width / 4), *grid))
        }
        Layer::Offset { bias } => {
            Tokens(inputs.first.tokens(width) + layers::along(2, weights.tensor(bias)))
        }
        Layer::TokenTypeEmbedding { table } => Tokens(tokens::token_types(
            inputs.first.features(),
            weights.tensor(table),
        )),
        Layer::PositionEmbedding(layer) => {
            Tokens(tokens::position_embedding(inputs.first, layer, weights))
        }
        Layer::ResampledPositions { table, grid } => {
            Tokens(tokens::resampled(inputs.first, weights.tensor(table), grid))
        }
        Layer::ClassToken { token, at } => Tokens(tokens::class_token(
            inputs.first.tokens(width),
            weights.tensor(token),
            *at,
        )),
        Layer::PatchEmbed(layer) => Tokens(tokens::patch_embed(
            inputs.first.image(layer.input),
            layer,
            weights,
        )),
        Layer::Table { table } => Tokens(weights.tensor(table).unsqueeze()),
        Layer::ShiftTokens(shift) => Features(tokens::shifted(inputs.first.features(), *shift)),
        Layer::MaskTokens => Tokens(tokens::masked(tokens::Pooled::of(inputs, width))),
        Layer::Attention(layer) => Tokens(attention(layer, Operands::of(layer, inputs), weights)),
        Layer::Experts(layer) => {
            let Inputs { first, rest } = inputs;
            let inside = layer
                .experts
                .first()
                .map_or(0, |expert| expert.gate.inputs());
            let router = rest
                .into_iter()
                .next()
                .expect("a resolved layer has its logits");
            let (x, logits) = (first.tokens(inside), router.tokens(layer.experts.len()));
            Tokens(experts(x, logits, layer, weights))
        }
        Layer::SelectToken(layer) => {
            Features(tokens::select(*layer, tokens::Pooled::of(inputs, width)))
        }
        Layer::MeanTokens { skip } => {
            Features(tokens::mean(tokens::Pooled::of(inputs, width), *skip))
        }
    }
}
