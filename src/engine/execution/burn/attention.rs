//! Softmax attention: `softmax(q kᵀ / √d + mask) v`, head by head (Vaswani et al. 2017, section
//! 3.2), with rotary positions (`rotary`), grouped keys and values, and windows.

use burn::tensor::{Tensor, activation::softmax};

use super::{
    activation::BurnActivation,
    distances::{OfDistances, of_distances},
    layers::soft_capped,
    position_bias::position_bias,
    rotary::Angles,
    sight::{AWAY, Sight},
    tokens::norm_along,
};
use crate::{
    execution::weights::Weights,
    network::{
        Inputs,
        op::{FullyMasked, FusedOrder},
        program::layer::Attention,
    },
};

/// Queries, keys and values `[B, S, heads · d]` and, for a mask, the ids `[B, S]`; keys, values and ids may be of
/// another sequence than the queries.
pub(super) struct Operands {
    pub queries: Tensor<3>,
    pub keys: Tensor<3>,
    pub values: Tensor<3>,
    pub ids: Option<Tensor<2>>,
    pub distances: OfDistances,
}

impl Operands {
    /// From `[q, k, v]`, each `[B, S, heads · d]`, or one fused `[B, S, (heads + 2 kv_heads) · d]`; with a
    /// mask the ids come last.
    pub fn of(layer: &Attention, inputs: Inputs<BurnActivation>) -> Self {
        let Inputs { first, mut rest } = inputs;
        let ids = if layer.mask {
            rest.pop().map(BurnActivation::features)
        } else {
            None
        };
        let widths = layer.widths();
        let distances = OfDistances::taken(layer, &mut rest);

        if let Ok([keys, values]) = <[BurnActivation; 2]>::try_from(rest) {
            let queries = first.tokens(widths[0]);
            let [keys, values] = [keys, values].map(|part| part.tokens(widths[1]));
            return Self {
                queries,
                keys,
                values,
                ids,
                distances,
            };
        }

        let fused = first.tokens(widths.iter().sum());
        let [queries, keys, values] = match layer.fused {
            FusedOrder::Parts => {
                let starts = [0, widths[0], widths[0] + widths[1]];
                [0, 1, 2].map(|part| fused.clone().narrow(2, starts[part], widths[part]))
            }
            FusedOrder::Heads => [0, 1, 2].map(|part| part_of_heads(&fused, layer, part)),
        };

        Self {
            queries,
            keys,
            values,
            ids,
            distances,
        }
    }
}

impl Operands {
    /// Queries of a table are the same for all samples.
    fn of_every_sample(self) -> Self {
        let [own, length, width] = self.queries.dims();
        let batch = self.keys.dims()[0];
        if own == batch {
            return self;
        }
        let queries = self.queries.expand([batch, length, width]);
        Self { queries, ..self }
    }
}

/// Queries, keys or values of `[B, S, heads · 3 d]`, as `[B, S, heads · d]`.
fn part_of_heads(fused: &Tensor<3>, layer: &Attention, part: usize) -> Tensor<3> {
    let &Attention {
        heads, head_size, ..
    } = layer;
    let [batch, length, _] = fused.dims();
    let by_head = fused.clone().reshape([batch, length, heads, 3 * head_size]);
    by_head
        .narrow(3, part * head_size, head_size)
        .reshape([batch, length, heads * head_size])
}

/// `[B, S, heads · d]`.
pub(super) fn attention(layer: &Attention, operands: Operands, weights: &Weights) -> Tensor<3> {
    let operands = operands.of_every_sample();
    let Some(windows) = &layer.windows else {
        return attended(layer, operands, weights);
    };
    let Operands {
        queries,
        keys,
        values,
        ..
    } = operands;
    let of_windows = Operands {
        queries: windows.parted(queries),
        keys: windows.parted(keys),
        values: windows.parted(values),
        ids: None,
        distances: OfDistances::default(),
    };

    windows.put_back(attended(layer, of_windows, weights))
}

