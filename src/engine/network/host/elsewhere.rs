//! Ops that burn runs and differentiates, one at a time. The way back runs the op once more, which
//! is cheaper than keeping what it did.

use burn::tensor::{Device, Gradients as Found, Tensor};

use super::{
    super::{
        forward::{Activation, Statistics, Weights, floats, run},
        op::Op,
    },
    Gradients, Signal,
};

pub(super) fn forward(op: &Op, inputs: &[Signal], weights: &Weights) -> Signal {
    let upload = |x: &Signal| Activation::upload(x.values().to_vec(), x.shape(), &Device::flex());
    let inputs = inputs.iter().map(upload).collect();
    match run(0, op, inputs, weights, &mut Statistics::Running) {
        Activation::Features(y) => signal(y),
        Activation::Tokens(y) => signal(y),
        Activation::Image(y) => signal(y),
    }
}

fn signal<const D: usize>(y: Tensor<D>) -> Signal {
    let dims = y.dims();
    Signal::new(floats(y), &dims[1..])
}

/// The gradients of the inputs, none of those that the output does not depend on smoothly (ids);
/// those of the op's own tensors are added up.
pub(super) fn backward(
    (op, inputs): (&Op, &[Signal]),
    dy: &Signal,
    weights: &Weights,
    gradients: &mut Gradients,
) -> Vec<Option<Signal>> {
    let names: Vec<String> = op.params().into_iter().map(|param| param.name).collect();
    let weights = weights.some_leaves(&names);
    let leaves: Vec<Activation> = inputs.iter().map(leaf).collect();
    // d Σ(dy · y) / dx = dyᵀ ∂y/∂x, with dy a constant.
    let loss = match run(0, op, leaves.clone(), &weights, &mut Statistics::Running) {
        Activation::Features(y) => (y * dy.tensor::<2>().autodiff()).sum(),
        Activation::Tokens(y) => (y * dy.tensor::<3>().autodiff()).sum(),
        Activation::Image(y) => (y * dy.tensor::<4>().autodiff()).sum(),
    };
    let mut found = loss.backward();
    for name in names {
        let flat = weights.flat(&name);
        if let Some(gradient) = flat.and_then(|flat| flat.grad_remove(&mut found)) {
            gradients.add_to(name, gradient);
        }
    }
    leaves.into_iter().map(|leaf| taken(leaf, &mut found)).collect()
}

fn leaf(x: &Signal) -> Activation {
    match x.shape().len() {
        1 => Activation::Features(x.tensor::<2>().autodiff().require_grad()),
        2 => Activation::Tokens(x.tensor::<3>().autodiff().require_grad()),
        _ => Activation::Image(x.tensor::<4>().autodiff().require_grad()),
    }
}

fn taken(leaf: Activation, found: &mut Found) -> Option<Signal> {
    match leaf {
        Activation::Features(x) => x.grad_remove(found).map(signal),
        Activation::Tokens(x) => x.grad_remove(found).map(signal),
        Activation::Image(x) => x.grad_remove(found).map(signal),
    }
}
