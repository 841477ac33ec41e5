//! The ops that are a line or two of burn; longer ones have a file of their own.

pub mod attention;
pub mod batch_norm;
pub mod tokens;

use burn::tensor::{
    Tensor, activation, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::{
    forward::{Activation, Weights},
    op::{Op, Pair},
};

/// `x Wᵀ + b`: `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
pub(super) fn linear(x: Activation, weights: &Weights, op: &Op) -> Activation {
    match x {
        Activation::Tokens(x) => {
            let [batch, length, _] = x.dims();
            let y = affine(x.flatten(0, 1), weights, op);
            let out = y.dims()[1];
            Activation::Tokens(y.reshape([batch, length, out]))
        }
        x => Activation::Features(affine(x.features(), weights, op)),
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
        (Activation::Tokens(a), Activation::Tokens(b)) => Activation::Tokens(a + b),
        (Activation::Image(a), Activation::Image(b)) => Activation::Image(a + b),
        _ => unreachable!("shapes have been checked"),
    }
}

pub(super) fn gate(a: Activation, b: Activation) -> Activation {
    match (a, b) {
        (Activation::Features(a), Activation::Features(b)) => Activation::Features(a * b),
        (Activation::Tokens(a), Activation::Tokens(b)) => Activation::Tokens(a * b),
        (Activation::Image(a), Activation::Image(b)) => Activation::Image(a * b),
        _ => unreachable!("shapes have been checked"),
    }
}

/// An activation function, on whatever shape.
pub(super) fn elementwise(x: Activation, op: &Op) -> Activation {
    match x {
        Activation::Features(x) => Activation::Features(activated(x, op)),
        Activation::Tokens(x) => Activation::Tokens(activated(x, op)),
        Activation::Image(x) => Activation::Image(activated(x, op)),
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
