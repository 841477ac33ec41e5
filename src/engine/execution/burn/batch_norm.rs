//! Batch normalisation: `y = γ (x − mean) / √(variance + ε) + β`, per channel.

use burn::tensor::{Device, Tensor, module::batch_norm_train};

use crate::{
    execution::{
        statistics::{BatchStatistics, Statistics},
        weights::Weights,
    },
    network::program::layer,
};

/// One batch-norm node with its tensors.
pub(super) struct BatchNorm<'a> {
    pub node: usize,
    pub layer: &'a layer::BatchNorm,
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
                let (gamma, beta) = self.affine(&x.device());
                let result = batch_norm_train(x, gamma, beta, self.layer.eps);
                let (mean, variance) = (result.mean, result.variance);
                observer(BatchStatistics {
                    node: self.node,
                    mean,
                    variance,
                    count,
                });
                result.output
            }
        }
    }

    /// One multiplication and one addition per element: the statistics are folded into γ and β.
    fn running<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gamma, beta) = self.affine(&x.device());
        let variance = self.weights.tensor(&self.layer.running_var);
        let scale = gamma / (variance + self.layer.eps).sqrt();
        let shift = beta - self.weights.tensor(&self.layer.running_mean) * scale.clone();

        let mut dims = [1; D];
        dims[1] = x.dims()[1];
        x * scale.reshape(dims) + shift.reshape(dims)
    }

    /// γ and β; one and zero where the checkpoint has none.
    fn affine(&self, device: &Device) -> (Tensor<1>, Tensor<1>) {
        let channels = [self.layer.channels()];
        let gamma = self
            .layer
            .gamma
            .as_ref()
            .map(|gamma| self.weights.tensor(gamma));
        let beta = self
            .layer
            .beta
            .as_ref()
            .map(|beta| self.weights.tensor(beta));
        (
            gamma.unwrap_or_else(|| Tensor::ones(channels, device)),
            beta.unwrap_or_else(|| Tensor::zeros(channels, device)),
        )
    }
}
