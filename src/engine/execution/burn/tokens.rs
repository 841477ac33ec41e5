//! Layers on tokens, other than attention itself.

use burn::tensor::{Device, Tensor, TensorData, module, ops::ConvOptions};

use super::{activation::BurnActivation, layers::along, packed_tokens::PackedTokens};
use crate::{
    execution::{resampling, weights::Weights},
    network::{
        Inputs, Token,
        op::{Position, Resampled},
        program::layer::{
            self, Norm, NormKind, PatchEmbed, PositionEmbedding, SelectToken, ShiftTokens,
        },
        token::ABSENT,
    },
};

/// Over the channels: the last axis of tokens, else the first of a sample.
pub(super) fn norm(x: BurnActivation, layer: &Norm, weights: &Weights) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(norm_along(1, x, layer, weights)),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(norm_along(2, x, layer, weights)),
        BurnActivation::Image(x) => BurnActivation::Image(norm_along(1, x, layer, weights)),
    }
}

/// Over one axis; the weight has as many entries as it.
pub(super) fn norm_along<const D: usize>(
    axis: usize,
    x: Tensor<D>,
    layer: &Norm,
    weights: &Weights,
) -> Tensor<D> {
    let x = match layer.kind {
        NormKind::Layer => x.clone() - x.mean_dim(axis),
        NormKind::RootMeanSquare { .. } => x,
    };

    let variance = (x.clone() * x.clone()).mean_dim(axis);
    let weight = along(axis, factors(layer, weights));
    let scaled = x / (variance + layer.eps).sqrt() * weight;

    match &layer.bias {
        Some(bias) => scaled + along(axis, weights.tensor(bias)),
        None => scaled,
    }
}

/// What the normalised channels are multiplied by.
fn factors(layer: &Norm, weights: &Weights) -> Tensor<1> {
    let weight = weights.tensor(&layer.weight);
    match layer.kind {
        NormKind::RootMeanSquare { unit_offset: true } => weight + 1.0,
        _ => weight,
    }
}

/// `[B, S]` to `[B, S, D]`; a masked position reads its id's row, one without a token that of id 0.
/// That of `padding` is read as a constant.
pub(super) fn embedding(packed: Tensor<2>, table: Tensor<2>, padding: Option<u32>) -> Tensor<3> {
    let ids = PackedTokens::of(packed).ids;
    let found = rows(ids.clone(), table.clone());
    let Some(padding) = padding else {
        return found;
    };
    let [batch, length] = ids.dims();
    let is_padding = ids.clone().equal_elem(padding as f32).float();
    let is_padding = is_padding.reshape([batch, length, 1]);
    let constant = rows(ids, table.detach());
    found * (1.0 - is_padding.clone()) + constant * is_padding
}

/// For the positions of ids `[B, S]` or tokens `[B, S, D]`, computed.
pub(super) fn sinusoids(x: BurnActivation, width: usize) -> Tensor<3> {
    let (device, [batch, length]) = match x {
        BurnActivation::Tokens(x) => (x.device(), [x.dims()[0], x.dims()[1]]),
        ids => {
            let ids = ids.features();
            (ids.device(), ids.dims())
        }
    };
    let data = TensorData::new(layer::sinusoids(length, width), [1, length, width]);
    Tensor::<3>::from_data(data, &device).expand([batch, length, width])
}

/// `[B, C, H, W]` to `[B, H · W, C]`.
pub(super) fn of_image(x: Tensor<4>) -> Tensor<3> {
    x.flatten::<3>(2, 3).swap_dims(1, 2)
}

/// `[B, S]` to `[B, S, D]`, by the types beside the ids.
pub(super) fn token_types(packed: Tensor<2>, table: Tensor<2>) -> Tensor<3> {
    rows(PackedTokens::of(packed).types, table)
}

/// Rows of a table by their numbers, `[B, S]` to `[B, S, D]`.
fn rows(numbers: Tensor<2>, table: Tensor<2>) -> Tensor<3> {
    let [batch, length] = numbers.dims();
    let width = table.dims()[1];
    let numbers = numbers.int().reshape([batch * length]);
    table.select(0, numbers).reshape([batch, length, width])
}

