//! `x Wᵀ + b` and its way back, on samples or on every token of them.

use burn::tensor::Tensor;

use super::{
    super::{
        forward::{Weights, floats},
        op::Op,
    },
    Gradients, Signal,
};

/// A linear layer with its weight as `[out, in]`.
pub(super) struct Linear<'a> {
    param: &'a str,
    /// Stored the other way round.
    transposed: bool,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
}

impl<'a> Linear<'a> {
    pub fn new(op: &'a Op, weights: &Weights) -> Self {
        let Op::Linear { param, transposed } = op else { unreachable!("called for linear layers") };
        let stored = weights.get::<2>(param, "weight").expect("shapes have been checked");
        let weight = if *transposed { stored.transpose() } else { stored };
        Self { param, transposed: *transposed, weight, bias: weights.get(param, "bias") }
    }

    /// `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
    pub fn forward(&self, x: &Signal) -> Signal {
        let product = x.rows().matmul(self.weight.clone().transpose());
        let sum = match &self.bias {
            Some(bias) => product + bias.clone().unsqueeze(),
            None => product,
        };
        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("a sample has an axis") = self.weight.dims()[0];
        Signal::new(floats(sum), &shape)
    }

    /// `dW = dyᵀ x`, `db = Σ dy`, `dx = dy W`.
    pub fn backward(
        self,
        x: &Signal,
        dy: &Signal,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<Signal> {
        let dy = dy.rows();
        let product = if self.transposed {
            x.rows().transpose().matmul(dy.clone())
        } else {
            dy.clone().transpose().matmul(x.rows())
        };
        gradients.add(self.param, "weight", product.flatten(0, 1));
        if self.bias.is_some() {
            gradients.add(self.param, "bias", dy.clone().sum_dim(0).flatten(0, 1));
        }
        wanted.then(|| Signal::new(floats(dy.matmul(self.weight)), x.shape()))
    }
}
