//! `x Wᵀ + b` and its backward pass, on samples or on every token of them.

use std::borrow::Cow;

use faer::MatRef;
use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients, loops::sum_of_rows};
use crate::{
    execution::weights::Weights,
    network::program::layer,
    tensors::matmul::{matrix, product},
};

/// A linear layer with its values.
pub(super) struct Linear<'a> {
    layer: &'a layer::Linear,
    weight: Cow<'a, [f32]>,
    outputs: usize,
    bias: Option<Cow<'a, [f32]>>,
}

impl<'a> Linear<'a> {
    pub fn new(layer: &'a layer::Linear, weights: &'a Weights) -> Self {
        Self {
            layer,
            weight: weights.host(&layer.weight),
            outputs: layer.outputs(),
            bias: layer.bias.as_ref().map(|bias| weights.host(bias)),
        }
    }

    /// `[out, in]`
    fn weight(&self) -> MatRef<'_, f32> {
        if self.layer.transposed {
            matrix(&self.weight, self.outputs).transpose()
        } else {
            matrix(&self.weight, self.weight.len() / self.outputs)
        }
    }

    /// `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let mut y = product(x.rows(), self.weight().transpose());
        if let Some(bias) = &self.bias {
            y.par_chunks_mut(self.outputs)
                .with_min_len(16)
                .for_each(|row| {
                    row.iter_mut()
                        .zip(bias.iter())
                        .for_each(|(v, bias)| *v += bias);
                });
        }

        let tokens = x.shape().split_last().map_or(&[][..], |(_, tokens)| tokens);
        CpuActivation::new(y, &[tokens, &[self.outputs]].concat())
    }

    /// `dW = dyᵀ x`, `db = Σ dy`, `dx = dy W`.
    pub fn backward(
        &self,
        x: &CpuActivation,
        dy: &CpuActivation,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<CpuActivation> {
        let (x_rows, dy_rows) = (x.rows(), dy.rows());
        let weight = if self.layer.transposed {
            product(x_rows.transpose(), dy_rows)
        } else {
            product(dy_rows.transpose(), x_rows)
        };
        gradients.add(&self.layer.weight.name, weight);

        if let Some(bias) = &self.layer.bias {
            gradients.add(&bias.name, sum_of_rows(dy.values(), self.outputs));
        }

        wanted.then(|| CpuActivation::new(product(dy_rows, self.weight()), x.shape()))
    }
}