/// For the positions of ids `[B, S]` or tokens `[B, S, D]`.
pub(super) fn position_embedding(
    x: BurnActivation,
    layer: &PositionEmbedding,
    weights: &Weights,
) -> Tensor<3> {
    match layer {
        PositionEmbedding::Rows {
            table,
            offset,
            constant,
            ..
        } => {
            let [batch, length] = match x {
                BurnActivation::Tokens(x) => [x.dims()[0], x.dims()[1]],
                ids => ids.features().dims(),
            };
            let rows = if *constant { 1 } else { length };
            let [_, _, width] = table.shape;
            weights
                .tensor(table)
                .narrow(1, *offset, rows)
                .expand([batch, length, width])
        }
        PositionEmbedding::Counted { table, padding } => {
            counted_positions(x.features(), weights.tensor(table), *padding)
        }
    }
}

/// Positions counted over the ids that are not `padding`, from the row after its own; the others read
/// that row itself.
fn counted_positions(packed: Tensor<2>, table: Tensor<2>, padding: u32) -> Tensor<3> {
    let counts = PackedTokens::of(packed).other_than(padding);
    let numbers = counts.clone().cumsum(1) * counts + padding as f32;
    rows(numbers, table)
}

/// The rows of a table `[1, P, D]` for the positions of another grid, for tokens `[B, S, D]`.
pub(super) fn resampled(x: BurnActivation, table: Tensor<3>, grid: &Resampled) -> Tensor<3> {
    let batch = match x {
        BurnActivation::Tokens(x) => x.dims()[0],
        x => x.features().dims()[0],
    };
    let [_, count, width] = table.dims();
    let prefix = grid.prefix;
    let shares = resampling::shares(grid);
    let positions = shares.len() / (count - prefix);
    let shares = TensorData::new(shares, [positions, count - prefix]);
    let shares = Tensor::<2>::from_data(shares, &table.device());

    let rows = table.clone().narrow(1, prefix, count - prefix);
    let rows = shares.matmul(rows.reshape([count - prefix, width]));
    let rows = rows.reshape([1, positions, width]);
    let kept = (prefix > 0).then(|| table.narrow(1, 0, prefix));
    let all = Tensor::cat(kept.into_iter().chain([rows]).collect(), 1);

    all.expand([batch, prefix + positions, width])
}

/// `[B, S, D]` to `[B, S + R, D]`; the tokens are `[1, R, D]`, and `at` others stay before them.
pub(super) fn class_token(x: Tensor<3>, token: Tensor<3>, at: usize) -> Tensor<3> {
    let [batch, length, width] = x.dims();
    let count = token.dims()[1];
    let token = token.expand([batch, count, width]);
    let before = (at > 0).then(|| x.clone().narrow(1, 0, at));
    let behind = (at < length).then(|| x.narrow(1, at, length - at));
    let all = before.into_iter().chain([token]).chain(behind);
    Tensor::cat(all.collect(), 1)
}

/// `[B, C, H, W]` to `[B, S, D]`.
pub(super) fn patch_embed(x: Tensor<4>, layer: &PatchEmbed, weights: &Weights) -> Tensor<3> {
    let [_, _, height, width] = layer.weight.shape;
    let options = ConvOptions::new([height, width], [0, 0], [1, 1], 1);
    let bias = layer.bias.as_ref().map(|bias| weights.tensor(bias));
    of_image(module::conv2d(
        x,
        weights.tensor(&layer.weight),
        bias,
        options,
    ))
}

/// Tokens that become one vector, with their ids where these say which of them count.
pub(super) struct Pooled {
    /// `[B, S, D]`
    tokens: Tensor<3>,
    /// Packed, `[B, S]`.
    ids: Option<Tensor<2>>,
}

