//! Walks a graph on a burn device.

use std::collections::HashMap;

use burn::tensor::{Tensor, module::adaptive_avg_pool2d};

use super::{
    activation::BurnActivation::{self, Features, Image, Tokens},
    batch_norm::BatchNorm,
    layers, tokens,
};
use crate::{
    execution::{statistics::Statistics, weights::Weights},
    network::{Graph, Op, Operand},
};

/// The logits `[B, classes]` of a batch; of tokens `[B, S · vocabulary]`.
///
/// # Panics
/// When the input or a tensor does not have the shape that [`Graph::shapes`] checked.
pub fn forward(
    graph: &Graph,
    weights: &Weights,
    input: BurnActivation,
    mut statistics: Statistics<'_>,
) -> Tensor<2> {
    let last_reader = graph.last_readers();
    let mut alive = HashMap::from([(Operand::Input, input)]);

    for (position, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<BurnActivation> =
            node.inputs.iter().map(|operand| alive[operand].clone()).collect();
        alive.retain(|operand, _| last_reader.get(operand).is_some_and(|&last| last > position));

        let output = run(position, &node.op, inputs, weights, &mut statistics);
        alive.insert(Operand::Node(position), output);
    }

    let last = Operand::Node(graph.nodes.len() - 1);
    alive.remove(&last).expect("a graph has nodes").features()
}

/// One node.
pub(in crate::execution) fn run(
    position: usize,
    op: &Op,
    mut inputs: Vec<BurnActivation>,
    weights: &Weights,
    statistics: &mut Statistics<'_>,
) -> BurnActivation {
    match op {
        Op::Add {} => return inputs.into_iter().reduce(layers::add).expect("add has inputs"),
        Op::Gate {} => return inputs.into_iter().reduce(layers::gate).expect("gate has inputs"),
        op if op.is_of_tokens() => return tokens::run(op, inputs, weights),
        _ => {}
    }

    let x = inputs.remove(0);
    match op {
        Op::Linear { .. } => layers::linear(x, weights, op),
        Op::Conv2d { .. } => Image(layers::conv2d(x.image(), weights, op)),
        Op::BatchNorm { param, eps, .. } => {
            let norm = BatchNorm { node: position, param, eps: *eps, weights };
            match x {
                Features(x) => Features(norm.apply(x, statistics)),
                Image(x) => Image(norm.apply(x, statistics)),
                Tokens(_) => unreachable!("shapes have been checked"),
            }
        }
        Op::Relu {} | Op::Gelu {} | Op::GeluTanh {} | Op::Silu {} | Op::Tanh {} => {
            layers::elementwise(x, op)
        }
        Op::MaxPool { .. } | Op::AvgPool { .. } => Image(layers::pool(x.image(), op)),
        Op::AdaptiveAvgPool { output } => Image(adaptive_avg_pool2d(x.image(), output.array())),
        Op::GlobalAvgPool {} => Features(layers::global_avg_pool(x.image())),
        Op::Flatten {} => Features(x.features()),
        Op::Dropout { .. } => x,
        other => unreachable!("{} is handled above", other.name()),
    }
}
