//! Ops that burn runs and differentiates, one at a time. The way back runs the op once more, which
//! is cheaper than keeping what it did.

use burn::tensor::{Device, Tensor};

use super::{
    super::{
        forward::{Activation, Statistics, Weights, floats, run},
        op::Op,
    },
    Gradients, Signal,
};

pub(super) fn forward(op: &Op, x: &Signal, weights: &Weights) -> Signal {
    let input = Activation::upload(x.values().to_vec(), x.shape(), &Device::flex());
    match run(0, op, vec![input], weights, &mut Statistics::Running) {
        Activation::Features(y) => signal(y),
        Activation::Image(y) => signal(y),
    }
}

fn signal<const D: usize>(y: Tensor<D>) -> Signal {
    let dims = y.dims();
    Signal::new(floats(y), &dims[1..])
}

/// The gradient of the input; those of the op's own tensors are added up.
pub(super) fn backward(
    (op, x): (&Op, &Signal),
    dy: &Signal,
    weights: &Weights,
    gradients: &mut Gradients,
) -> Signal {
    let weights = weights.leaves();
    let dx = if let [_] = x.shape() {
        let leaf = x.tensor::<2>().autodiff().require_grad();
        floats(pull_back((op, Activation::Features(leaf.clone()), leaf), dy, &weights, gradients))
    } else {
        let leaf = x.tensor::<4>().autodiff().require_grad();
        floats(pull_back((op, Activation::Image(leaf.clone()), leaf), dy, &weights, gradients))
    };
    Signal::new(dx, x.shape())
}

fn pull_back<const D: usize>(
    (op, input, leaf): (&Op, Activation, Tensor<D>),
    dy: &Signal,
    weights: &Weights,
    gradients: &mut Gradients,
) -> Tensor<D> {
    // d Σ(dy · y) / dx = dyᵀ ∂y/∂x, with dy a constant.
    let loss = match run(0, op, vec![input], weights, &mut Statistics::Running) {
        Activation::Features(y) => (y * dy.tensor::<2>().autodiff()).sum(),
        Activation::Image(y) => (y * dy.tensor::<4>().autodiff()).sum(),
    };
    let mut found = loss.backward();
    if let Some(param) = op.param() {
        for suffix in ["weight", "bias"] {
            let flat = weights.flat(&format!("{param}.{suffix}"));
            if let Some(gradient) = flat.and_then(|flat| flat.grad_remove(&mut found)) {
                gradients.add(param, suffix, gradient);
            }
        }
    }
    leaf.grad_remove(&mut found).unwrap_or_else(|| leaf.clone().inner().zeros_like())
}