impl Pooled {
    /// Tokens of this width and, as second input, their ids.
    pub fn of(inputs: Inputs<BurnActivation>, width: usize) -> Self {
        let Inputs { first, mut rest } = inputs;
        Self {
            tokens: first.tokens(width),
            ids: rest.pop().map(BurnActivation::features),
        }
    }
}

/// `[B, S, D]` to `[B, D]`.
pub(super) fn select(select: SelectToken, pooled: Pooled) -> Tensor<2> {
    let SelectToken {
        position,
        padding,
        token,
    } = select;
    let Pooled { tokens: x, ids } = pooled;
    let [batch, length, width] = x.dims();
    let Some(packed) = ids.filter(|_| position != Position::First) else {
        let at = if position == Position::First {
            0
        } else {
            length - 1
        };
        return x.narrow(1, at, 1).reshape([batch, width]);
    };

    let positions = positions(length, &packed.device());
    let tokens = PackedTokens::of(packed);
    let counted = match (position, padding, token) {
        (Position::End, Some(padding), _) => tokens.other_than(padding),
        (Position::End, None, Some(id)) => tokens.present.clone() - tokens.other_than(id),
        (Position::End, None, None) => tokens.present,
        _ => tokens.seen,
    };

    let last = (positions.clone() * counted).max_dim(1);
    let chosen = positions
        .expand([batch, length])
        .equal(last.expand([batch, length]))
        .float();

    weighted_sum(x, chosen)
}

/// `[1, S]`: 0, 1, 2 …
fn positions(length: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..length).map(|p| p as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, length]), device)
}

/// Packed ids `[B, S]`, each that of the position before.
pub(super) fn shifted(packed: Tensor<2>, shift: ShiftTokens) -> Tensor<2> {
    let [batch, length] = packed.dims();
    let packed = match shift.padding {
        Some(padding) => filled(packed, padding),
        None => packed,
    };
    let first = match shift.first {
        Some(first) => packed.clone().narrow(1, 0, 1).zeros_like() + seen(first),
        None => last_token(packed.clone(), shift.padding.unwrap_or_default()),
    };
    if length == 1 {
        return first.reshape([batch, 1]);
    }

    Tensor::cat(vec![first, packed.narrow(1, 0, length - 1)], 1)
}

/// The number of a token of this id that attention sees.
fn seen(id: u32) -> f32 {
    Token {
        id,
        ..Token::default()
    }
    .packed()
}

/// Packed ids `[B, S]` with the padding's where there is no token.
fn filled(packed: Tensor<2>, padding: u32) -> Tensor<2> {
    let present = packed.clone().greater_elem(ABSENT).float();
    packed * present.clone() + (1.0 - present) * seen(padding)
}

/// Of packed ids `[B, S]` the one behind which only padding stands, `[B, 1]`: as many others stand up to it as there
/// are, as `shift_tokens_right` of mBART in transformers counts.
fn last_token(packed: Tensor<2>, padding: u32) -> Tensor<2> {
    let others = PackedTokens::of(packed.clone()).other_than(padding);
    let last = (others.sum_dim(1) - 1.0).clamp_min(0.0);
    packed.gather(1, last.int())
}

/// `[B, S, D]`, 0 where a position is padded.
pub(super) fn masked(pooled: Pooled) -> Tensor<3> {
    let Pooled { tokens: x, ids } = pooled;
    let [batch, length, _] = x.dims();
    match ids {
        Some(ids) => {
            let seen = ids.greater_equal_elem(0.0).float();
            x * seen.reshape([batch, length, 1])
        }
        None => x,
    }
}

/// `[B, S, D]` to `[B, D]`, without the first `skip` tokens; zero where every position is padded.
pub(super) fn mean(pooled: Pooled, skip: usize) -> Tensor<2> {
    let Pooled { tokens: x, ids } = pooled;
    let [batch, length, width] = x.dims();
    let Some(ids) = ids else {
        let counted = x.narrow(1, skip, length - skip);
        return counted.mean_dim(1).reshape([batch, width]);
    };
    let present = ids.greater_equal_elem(0.0).float();
    let count = present.clone().sum_dim(1).clamp_min(1.0);
    weighted_sum(x, present / count)
}

