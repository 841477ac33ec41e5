//! Softmax attention: `softmax(q kᵀ / √d + mask) v`, head by head (Vaswani et al. 2017, section
//! 3.2), with rotary positions (Su et al. 2021) and grouped keys and values.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use super::activation::BurnActivation;
use crate::network::{
    Inputs,
    op::{Llama3Scaling, Rotary},
    program::layer::Attention,
};

/// Added to the score of a position that is not attended to. It is far below any score, yet finite,
/// so that a row with every position masked gives no NaN.
const AWAY: f32 = -1e30;

/// Queries, keys and values `[B, S, heads · d]` and, for a mask, the ids `[B, S]`.
pub(super) struct Operands {
    pub queries: Tensor<3>,
    pub keys: Tensor<3>,
    pub values: Tensor<3>,
    pub ids: Option<Tensor<2>>,
}

impl Operands {
    /// From `[q, k, v]`, each `[B, S, heads · d]`, or one `[q|k|v]`, `[B, S, 3 D]`; with a mask the ids
    /// come last.
    pub fn of(layer: &Attention, inputs: Inputs<BurnActivation>) -> Self {
        let Inputs { first, mut rest } = inputs;
        let ids = if layer.mask { rest.pop().map(BurnActivation::features) } else { None };
        let width = layer.heads * layer.head_size;
        let kv_width = layer.kv_heads * layer.head_size;

        if let Ok([keys, values]) = <[BurnActivation; 2]>::try_from(rest) {
            let queries = first.tokens(width);
            let [keys, values] = [keys, values].map(|part| part.tokens(kv_width));
            return Self { queries, keys, values, ids };
        }

        let fused = first.tokens(3 * width);
        let [queries, keys, values] =
            [0, 1, 2].map(|part| fused.clone().narrow(2, part * width, width));
        Self { queries, keys, values, ids }
    }
}

/// `[B, S, heads · d]`.
pub(super) fn attention(layer: &Attention, operands: Operands) -> Tensor<3> {
    let &Attention { heads, kv_heads, head_size, causal, .. } = layer;
    let Operands { queries, keys, values, ids } = operands;
    let [batch, length, width] = queries.dims();

    let (mut queries, mut keys) = (split(queries, heads), split(keys, kv_heads));
    if let Some(rotary) = &layer.rotary {
        let angles = Angles::new(rotary, length, head_size, &queries.device());
        (queries, keys) = (angles.turn(queries), angles.turn(keys));
    }

    let (keys, values) = (repeated(keys, heads), repeated(split(values, kv_heads), heads));
    let scale = (head_size as f64).sqrt().recip();

    let mut scores = queries.matmul(keys.swap_dims(2, 3)) * scale;
    if causal {
        scores = scores.clone() + causal_mask(length, &scores.device());
    }

    let Some(ids) = ids else {
        let attended = softmax(scores, 3).matmul(values);
        return attended.swap_dims(1, 2).reshape([batch, length, width]);
    };

    let padded = ids.clone().lower_elem(0.0).float() * AWAY;
    scores = scores + padded.reshape([batch, 1, 1, length]);
    let attended = softmax(scores, 3).matmul(values) * sees_something(ids, causal);
    attended.swap_dims(1, 2).reshape([batch, length, width])
}

/// `[B, 1, S, 1]`: 0 at a query that no key may be seen from, else 1. `PyTorch` (since 2.5) attends to
/// nothing there.
fn sees_something(ids: Tensor<2>, causal: bool) -> Tensor<4> {
    let [batch, length] = ids.dims();
    let seen = ids.greater_equal_elem(0.0).float();
    let keys = if causal { seen.cumsum(1) } else { seen.sum_dim(1).expand([batch, length]) };
    keys.greater_elem(0.0).float().reshape([batch, 1, length, 1])
}

/// `[B, S, heads · d]` to `[B, heads, S, d]`.
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
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

/// `[1, 1, S, S]`: a position attends to none after it.
fn causal_mask(length: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> =
        (0..length * length).map(|i| if i % length > i / length { AWAY } else { 0.0 }).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, length, length]), device)
}

/// Cosines and sines of the rotations, `[1, 1, S, d]`, both halves of d alike.
struct Angles {
    cosines: Tensor<4>,
    sines: Tensor<4>,
}

