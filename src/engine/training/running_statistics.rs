//! Re-estimates running statistics: reset, then cumulative averaging.
//!
//! After parameters are moved (a transfer, an interpolation) the running statistics no longer
//! describe the activations, and accuracy collapses until they are taken anew.

use std::collections::BTreeMap;

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Learner};
use crate::{
    execution::{BatchNormMode, Moments, Weights},
    tensors::{Checkpoint, HostTensor},
};

/// Samples from which running statistics are re-estimated, by default.
pub const STATISTICS_SAMPLES: usize = 1024;

/// Sums over batches of a norm's mean and unbiased variance.
#[derive(Default)]
struct Sums {
    mean: Vec<f64>,
    variance: Vec<f64>,
    batches: f64,
}

impl Learner<'_> {
    /// The checkpoint with running means and variances taken anew: the averages, over the batches,
    /// of the batch's mean and unbiased variance (`momentum=None` of `PyTorch`). `samples` of the data
    /// are drawn, always the same ones, and split into batches of about `batch_size`; every other
    /// tensor is unchanged. A graph without batch norm gives the checkpoint back.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data, or a size is 0.
    #[must_use]
    pub fn with_statistics(
        &self,
        params: &Checkpoint,
        data: &Dataset,
        samples: usize,
        batch_size: usize,
    ) -> Checkpoint {
        if !self.graph.has_batch_norm() {
            return params.clone();
        }
        let weights = Weights::upload(&self.program, params, &self.executor);

        let mut sums = BTreeMap::<(&String, &String), Sums>::new();
        for positions in draw(data.len(), samples, batch_size) {
            let (_, seen) = self.logits(&weights, data.batch(&positions), BatchNormMode::Batch);
            for (position, norm) in self.program.batch_norms() {
                let names = (&norm.running_mean.name, &norm.running_var.name);
                sums.entry(names).or_default().add(&seen[&position]);
            }
        }

        let mut result = params.clone();
        for ((mean, variance), sums) in sums {
            for (name, sum) in [(mean, &sums.mean), (variance, &sums.variance)] {
                let values = sum.iter().map(|v| (v / sums.batches) as f32).collect();
                let dtype = params[name].dtype();
                result.insert(
                    name,
                    HostTensor::from_f32_as(dtype, vec![sum.len()], values),
                );
            }
        }
        result
    }
}

impl Sums {
    fn add(&mut self, seen: &Moments) {
        // One value a channel has no spread; PyTorch refuses it, here its variance is 0.
        let unbiased = seen.count as f64 / seen.count.saturating_sub(1).max(1) as f64;
        add_scaled(&mut self.mean, &seen.mean, 1.0);
        add_scaled(&mut self.variance, &seen.variance, unbiased);
        self.batches += 1.0;
    }
}

fn add_scaled(sum: &mut Vec<f64>, values: &[f64], factor: f64) {
    sum.resize(values.len(), 0.0);
    sum.iter_mut()
        .zip(values)
        .for_each(|(s, v)| *s += v * factor);
}

/// Positions in batches whose sizes differ by one at most: a small last batch would count as much
/// as the others and be noisier. Data sets come sorted by class and in regular cycles, hence the
/// draw; its seed is fixed, so that two candidates are measured on the same samples.
fn draw(available: usize, samples: usize, batch_size: usize) -> Vec<Vec<usize>> {
    let samples = samples.min(available);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let drawn = index::sample(&mut rng, available, samples).into_vec();
    let batches = samples.div_ceil(batch_size);
    (0..batches)
        .map(|b| drawn[b * samples / batches..(b + 1) * samples / batches].to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::training::{Batch, testing};

    #[test]
    fn statistics_are_the_mean_over_batches_with_unbiased_variance() {
        let graph = testing::graph(&[2], json!([{"op":"batch_norm","param":"n"}]));
        let signature = testing::signature(&[("n.running_mean", &[2]), ("n.running_var", &[2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 0);
        // Two channels of the same values.
        let inputs = vec![1.0, 1.0, 2.0, 2.0, 6.0, 6.0];
        let batch = Batch {
            inputs,
            sample_shape: vec![2],
            labels: vec![0, 0, 0],
        };
        let data = testing::dataset(&batch);
        let whole = learner.with_statistics(&params, &data, 100, 3);
        assert!((whole["n.running_mean"].f32()[0] - 3.0).abs() < 1e-6);
        assert!(
            (whole["n.running_var"].f32()[0] - 7.0).abs() < 1e-5,
            "14 / 2"
        );
        // The training forward pass uses the batch's own statistics, evaluation the running ones.
        let logits = learner.predict(&whole, &batch);
        assert!((logits[4] - 3.0 / (7f32 + 1e-5).sqrt()).abs() < 1e-5);
        let inputs = vec![1.0, 1.0, 3.0, 3.0, 1.0, 1.0, 3.0, 3.0];
        let pairs = Batch {
            inputs,
            labels: vec![0; 4],
            ..batch
        };
        let halves = learner.with_statistics(&params, &testing::dataset(&pairs), 4, 2);
        assert!((halves["n.running_mean"].f32()[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn every_sample_is_drawn_once_in_even_batches() {
        let batches = draw(10, 100, 4);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 4]);
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(draw(10, 5, 4), draw(10, 5, 4));
    }
}
