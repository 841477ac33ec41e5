//! Norms of images over more than the channels of a pixel.

use burn::tensor::Tensor;

use super::layers::along;
use crate::{
    execution::weights::Weights,
    network::program::layer::{GroupNorm, ResponseNorm},
};

/// Added to the square of a norm: the slope of a root at 0 is infinite, that of `PyTorch`'s norm is 0.
const SMALLEST_SQUARE: f64 = 1e-30;

/// `[B, C, H, W]`, over consecutive channels and all pixels.
pub(super) fn group_norm(x: Tensor<4>, layer: &GroupNorm, weights: &Weights) -> Tensor<4> {
    let dims = x.dims();
    let [batch, channels, height, width] = dims;
    let rows = x.reshape([
        batch,
        layer.groups,
        channels / layer.groups * height * width,
    ]);
    let centred = rows.clone() - rows.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    let normed = (centred / (variance + layer.eps).sqrt()).reshape(dims);

    let scaled = normed * along(1, weights.tensor(&layer.weight));

    match &layer.bias {
        Some(bias) => scaled + along(1, weights.tensor(bias)),
        None => scaled,
    }
}

/// `[B, C, H, W]`: `x + γ x n + β`, with n the norm of each channel over the mean of all.
pub(super) fn response_norm(x: Tensor<4>, layer: &ResponseNorm, weights: &Weights) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let rows = x.clone().reshape([batch, channels, height * width]);
    let norms = ((rows.clone() * rows).sum_dim(2) + SMALLEST_SQUARE).sqrt();
    let shares = norms.clone() / (norms.mean_dim(1) + layer.eps);

    let shares = shares.reshape([batch, channels, 1, 1]);
    let weight = along(1, weights.tensor(&layer.weight));
    let bias = along(1, weights.tensor(&layer.bias));
    x.clone() + x * shares * weight + bias
}