impl Angles {
    fn new(rotary: &Rotary, length: usize, size: usize, device: &Device) -> Self {
        let frequencies = frequencies(rotary, size);
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in 0..length {
            for frequency in frequencies.iter().chain(&frequencies) {
                let angle = position as f64 * frequency;
                cosines.push(angle.cos() as f32);
                sines.push(angle.sin() as f32);
            }
        }
        let [cosines, sines] = [cosines, sines]
            .map(|values| Tensor::from_data(TensorData::new(values, [1, 1, length, size]), device));
        Self { cosines, sines }
    }

    /// `(a, b)` to `(a cos − b sin, b cos + a sin)`, a and b the halves of the last axis.
    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let (a, b) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
        x * self.cosines.clone() + Tensor::cat(vec![b.neg(), a], 3) * self.sines.clone()
    }
}

/// Radians per position, for each of the `size / 2` pairs.
fn frequencies(rotary: &Rotary, size: usize) -> Vec<f64> {
    (0..size / 2)
        .map(|pair| rotary.theta.powf(-((2 * pair) as f64) / size as f64))
        .map(|frequency| frequency / rotary.linear_factor.unwrap_or(1.0))
        .map(|frequency| match &rotary.llama3 {
            Some(scaling) => stretched(frequency, scaling),
            None => frequency,
        })
        .collect()
}

/// Llama 3: wavelengths beyond the original context (over `low_freq_factor`) are stretched by
/// `factor`, those within its `high_freq_factor`-th part are kept, between them it is a blend.
fn stretched(frequency: f64, scaling: &Llama3Scaling) -> f64 {
    let turns = scaling.original_max_position_embeddings * frequency / TAU;
    let (low, high) = (scaling.low_freq_factor, scaling.high_freq_factor);
    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    frequency * (kept + (1.0 - kept) / scaling.factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::floats;

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    fn layer(causal: bool) -> Attention {
        Attention { heads: 2, kv_heads: 1, head_size: 1, causal, mask: true, rotary: None }
    }

    /// Two positions, two query heads of one channel, one key and value head.
    fn operands(ids: &[f32]) -> Operands {
        Operands {
            queries: tensor(&[0.0, 0.0, 3f32.ln(), 0.0], [1, 2, 2]),
            keys: tensor(&[0.0, 1.0], [1, 2, 1]),
            values: tensor(&[4.0, 8.0], [1, 2, 1]),
            ids: Some(tensor(ids, [1, 2])),
        }
    }

    #[test]
    fn shares_are_softmaxes_over_what_may_be_seen() {
        let close = |found: Tensor<3>, expected: [f32; 4]| {
            for (found, expected) in floats(found).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
            }
        };
        // The last query's first head weighs the keys 1 : 3.
        close(attention(&layer(false), operands(&[5.0, 6.0])), [6.0, 6.0, 7.0, 6.0]);
        close(attention(&layer(true), operands(&[5.0, 6.0])), [4.0, 4.0, 7.0, 6.0]);
        close(attention(&layer(false), operands(&[5.0, -1.0])), [4.0; 4]);
        let nothing = floats(attention(&layer(true), operands(&[-1.0, -1.0])));
        assert_eq!(nothing, [0.0; 4], "torch.nn.functional.scaled_dot_product_attention");
        // Padded on the left: the first query sees nothing, the second itself.
        close(attention(&layer(true), operands(&[-1.0, 6.0])), [0.0, 0.0, 8.0, 8.0]);
    }

    #[test]
    fn positions_turn_pairs_of_channels() {
        let rotary = Rotary { theta: 100.0, llama3: None, linear_factor: Some(2.0) };
        // Pairs (0, 2) and (1, 3) turn by 1/2 and by 1/20 per position.
        let angles = Angles::new(&rotary, 2, 4, &Device::flex());
        let x = tensor(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0], [1, 1, 2, 4]);
        let (c, s) = (0.5f32.cos(), 0.5f32.sin());
        let (c2, s2) = (0.05f32.cos(), 0.05f32.sin());
        let expected = [1.0, 1.0, 0.0, 0.0, c, -s2, s, c2];
        for (found, expected) in floats(angles.turn(x)).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn long_wavelengths_are_stretched() {
        let scaling = Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: TAU,
        };
        // With that context, a frequency is the number of turns it makes in it.
        for (frequency, expected) in [(5.0, 5.0), (0.8, 0.1), (2.5, 2.5 * (0.5 + 0.5 / 8.0))] {
            assert!((stretched(frequency, &scaling) - expected).abs() < 1e-12);
        }
    }
}
