//! Batch normalisation: `y = γ (x − mean) / √(variance + ε) + β`, per channel.

use burn::tensor::{Tensor, module::batch_norm_train};

use crate::execution::{
    statistics::{BatchStatistics, Statistics},
    weights::Weights,
};

/// One batch-norm node with its tensors.
pub(super) struct BatchNorm<'a> {
    pub node: usize,
    pub param: &'a str,
    pub eps: f64,
    pub weights: &'a Weights,
}

impl BatchNorm<'_> {
    /// `[B, C, …]` to the same shape.
    pub fn apply<const D: usize>(
        &self,
        x: Tensor<D>,
        statistics: &mut Statistics<'_>,
    ) -> Tensor<D> {
        match statistics {
            Statistics::Running => self.running(x),
            Statistics::Batch(observer) => {
                let count = x.shape().num_elements() / x.dims()[1];
                let (gamma, beta) = self.affine(&x);
                let result = batch_norm_train(x, gamma, beta, self.eps);
                let (mean, variance) = (result.mean, result.variance);
                observer(BatchStatistics { node: self.node, mean, variance, count });
                result.output
            }
        }
    }

    /// One multiplication and one addition per element: the statistics are folded into γ and β.
    fn running<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gamma, beta) = self.affine(&x);
        let scale = gamma / (self.statistic("running_var") + self.eps).sqrt();
        let shift = beta - self.statistic("running_mean") * scale.clone();

        let mut dims = [1; D];
        dims[1] = x.dims()[1];
        x * scale.reshape(dims) + shift.reshape(dims)
    }

    fn statistic(&self, suffix: &str) -> Tensor<1> {
        self.weights.get(self.param, suffix).expect("shapes have been checked")
    }

    /// γ and β; one and zero where the checkpoint has none.
    fn affine<const D: usize>(&self, x: &Tensor<D>) -> (Tensor<1>, Tensor<1>) {
        let (channels, device) = ([x.dims()[1]], x.device());
        let gamma = self.weights.get(self.param, "weight");
        let beta = self.weights.get(self.param, "bias");
        (
            gamma.unwrap_or_else(|| Tensor::ones(channels, &device)),
            beta.unwrap_or_else(|| Tensor::zeros(channels, &device)),
        )
    }
}
