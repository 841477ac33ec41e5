//! `x Wᵀ + b` and its backward pass, on samples or on every token of them.

use std::borrow::Cow;

use faer::MatRef;
use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients};
use crate::{
    execution::weights::Weights,
    network::Op,
    tensors::matmul::{matrix, product},
};

/// A linear layer.
pub(super) struct Linear<'a> {
    param: &'a str,
    /// The weight is `[in, out]`, not `[out, in]`.
    transposed: bool,
    weight: Cow<'a, [f32]>,
    outputs: usize,
    bias: Option<Cow<'a, [f32]>>,
}

impl<'a> Linear<'a> {
    pub fn new(op: &'a Op, weights: &'a Weights) -> Self {
        let Op::Linear { param, transposed } = op else { unreachable!("called for linear layers") };
        let (shape, weight) = weights.host(param, "weight").expect("shapes have been checked");
        Self {
            param,
            transposed: *transposed,
            weight,
            outputs: shape[usize::from(*transposed)],
            bias: weights.host(param, "bias").map(|(_, bias)| bias),
        }
    }

    /// `[out, in]`
    fn weight(&self) -> MatRef<'_, f32> {
        if self.transposed {
            matrix(&self.weight, self.outputs).transpose()
        } else {
            matrix(&self.weight, self.weight.len() / self.outputs)
        }
    }

    /// `[B, in]` to `[B, out]`, `[B, S, in]` to `[B, S, out]`.
    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let mut y = product(x.rows(), self.weight().transpose());
        if let Some(bias) = &self.bias {
            y.par_chunks_mut(self.outputs).with_min_len(16).for_each(|row| {
                row.iter_mut().zip(bias.iter()).for_each(|(v, bias)| *v += bias);
            });
        }

        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("a sample has an axis") = self.outputs;
        CpuActivation::new(y, &shape)
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
        let weight = if self.transposed {
            product(x_rows.transpose(), dy_rows)
        } else {
            product(dy_rows.transpose(), x_rows)
        };
        gradients.add(self.param, "weight", weight);

        if self.bias.is_some() {
            let mut sums = vec![0f64; self.outputs];
            for row in dy.values().chunks(self.outputs) {
                sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            let sums = sums.into_iter().map(|sum| sum as f32).collect();
            gradients.add(self.param, "bias", sums);
        }

        wanted.then(|| CpuActivation::new(product(dy_rows, self.weight()), x.shape()))
    }
}
