//! The ops that are a line or two of burn; longer ones have a file of their own.

use burn::tensor::{
    Tensor, activation, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::activation::BurnActivation;
use crate::{
    execution::weights::Weights,
    network::{Op, op::Pair},
};

/// `x Wᵀ + b`: `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
pub(super) fn linear(x: BurnActivation, weights: &Weights, op: &Op) -> BurnActivation {
    match x {
        BurnActivation::Tokens(x) => {
            let [batch, length, _] = x.dims();
            let y = affine(x.flatten(0, 1), weights, op);
            let out = y.dims()[1];
            BurnActivation::Tokens(y.reshape([batch, length, out]))
        }
        x => BurnActivation::Features(affine(x.features(), weights, op)),
    }
}

fn affine(x: Tensor<2>, weights: &Weights, op: &Op) -> Tensor<2> {
    let Op::Linear { param, transposed } = op else { unreachable!("called for linear layers") };
    let weight = weights.get::<2>(param, "weight").expect("shapes have been checked");
    let product = x.matmul(if *transposed { weight } else { weight.transpose() });
    match weights.get::<1>(param, "bias") {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    }
}

/// `[B, in, H, W]` to `[B, out, h, w]`.
pub(super) fn conv2d(x: Tensor<4>, weights: &Weights, op: &Op) -> Tensor<4> {
    let Op::Conv2d { param, stride, padding, dilation, groups } = op else {
        unreachable!("called for convolutions")
    };
    let weight = weights.get::<4>(param, "weight").expect("shapes have been checked");
    let options = ConvOptions::new(stride.array(), padding.array(), dilation.array(), *groups);
    module::conv2d(x, weight, weights.get::<1>(param, "bias"), options)
}

/// Max or average pooling.
pub(super) fn pool(x: Tensor<4>, op: &Op) -> Tensor<4> {
    match *op {
        Op::MaxPool { kernel, stride, padding, ceil_mode } => {
            let options = MaxPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.unwrap_or(kernel).array(),
                padding: both_sides(padding),
                dilation: [1, 1],
                ceil_mode,
            };
            module::max_pool2d(x, options)
        }
        Op::AvgPool { kernel, stride, padding, ceil_mode, count_include_pad } => {
            let options = AvgPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.unwrap_or(kernel).array(),
                padding: both_sides(padding),
                count_include_pad,
                ceil_mode,
            };
            module::avg_pool2d(x, options)
        }
        _ => unreachable!("called for pooling"),
    }
}

/// Of both axes, before and after.
fn both_sides(Pair(height, width): Pair) -> [(usize, usize); 2] {
    [(height, height), (width, width)]
}

/// `[B, C, H, W]` to `[B, C]`.
pub(super) fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

pub(super) fn add(a: BurnActivation, b: BurnActivation) -> BurnActivation {
    match (a, b) {
        (BurnActivation::Features(a), BurnActivation::Features(b)) => {
            BurnActivation::Features(a + b)
        }
        (BurnActivation::Tokens(a), BurnActivation::Tokens(b)) => BurnActivation::Tokens(a + b),
        (BurnActivation::Image(a), BurnActivation::Image(b)) => BurnActivation::Image(a + b),
        _ => unreachable!("shapes have been checked"),
    }
}

pub(super) fn gate(a: BurnActivation, b: BurnActivation) -> BurnActivation {
    match (a, b) {
        (BurnActivation::Features(a), BurnActivation::Features(b)) => {
            BurnActivation::Features(a * b)
        }
        (BurnActivation::Tokens(a), BurnActivation::Tokens(b)) => BurnActivation::Tokens(a * b),
        (BurnActivation::Image(a), BurnActivation::Image(b)) => BurnActivation::Image(a * b),
        _ => unreachable!("shapes have been checked"),
    }
}

/// An activation function, on whatever shape.
pub(super) fn elementwise(x: BurnActivation, op: &Op) -> BurnActivation {
    match x {
        BurnActivation::Features(x) => BurnActivation::Features(activated(x, op)),
        BurnActivation::Tokens(x) => BurnActivation::Tokens(activated(x, op)),
        BurnActivation::Image(x) => BurnActivation::Image(activated(x, op)),
    }
}

fn activated<const D: usize>(x: Tensor<D>, op: &Op) -> Tensor<D> {
    match op {
        Op::Relu {} => activation::relu(x),
        Op::Gelu {} => activation::gelu(x),
        Op::GeluTanh {} => activation::gelu_approximate(x),
        Op::Silu {} => activation::silu(x),
        Op::Tanh {} => x.tanh(),
        other => unreachable!("{} is no activation function", other.name()),
    }
}
