//! The layers that are a line or two of burn; longer ones have a file of their own.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{
    Tensor, activation, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::activation::BurnActivation;
use crate::{
    execution::weights::Weights,
    network::{
        Inputs,
        op::Pair,
        program::layer::{Conv2d, Linear, Nonlinearity, Pool, PoolKind},
    },
};

/// Of `quick_gelu`.
const QUICK_GELU_FACTOR: f64 = 1.702;

/// `x Wᵀ + b`: `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
pub(super) fn linear(x: BurnActivation, layer: &Linear, weights: &Weights) -> BurnActivation {
    match x {
        BurnActivation::Tokens(x) => {
            let [batch, length, _] = x.dims();
            let y = affine(x.flatten(0, 1), layer, weights);
            let out = y.dims()[1];
            BurnActivation::Tokens(y.reshape([batch, length, out]))
        }
        x => BurnActivation::Features(affine(x.features(), layer, weights)),
    }
}

pub(super) fn affine(x: Tensor<2>, layer: &Linear, weights: &Weights) -> Tensor<2> {
    let weight = weights.tensor(&layer.weight);
    let product = x.matmul(if layer.transposed {
        weight
    } else {
        weight.transpose()
    });
    match &layer.bias {
        Some(bias) => product + weights.tensor(bias).unsqueeze(),
        None => product,
    }
}

/// `[B, in, H, W]` to `[B, out, h, w]`.
pub(super) fn conv2d(x: Tensor<4>, layer: &Conv2d, weights: &Weights) -> Tensor<4> {
    let Conv2d {
        stride,
        padding,
        padding_end,
        dilation,
        groups,
        ..
    } = layer;
    let (x, padding) = if padding == padding_end {
        (x, padding.array())
    } else {
        (padded(x, *padding, *padding_end), [0, 0])
    };
    let options = ConvOptions::new(stride.array(), padding, dilation.array(), *groups);
    let bias = layer.bias.as_ref().map(|bias| weights.tensor(bias));

    module::conv2d(x, weights.tensor(&layer.weight), bias, options)
}

/// Zeros before the first row and column, and behind the last.
fn padded(x: Tensor<4>, before: Pair, behind: Pair) -> Tensor<4> {
    let rows = zeros_along(2, &x, before.0);
    let rows_behind = zeros_along(2, &x, behind.0);
    let x = joined(2, [rows, Some(x), rows_behind]);
    let columns = zeros_along(3, &x, before.1);
    let columns_behind = zeros_along(3, &x, behind.1);
    joined(3, [columns, Some(x), columns_behind])
}

/// So many rows or columns of zeros for an image; none where there are none.
fn zeros_along(axis: usize, x: &Tensor<4>, count: usize) -> Option<Tensor<4>> {
    let mut dims = x.dims();
    dims[axis] = count;
    (count > 0).then(|| Tensor::zeros(dims, &x.device()))
}

fn joined(axis: usize, parts: [Option<Tensor<4>>; 3]) -> Tensor<4> {
    Tensor::cat(parts.into_iter().flatten().collect(), axis)
}

/// Max or average pooling.
pub(super) fn pool(x: Tensor<4>, pool: &Pool) -> Tensor<4> {
    let &Pool {
        kernel,
        stride,
        ceil_mode,
        ..
    } = pool;
    let padding = both_sides(pool.padding);

    match pool.kind {
        PoolKind::Max => {
            let options = MaxPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.array(),
                padding,
                dilation: [1, 1],
                ceil_mode,
            };
            module::max_pool2d(x, options)
        }
        PoolKind::Average { count_include_pad } => {
            let options = AvgPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.array(),
                padding,
                count_include_pad,
                ceil_mode,
            };
            module::avg_pool2d(x, options)
        }
    }
}

/// Of both axes, before and after.
fn both_sides(Pair(height, width): Pair) -> [(usize, usize); 2] {
    [(height, height), (width, width)]
}

/// `[B, C, H, W]` to `[B, C]`.
pub(super) fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width])
        .mean_dim(2)
        .reshape([batch, channels])
}

/// A vector along one axis of D.
pub(super) fn along<const D: usize>(axis: usize, vector: Tensor<1>) -> Tensor<D> {
    let mut dims = [1; D];
    dims[axis] = vector.dims()[0];
    vector.reshape(dims)
}

