//! Ops on tokens, other than attention itself.

use burn::tensor::{Device, Tensor, TensorData, module, ops::ConvOptions};

use super::{
    activation::BurnActivation,
    attention::{Operands, attention},
    packed_tokens::PackedTokens,
};
use crate::{
    execution::weights::Weights,
    network::{Op, op::Position},
};

/// Runs an op of tokens.
pub(super) fn run(op: &Op, mut inputs: Vec<BurnActivation>, weights: &Weights) -> BurnActivation {
    use BurnActivation::{Features, Tokens};

    let x = inputs.remove(0);
    match op {
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => norm(op, x, weights),
        Op::LayerScale { param } => Tokens(x.tokens() * along(weights, param, "gamma", 2)),
        Op::Embedding { param } => Tokens(embedding(x.features(), weights, param)),
        Op::PositionEmbedding { param, padding: Some(padding), .. } => {
            Tokens(counted_positions(x.features(), weights, param, *padding))
        }
        Op::PositionEmbedding { .. } => Tokens(position_embedding(op, &x, weights)),
        Op::TokenTypeEmbedding { param } => {
            Tokens(rows(PackedTokens::of(x.features()).types, weights, param))
        }
        Op::ClassToken { param } => Tokens(class_token(x.tokens(), weights, param)),
        Op::PatchEmbed { param } => Tokens(patch_embed(x.image(), weights, param)),
        Op::Attention { mask, .. } => {
            let ids = if *mask { inputs.pop().map(BurnActivation::features) } else { None };
            let operands = match <[BurnActivation; 2]>::try_from(inputs) {
                Ok([keys, values]) => Operands {
                    queries: x.tokens(),
                    keys: keys.tokens(),
                    values: values.tokens(),
                    ids,
                },
                Err(_) => Operands::of_fused(x.tokens(), ids),
            };
            Tokens(attention(op, operands))
        }
        Op::SelectToken { position, padding } => {
            let ids = inputs.pop().map(BurnActivation::features);
            Features(select(x.tokens(), *position, *padding, ids))
        }
        Op::MeanTokens {} => Features(mean(x.tokens(), inputs.pop().map(BurnActivation::features))),
        other => unreachable!("{} is no op of tokens", other.name()),
    }
}

/// A vector of the parameters, along one axis of D.
fn along<const D: usize>(weights: &Weights, param: &str, suffix: &str, axis: usize) -> Tensor<D> {
    let vector = weights.get::<1>(param, suffix).expect("shapes have been checked");
    let mut dims = [1; D];
    dims[axis] = vector.dims()[0];
    vector.reshape(dims)
}

fn norm(op: &Op, x: BurnActivation, weights: &Weights) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(norm_along(op, x, 1, weights)),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(norm_along(op, x, 2, weights)),
        BurnActivation::Image(x) => BurnActivation::Image(norm_along(op, x, 1, weights)),
    }
}

fn norm_along<const D: usize>(op: &Op, x: Tensor<D>, axis: usize, weights: &Weights) -> Tensor<D> {
    let (param, eps, x) = match op {
        Op::LayerNorm { param, eps } => (param, *eps, x.clone() - x.mean_dim(axis)),
        Op::RmsNorm { param, eps } => (param, *eps, x),
        _ => unreachable!("called for norms"),
    };

    let variance = (x.clone() * x.clone()).mean_dim(axis);
    let scaled = x / (variance + eps).sqrt() * along(weights, param, "weight", axis);
    // RMS norm has no bias.
    match weights.get::<1>(param, "bias") {
        Some(_) => scaled + along(weights, param, "bias", axis),
        None => scaled,
    }
}

/// `[B, S]` to `[B, S, D]`; a masked position reads its id's row, one without a token that of id 0.
fn embedding(packed: Tensor<2>, weights: &Weights, param: &str) -> Tensor<3> {
    rows(PackedTokens::of(packed).ids, weights, param)
}

/// Rows of a table by their numbers, `[B, S]` to `[B, S, D]`.
fn rows(numbers: Tensor<2>, weights: &Weights, param: &str) -> Tensor<3> {
    let [batch, length] = numbers.dims();
    let table = weights.get::<2>(param, "weight").expect("shapes have been checked");
    let width = table.dims()[1];
    let numbers = numbers.int().reshape([batch * length]);
    table.select(0, numbers).reshape([batch, length, width])
}

/// Positions counted over the ids that are not `padding`, from the row after its own; the others read
/// that row itself.
fn counted_positions(packed: Tensor<2>, weights: &Weights, param: &str, padding: u32) -> Tensor<3> {
    let counts = PackedTokens::of(packed).other_than(padding);
    let numbers = counts.clone().cumsum(1) * counts + padding as f32;
    rows(numbers, weights, param)
}

fn position_embedding(op: &Op, x: &BurnActivation, weights: &Weights) -> Tensor<3> {
    let Op::PositionEmbedding { param, bare, offset, constant, .. } = op else {
        unreachable!("called for position embeddings")
    };
    let [batch, length] = match x {
        BurnActivation::Features(ids) => ids.dims(),
        BurnActivation::Tokens(tokens) => [tokens.dims()[0], tokens.dims()[1]],
        BurnActivation::Image(_) => unreachable!("shapes have been checked"),
    };
    let table: Tensor<3> = if *bare {
        weights.bare(param).expect("shapes have been checked")
    } else {
        weights.get::<2>(param, "weight").expect("shapes have been checked").unsqueeze()
    };

    let width = table.dims()[2];
    let rows = table.narrow(1, *offset, if *constant { 1 } else { length });
    rows.expand([batch, length, width])
}

