//! Experts: each token goes through those of its largest router logits, one expert at a time.
//!
//! Which experts a token has is a constant of the backward pass; its shares of them are not. Losses that
//! balance a router's load are of its first training and no part of this.

use burn::tensor::{
    Device, Int, Tensor, TensorData,
    activation::{sigmoid, softmax},
};

use super::layers::{affine, applied};
use crate::{
    execution::{floats, weights::Weights},
    network::{
        op::Clamp,
        program::layer::{Expert, Experts},
    },
};

/// Added to a logit that is not among a token's largest: far below any, yet finite.
const AWAY: f32 = -1e30;

/// Tokens `[B, S, D]` with logits `[B, S, experts]`.
pub(super) fn experts(
    x: Tensor<3>,
    logits: Tensor<3>,
    layer: &Experts,
    weights: &Weights,
) -> Tensor<3> {
    let [batch, length, _] = x.dims();
    let (x, logits): (Tensor<2>, Tensor<2>) = (x.flatten(0, 1), logits.flatten(0, 1));
    let device = x.device();
    let routes = Routes::of(&floats(logits.clone()), layer);

    let shares = if layer.normalised {
        softmax(logits + routes.mask(&device), 1)
    } else {
        softmax(logits, 1)
    };

    let mut parts = Vec::with_capacity(layer.experts.len());
    for (number, (expert, rows)) in layer.experts.iter().zip(&routes.rows).enumerate() {
        if rows.is_empty() {
            continue;
        }
        let rows = indices(rows, &device);
        let share = shares.clone().narrow(1, number, 1).select(0, rows.clone());
        let seen = x.clone().select(0, rows);
        parts.push(one(seen, expert, layer, weights) * share);
    }

    // Every token has as many rows among those of all experts: they are brought together and added.
    let found = Tensor::cat(parts, 0).select(0, indices(&routes.places(), &device));
    let [rows, width] = found.dims();
    let tokens = rows / layer.top_k;
    let sums = found.reshape([tokens, layer.top_k, width]).sum_dim(1);
    sums.reshape([batch, length, width])
}

/// `down(activation(gate x) · up x)` of rows `[N, D]`.
fn one(x: Tensor<2>, expert: &Expert, layer: &Experts, weights: &Weights) -> Tensor<2> {
    let (gate, up) = match &expert.up {
        Some(up) => (
            affine(x.clone(), &expert.gate, weights),
            affine(x, up, weights),
        ),
        None => in_turns(affine(x, &expert.gate, weights)),
    };
    let hidden = match layer.clamp {
        None => applied(layer.activation, gate) * up,
        Some(Clamp { alpha, limit }) => {
            let gate = gate.clamp_max(limit);
            let up = up.clamp(-limit, limit) + 1.0;
            up * gate.clone() * sigmoid(gate * alpha)
        }
    };
    affine(hidden, &expert.down, weights)
}

/// The even columns of `[N, 2 · hidden]`, and the odd ones.
fn in_turns(both: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [rows, width] = both.dims();
    let pairs: Tensor<3> = both.reshape([rows, width / 2, 2]);
    let [gate, up] = [0, 1].map(|part| pairs.clone().narrow(2, part, 1).reshape([rows, width / 2]));
    (gate, up)
}

/// Which tokens go through which expert.
struct Routes {
    /// The tokens of each expert, in order.
    rows: Vec<Vec<usize>>,
    tokens: usize,
}

impl Routes {
    /// By logits `[tokens, experts]`; of equal ones the first.
    fn of(logits: &[f32], layer: &Experts) -> Self {
        let experts = layer.experts.len();
        let mut rows = vec![Vec::new(); experts];
        let mut order: Vec<usize> = Vec::with_capacity(experts);
        for (token, logits) in logits.chunks(experts).enumerate() {
            order.clear();
            order.extend(0..experts);
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            order[..layer.top_k]
                .iter()
                .for_each(|&expert| rows[expert].push(token));
        }
        Self {
            rows,
            tokens: logits.len() / experts,
        }
    }

    /// `[tokens, experts]`: 0 at a token's own experts.
    fn mask(&self, device: &Device) -> Tensor<2> {
        let experts = self.rows.len();
        let mut values = vec![AWAY; self.tokens * experts];
        for (expert, rows) in self.rows.iter().enumerate() {
            rows.iter()
                .for_each(|&token| values[token * experts + expert] = 0.0);
        }
        Tensor::from_data(TensorData::new(values, [self.tokens, experts]), device)
    }

    /// Where each token's rows stand among those of all experts, one after the other: token by token.
    fn places(&self) -> Vec<usize> {
        let all = self.rows.iter().flatten().enumerate();
        let mut placed: Vec<(usize, usize)> = all.map(|(place, &token)| (token, place)).collect();
        placed.sort_unstable();
        placed.into_iter().map(|(_, place)| place).collect()
    }
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
