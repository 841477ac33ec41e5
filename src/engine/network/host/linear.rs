//! `x Wᵀ + b` and its way back.

use burn::tensor::Tensor;

use super::{
    super::forward::{Weights, floats},
    Gradients, Signal,
};

fn weight(weights: &Weights, param: &str) -> Tensor<2> {
    weights.get(param, "weight").expect("shapes have been checked")
}

/// `[B, in]` to `[B, out]`.
pub(super) fn forward(x: &Signal, weights: &Weights, param: &str) -> Signal {
    let weight = weight(weights, param);
    let out = weight.dims()[0];
    let product = x.tensor::<2>().matmul(weight.transpose());
    let sum = match weights.get::<1>(param, "bias") {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    };
    Signal::new(floats(sum), &[out])
}

/// `dW = dyᵀ x`, `db = Σ dy`, `dx = dy W`.
pub(super) fn backward(
    (param, x): (&str, &Signal),
    dy: &Signal,
    weights: &Weights,
    gradients: &mut Gradients,
    wanted: bool,
) -> Option<Signal> {
    let dy = dy.tensor::<2>();
    let product = dy.clone().transpose().matmul(x.tensor::<2>());
    gradients.add(param, "weight", product.flatten(0, 1));
    if weights.get::<1>(param, "bias").is_some() {
        gradients.add(param, "bias", dy.clone().sum_dim(0).flatten(0, 1));
    }
    wanted.then(|| Signal::new(floats(dy.matmul(weight(weights, param))), x.shape()))
}
