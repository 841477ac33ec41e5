//! The ops that are a line or two of burn; longer ones have a file of their own.

pub mod batch_norm;

use burn::tensor::{
    Tensor, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::{
    forward::{Activation, Weights},
    op::{Op, Pair},
};

/// `x Wᵀ + b`: `[B, in]` to `[B, out]`.
pub(super) fn linear(x: Tensor<2>, weights: &Weights, param: &str) -> Tensor<2> {
    let weight = weights.get::<2>(param, "weight").expect("shapes have been checked");
    let product = x.matmul(weight.transpose());
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
    let both = |Pair(h, w): Pair| [(h, h), (w, w)];
    match *op {
        Op::MaxPool { kernel, stride, padding, ceil_mode } => {
            let options = MaxPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.unwrap_or(kernel).array(),
                padding: both(padding),
                dilation: [1, 1],
                ceil_mode,
            };
            module::max_pool2d(x, options)
        }
        Op::AvgPool { kernel, stride, padding, ceil_mode, count_include_pad } => {
            let options = AvgPoolOptions {
                kernel_size: kernel.array(),
                stride: stride.unwrap_or(kernel).array(),
                padding: both(padding),
                count_include_pad,
                ceil_mode,
            };
            module::avg_pool2d(x, options)
        }
        _ => unreachable!("called for pooling"),
    }
}

/// `[B, C, H, W]` to `[B, C]`.
pub(super) fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

pub(super) fn add(a: Activation, b: Activation) -> Activation {
    match (a, b) {
        (Activation::Features(a), Activation::Features(b)) => Activation::Features(a + b),
        (Activation::Image(a), Activation::Image(b)) => Activation::Image(a + b),
        _ => unreachable!("shapes have been checked"),
    }
}

pub(super) fn elementwise(
    x: Activation,
    features: impl Fn(Tensor<2>) -> Tensor<2>,
    image: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Activation {
    match x {
        Activation::Features(x) => Activation::Features(features(x)),
        Activation::Image(x) => Activation::Image(image(x)),
    }
}