/// A function of every value, on whatever shape.
pub(super) fn nonlinear(x: BurnActivation, function: Nonlinearity) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(applied(function, x)),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(applied(function, x)),
        BurnActivation::Image(x) => BurnActivation::Image(applied(function, x)),
    }
}

/// Every value times one number.
pub(super) fn scaled(x: BurnActivation, factor: f64) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(x * factor),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(x * factor),
        BurnActivation::Image(x) => BurnActivation::Image(x * factor),
    }
}

/// `cap · tanh(x / cap)` of every value.
pub(super) fn capped(x: BurnActivation, cap: f64) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(soft_capped(x, cap)),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(soft_capped(x, cap)),
        BurnActivation::Image(x) => BurnActivation::Image(soft_capped(x, cap)),
    }
}

pub(super) fn soft_capped<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    (x / cap).tanh() * cap
}

/// Channels from `part · width` on, `width` of them, of `[B, F]` or `[B, S, D]`.
pub(super) fn split(x: BurnActivation, part: usize, width: usize) -> BurnActivation {
    match x {
        BurnActivation::Tokens(x) => BurnActivation::Tokens(x.narrow(2, part * width, width)),
        x => BurnActivation::Features(x.features().narrow(1, part * width, width)),
    }
}

pub(super) fn applied<const D: usize>(function: Nonlinearity, x: Tensor<D>) -> Tensor<D> {
    match function {
        Nonlinearity::Relu => activation::relu(x),
        Nonlinearity::Gelu => gelu(x),
        Nonlinearity::GeluTanh => activation::gelu_approximate(x),
        Nonlinearity::Silu => activation::silu(x),
        Nonlinearity::Tanh => x.tanh(),
        Nonlinearity::Sigmoid => activation::sigmoid(x),
        Nonlinearity::HardSigmoid => hard_sigmoid(x),
        Nonlinearity::HardSwish => x.clone() * hard_sigmoid(x),
        Nonlinearity::Relu6 => x.clamp(0.0, 6.0),
        Nonlinearity::QuickGelu => x.clone() * activation::sigmoid(x * QUICK_GELU_FACTOR),
    }
}

/// `x Φ(x)`. burn's own differentiates its approximation by tanh on a GPU: gradients are off by up to two hundredths.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let below = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    x * below
}

/// `min(max(x / 6 + 1/2, 0), 1)`
fn hard_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x + 3.0).clamp(0.0, 6.0) / 6.0
}

/// One factor a channel, of tokens or of an image.
pub(super) fn scaled_by_channel(x: BurnActivation, gamma: Tensor<1>) -> BurnActivation {
    match x {
        BurnActivation::Image(x) => BurnActivation::Image(x * along(1, gamma)),
        x => {
            let width = gamma.dims()[0];
            BurnActivation::Tokens(x.tokens(width) * along(2, gamma))
        }
    }
}

/// An image times one value for each of its channels.
pub(super) fn gated(x: Tensor<4>, values: Tensor<2>) -> Tensor<4> {
    let [batch, channels] = values.dims();
    x * values.reshape([batch, channels, 1, 1])
}

/// Channels one behind the other.
pub(super) fn concatenated(inputs: Inputs<BurnActivation>) -> BurnActivation {
    let Inputs { first, rest } = inputs;
    let all = std::iter::once(first.clone()).chain(rest);

    match first {
        BurnActivation::Image(x) => {
            let [_, _, height, width] = x.dims();
            let images = all.map(|one| {
                let one_flat = one.features();
                let [batch, size] = one_flat.dims();
                one_flat.reshape([batch, size / (height * width), height, width])
            });
            BurnActivation::Image(Tensor::cat(images.collect(), 1))
        }
        BurnActivation::Tokens(x) => {
            let length = x.dims()[1];
            let tokens = all.map(|one| {
                let one_flat = one.features();
                let [batch, size] = one_flat.dims();
                one_flat.reshape([batch, length, size / length])
            });
            BurnActivation::Tokens(Tensor::cat(tokens.collect(), 2))
        }
        BurnActivation::Features(_) => {
            let features = all.map(BurnActivation::features);
            BurnActivation::Features(Tensor::cat(features.collect(), 1))
        }
    }
}