fn attended(layer: &Attention, operands: Operands, weights: &Weights) -> Tensor<3> {
    let &Attention {
        heads,
        kv_heads,
        causal,
        window,
        ..
    } = layer;
    let Operands {
        queries,
        keys,
        values,
        ids,
        distances,
    } = operands;
    let [batch, length, width] = queries.dims();

    let values = repeated(split(values, kv_heads), heads);
    let of = Scored {
        queries: split(queries, heads),
        keys: split(keys, kv_heads),
        distances,
    };
    let mut scores = scores(layer, of, weights);
    let sight = Sight {
        length,
        causal,
        window,
    };
    if causal || window.is_some() {
        scores = scores.clone() + sight.mask(&scores.device());
    }

    let sinks = layer.sinks.as_ref().map(|sinks| weights.tensor(sinks));
    let Some(ids) = ids else {
        let attended = shares(scores, sinks).matmul(values);
        return attended.swap_dims(1, 2).reshape([batch, length, width]);
    };

    let padded = ids.clone().lower_elem(0.0).float() * AWAY;
    let keys = ids.dims()[1];
    scores = scores + padded.reshape([batch, 1, 1, keys]);
    let mut sees = sight.sees_something(ids.clone());
    if layer.mask_queries {
        let own = ids.greater_equal_elem(0.0).float();
        sees = sees * own.reshape([batch, 1, length, 1]);
    }
    let of_the_blind = match layer.fully_masked {
        FullyMasked::Zero => None,
        FullyMasked::Mean => Some(values.clone().mean_dim(2) * (1.0 - sees.clone())),
    };

    let mut attended = shares(scores, sinks).matmul(values) * sees;
    if let Some(mean) = of_the_blind {
        attended = attended + mean;
    }

    attended.swap_dims(1, 2).reshape([batch, length, width])
}

/// Queries and keys `[B, heads, S, d]`, and what distances are.
struct Scored {
    queries: Tensor<4>,
    keys: Tensor<4>,
    distances: OfDistances,
}

/// The score of each key for each query, `[B, heads, S, S]`, before masks of a sequence.
fn scores(layer: &Attention, of: Scored, weights: &Weights) -> Tensor<4> {
    let Scored {
        mut queries,
        mut keys,
        distances,
    } = of;
    let [length, seen] = [&queries, &keys].map(|part| part.dims()[2]);
    if let Some(norms) = &layer.head_norms {
        queries = norm_along(3, queries, &norms.queries, weights);
        keys = norm_along(3, keys, &norms.keys, weights);
    }
    if let Some(rotary) = &layer.rotary {
        let angles = Angles::new(rotary, length, layer.head_size, &queries.device());
        (queries, keys) = (angles.turn(queries), angles.turn(keys));
    }

    let keys = repeated(keys, layer.heads);
    let mut scores = queries.clone().matmul(keys.clone().swap_dims(2, 3));
    if let Some(layer) = &layer.distances {
        scores = scores + of_distances(layer, distances, [queries, keys]);
    }
    scores = scores * layer.scale;
    if let Some(bias) = &layer.position_bias {
        scores = scores + position_bias(bias, [length, seen], weights);
    }
    if let Some(windows) = &layer.windows {
        scores = windows.biased(scores, weights);
    }

    if let Some(cap) = layer.soft_cap {
        scores = soft_capped(scores, cap);
    }
    match &layer.windows {
        Some(windows) => windows.masked(scores),
        None => scores,
    }
}

/// What each query takes of each key, `[B, heads, S, S]`; a head's sink, `[heads]`, takes the rest.
fn shares(scores: Tensor<4>, sinks: Option<Tensor<1>>) -> Tensor<4> {
    let [batch, heads, length, keys] = scores.dims();
    let Some(sinks) = sinks else {
        return softmax(scores, 3);
    };
    let sinks = sinks
        .reshape([1, heads, 1, 1])
        .expand([batch, heads, length, 1]);
    softmax(Tensor::cat(vec![scores, sinks], 3), 3).narrow(3, 0, keys)
}

/// `[B, S, heads · d]` to `[B, heads, S, d]`.
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads])
        .swap_dims(1, 2)
}