/// `Σ shares[b, s] · x[b, s, :]`.
fn weighted_sum(x: Tensor<3>, shares: Tensor<2>) -> Tensor<2> {
    let [batch, length, width] = x.dims();
    (x * shares.reshape([batch, length, 1]))
        .sum_dim(1)
        .reshape([batch, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::floats;

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    #[test]
    fn padding_is_left_out() {
        let ids = || Some(tensor(&[7.0, 0.0, -1.0, -1.0, -1.0, 2.0], [2, 3]));
        let of = |ids| Pooled {
            tokens: tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3, 1]),
            ids,
        };
        assert_eq!(floats(mean(of(None), 0)), [2.0, 5.0]);
        assert_eq!(floats(mean(of(ids()), 0)), [1.5, 6.0]);
        assert_eq!(floats(mean(of(None), 1)), [2.5, 5.5]);
        let select_by = |position, padding, token, ids| {
            let layer = SelectToken {
                position,
                padding,
                token,
            };
            floats(select(layer, of(ids)))
        };
        let select = |position, padding, ids| select_by(position, padding, None, ids);
        assert_eq!(select(Position::First, None, None), [1.0, 4.0]);
        assert_eq!(select(Position::Last, None, None), [3.0, 6.0]);
        assert_eq!(select(Position::Last, None, ids()), [2.0, 6.0]);
        // Masked ids are 0 here: only the id counts, not the mask.
        assert_eq!(select(Position::End, Some(0), ids()), [1.0, 6.0]);
        assert_eq!(select(Position::End, Some(2), ids()), [3.0, 5.0]);
        assert_eq!(select(Position::End, Some(9), ids()), [3.0, 6.0]);
        // The last of an id, masked or not; the first position where there is none.
        assert_eq!(select_by(Position::End, None, Some(0), ids()), [3.0, 5.0]);
        assert_eq!(select_by(Position::End, None, Some(7), ids()), [1.0, 4.0]);
        let filled = Some(tensor(&[7.0, ABSENT, ABSENT, 4.0, -5.0, ABSENT], [2, 3]));

        assert_eq!(select(Position::End, None, filled), [1.0, 5.0]);
    }

    #[test]
    fn ids_are_shifted_with_their_masks() {
        let ids = tensor(&[4.0, -6.0, 3.0, 8.0, ABSENT, ABSENT], [2, 3]);
        let shift = |first, padding| ShiftTokens { first, padding };
        let found = shifted(ids.clone(), shift(Some(9), None));
        assert_eq!(floats(found), [9.0, 4.0, -6.0, 9.0, 8.0, ABSENT]);
        let one = shifted(tensor(&[4.0], [1, 1]), shift(Some(9), None));
        assert_eq!(floats(one), [9.0]);

        let found = shifted(ids.clone(), shift(Some(9), Some(1)));
        assert_eq!(floats(found), [9.0, 4.0, -6.0, 9.0, 8.0, 1.0]);
        // The last of each that is no padding comes to its beginning.
        let found = shifted(ids, shift(None, Some(1)));
        assert_eq!(floats(found), [3.0, 4.0, -6.0, 8.0, 8.0, 1.0]);
        let tokens = tensor(&[1.0, 2.0, 3.0], [1, 3, 1]);
        let ids = Some(tensor(&[4.0, -6.0, ABSENT], [1, 3]));

        assert_eq!(floats(masked(Pooled { tokens, ids })), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn positions_are_counted_over_ids_that_are_no_padding() {
        // Padding is id 1: its row is 1, and the first token's is 2.
        let table = tensor(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [6, 1]);
        // Padded on the left; then a masked token that is no padding, and a filled position.
        let ids = tensor(&[-2.0, -2.0, 5.0, 6.0, 5.0, -7.0, 1.0, ABSENT], [2, 4]);
        let found = floats(counted_positions(ids, table, 1));
        assert_eq!(found, [1.0, 1.0, 2.0, 3.0, 2.0, 3.0, 1.0, 1.0]);
    }
}