fn class_token(x: Tensor<3>, weights: &Weights, param: &str) -> Tensor<3> {
    let [batch, _, width] = x.dims();
    let token = weights.bare::<3>(param).expect("shapes have been checked");
    Tensor::cat(vec![token.expand([batch, 1, width]), x], 1)
}

/// `[B, C, H, W]` to `[B, S, D]`.
fn patch_embed(x: Tensor<4>, weights: &Weights, param: &str) -> Tensor<3> {
    let weight = weights.get::<4>(param, "weight").expect("shapes have been checked");
    let [_, _, height, width] = weight.dims();
    let options = ConvOptions::new([height, width], [0, 0], [1, 1], 1);
    let patches = module::conv2d(x, weight, weights.get::<1>(param, "bias"), options);
    patches.flatten::<3>(2, 3).swap_dims(1, 2)
}

/// `[B, S, D]` to `[B, D]`.
fn select(
    x: Tensor<3>,
    position: Position,
    padding: Option<u32>,
    packed: Option<Tensor<2>>,
) -> Tensor<2> {
    let [batch, length, width] = x.dims();
    let Some(packed) = packed.filter(|_| position != Position::First) else {
        let at = if position == Position::First { 0 } else { length - 1 };
        return x.narrow(1, at, 1).reshape([batch, width]);
    };

    let positions = positions(length, &packed.device());
    let tokens = PackedTokens::of(packed);
    let counted = match (position, padding) {
        (Position::End, Some(padding)) => tokens.other_than(padding),
        (Position::End, None) => tokens.present,
        _ => tokens.seen,
    };

    let last = (positions.clone() * counted).max_dim(1);
    let chosen = positions.expand([batch, length]).equal(last.expand([batch, length])).float();
    weighted_sum(x, chosen)
}

/// `[1, S]`: 0, 1, 2 …
fn positions(length: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..length).map(|p| p as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, length]), device)
}

/// `[B, S, D]` to `[B, D]`; zero where every position is padded.
fn mean(x: Tensor<3>, ids: Option<Tensor<2>>) -> Tensor<2> {
    let [batch, _, width] = x.dims();
    let Some(ids) = ids else { return x.mean_dim(1).reshape([batch, width]) };
    let present = ids.greater_equal_elem(0.0).float();
    let count = present.clone().sum_dim(1).clamp_min(1.0);
    weighted_sum(x, present / count)
}

/// `Σ shares[b, s] · x[b, s, :]`.
fn weighted_sum(x: Tensor<3>, shares: Tensor<2>) -> Tensor<2> {
    let [batch, length, width] = x.dims();
    (x * shares.reshape([batch, length, 1])).sum_dim(1).reshape([batch, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        execution::{Executor, floats},
        network::{Graph, Input, Node, Operand, Task, token::ABSENT},
        tensors::HostTensor,
    };

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    #[test]
    fn padding_is_left_out() {
        let x = || tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3, 1]);
        let ids = || Some(tensor(&[7.0, 0.0, -1.0, -1.0, -1.0, 2.0], [2, 3]));
        assert_eq!(floats(mean(x(), None)), [2.0, 5.0]);
        assert_eq!(floats(mean(x(), ids())), [1.5, 6.0]);
        let select = |position, padding, ids| floats(select(x(), position, padding, ids));
        assert_eq!(select(Position::First, None, None), [1.0, 4.0]);
        assert_eq!(select(Position::Last, None, None), [3.0, 6.0]);
        assert_eq!(select(Position::Last, None, ids()), [2.0, 6.0]);
        // Masked ids are 0 here: only the id counts, not the mask.
        assert_eq!(select(Position::End, Some(0), ids()), [1.0, 6.0]);
        assert_eq!(select(Position::End, Some(2), ids()), [3.0, 5.0]);
        assert_eq!(select(Position::End, Some(9), ids()), [3.0, 6.0]);
        let filled = Some(tensor(&[7.0, ABSENT, ABSENT, 4.0, -5.0, ABSENT], [2, 3]));
        assert_eq!(select(Position::End, None, filled), [1.0, 5.0]);
    }

    #[test]
    fn positions_are_counted_over_ids_that_are_no_padding() {
        // Padding is id 1: its row is 1, and the first token's is 2.
        let table = HostTensor::from_f32(vec![6, 1], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let op = Op::PositionEmbedding {
            param: "p".into(),
            bare: false,
            offset: 2,
            constant: false,
            padding: Some(1),
        };
        let graph = Graph {
            input: Input::Tokens { shape: [4] },
            task: Task::Classification,
            nodes: vec![Node { id: "p".into(), op: op.clone(), inputs: vec![Operand::Input] }],
        };
        let params = [("p.weight".to_owned(), table)].into_iter().collect();
        let weights = Weights::upload(&graph, &params, &Executor::Cpu);
        // Padded on the left; then a masked token that is no padding, and a filled position.
        let ids = tensor(&[-2.0, -2.0, 5.0, 6.0, 5.0, -7.0, 1.0, ABSENT], [2, 4]);
        let BurnActivation::Tokens(found) = run(&op, vec![BurnActivation::Features(ids)], &weights)
        else {
            panic!("tokens")
        };
        assert_eq!(floats(found), [1.0, 1.0, 2.0, 3.0, 2.0, 3.0, 1.0, 1.0]);
    }
}