/// Each head as often as it serves consecutive query heads.
fn repeated(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, own, length, size] = x.dims();
    if own == heads {
        return x;
    }
    x.reshape([batch, own, 1, length, size])
        .repeat_dim(2, heads / own)
        .reshape([batch, heads, length, size])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::{
        execution::{executor::Executor, floats},
        tensors::Checkpoint,
    };

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    fn attention(layer: &Attention, operands: Operands) -> Tensor<3> {
        let none = Weights::of(&[], &Checkpoint::new(), &Executor::Cpu);
        super::attention(layer, operands, &none)
    }

    fn layer(causal: bool) -> Attention {
        Attention {
            heads: 2,
            kv_heads: 1,
            head_size: 1,
            causal,
            mask: true,
            rotary: None,
            fused: FusedOrder::Parts,
            head_norms: None,
            window: None,
            scale: 1.0,
            soft_cap: None,
            fully_masked: FullyMasked::Zero,
            sinks: None,
            position_bias: None,
            distances: None,
            mask_queries: false,
            cross: None,
            windows: None,
        }
    }

    /// Two positions, two query heads of one channel, one key and value head.
    fn operands(ids: &[f32]) -> Operands {
        Operands {
            queries: tensor(&[0.0, 0.0, 3f32.ln(), 0.0], [1, 2, 2]),
            keys: tensor(&[0.0, 1.0], [1, 2, 1]),
            values: tensor(&[4.0, 8.0], [1, 2, 1]),
            ids: Some(tensor(ids, [1, 2])),
            distances: OfDistances::default(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one case after the other")]
    fn shares_are_softmaxes_over_what_may_be_seen() {
        let close = |found: Tensor<3>, expected: [f32; 4]| {
            for (found, expected) in floats(found).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
            }
        };
        // The last query's first head weighs the keys 1 : 3.
        close(
            attention(&layer(false), operands(&[5.0, 6.0])),
            [6.0, 6.0, 7.0, 6.0],
        );
        close(
            attention(&layer(true), operands(&[5.0, 6.0])),
            [4.0, 4.0, 7.0, 6.0],
        );
        close(attention(&layer(false), operands(&[5.0, -1.0])), [4.0; 4]);
        let nothing = floats(attention(&layer(true), operands(&[-1.0, -1.0])));
        assert_eq!(
            nothing, [0.0; 4],
            "torch.nn.functional.scaled_dot_product_attention"
        );
        // A window of one position is the position itself.
        let near = Attention {
            window: Some(1),
            ..layer(true)
        };
        close(
            attention(&near, operands(&[5.0, 6.0])),
            [4.0, 4.0, 8.0, 8.0],
        );
        close(
            attention(&near, operands(&[5.0, -1.0])),
            [4.0, 4.0, 0.0, 0.0],
        );
        // As transformers' eager attention, whose scores are then all the least number.
        let evenly = Attention {
            fully_masked: FullyMasked::Mean,
            ..near
        };
        close(
            attention(&evenly, operands(&[5.0, -1.0])),
            [4.0, 4.0, 6.0, 6.0],
        );
        // A padded position sees nothing, and gets the mean of all values.
        let blind = Attention {
            mask_queries: true,
            fully_masked: FullyMasked::Mean,
            ..layer(false)
        };
        close(
            attention(&blind, operands(&[5.0, -1.0])),
            [4.0, 4.0, 6.0, 6.0],
        );
        // The score ln 3 becomes ln 2 by a factor.
        let scaled = Attention {
            scale: 2f64.ln() / 3f64.ln(),
            ..layer(true)
        };
        close(
            attention(&scaled, operands(&[5.0, 6.0])),
            [4.0, 4.0, 20.0 / 3.0, 6.0],
        );
        // And tanh(ln 3) = 4/5 by a cap of 1.
        let capped = Attention {
            soft_cap: Some(1.0),
            ..layer(true)
        };
        let share = 1.0 / (1.0 + (-0.8f32).exp());
        close(
            attention(&capped, operands(&[5.0, 6.0])),
            [4.0, 4.0, 4.0 + 4.0 * share, 6.0],
        );

        // Padded on the left: the first query sees nothing, the second itself.
        close(
            attention(&layer(true), operands(&[-1.0, 6.0])),
            [0.0, 0.0, 8.0, 8.0],
        );
    }

    /// Two queries see three keys of another sequence, of which the last is padded.
    #[test]
    fn queries_attend_to_another_sequence() {
        let across = Attention {
            cross: Some(3),
            ..layer(false)
        };
        let of = |ids: &[f32]| Operands {
            keys: tensor(&[0.0, 1.0, 9.0], [1, 3, 1]),
            values: tensor(&[4.0, 8.0, 9.0], [1, 3, 1]),
            ids: Some(tensor(ids, [1, 3])),
            ..operands(&[5.0, 6.0])
        };
        let found = floats(attention(&across, of(&[5.0, 6.0, -1.0])));
        for (found, expected) in found.iter().zip([6.0, 6.0, 7.0, 6.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
        }
        assert_eq!(floats(attention(&across, of(&[-1.0; 3]))), [0.0; 4]);
        let evenly = Attention {
            fully_masked: FullyMasked::Mean,
            ..across
        };

        assert_eq!(floats(attention(&evenly, of(&[-1.0; 3]))), [7.0; 4]);
    }

    #[test]
    fn a_fused_tensor_is_cut_by_parts_or_by_heads() {
        let fused = || {
            let values: Vec<f32> = (0..6u8).map(f32::from).collect();
            let first = BurnActivation::Tokens(tensor(&values, [1, 1, 6]));
            Inputs {
                first,
                rest: Vec::new(),
            }
        };
        let cut = |fused_order, kv_heads| {
            let layer = Attention {
                fused: fused_order,
                mask: false,
                kv_heads,
                head_size: 6 / (2 + 2 * kv_heads),
                ..layer(true)
            };
            let Operands {
                queries,
                keys,
                values,
                ..
            } = Operands::of(&layer, fused());
            [queries, keys, values].map(floats)
        };
        assert_eq!(
            cut(FusedOrder::Parts, 2),
            [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
        );

        assert_eq!(
            cut(FusedOrder::Heads, 2),
            [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
        );
    }
}
