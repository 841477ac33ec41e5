//! How many samples would raise a parameter, and how many would lower it.

use super::{Dataset, Learner};
use crate::{
    execution::{BatchNormMode, Weights, floats},
    tensors::{Checkpoint, HostTensor},
};

impl Learner<'_> {
    /// `Σ_n sign ∇ℓ_n(θ)`, entry by entry: the signs of the gradients of single samples, batch norm
    /// with its running statistics (`GradFix`, ICLR 2026). Whole numbers between −N and N, f32, under
    /// the names of the learned tensors.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data, or a position is out of range.
    pub fn sign_votes(
        &self,
        params: &Checkpoint,
        data: &Dataset,
        positions: &[usize],
    ) -> Checkpoint {
        let weights = Weights::upload(&self.program, params, &self.executor);
        let mut votes: Vec<(String, Vec<f32>)> = Vec::new();
        for name in self.graph.learned() {
            votes.extend(
                params
                    .get(&name)
                    .map(|tensor| (name, vec![0.0; tensor.len()])),
            );
        }

        for &position in positions {
            let (_, mut gradients) =
                self.backward(&weights, &data.batch(&[position]), BatchNormMode::Running);
            for (name, votes) in &mut votes {
                let Some(gradient) = gradients.remove(name) else {
                    continue;
                };
                votes
                    .iter_mut()
                    .zip(floats(gradient))
                    .for_each(|(vote, g)| *vote += sign(g));
            }
        }

        let tensors = votes.into_iter().map(|(name, votes)| {
            let shape = params[&name].shape().to_vec();
            (name, HostTensor::from_f32(shape, votes))
        });
        tensors.collect()
    }
}

/// −1, 0 or 1.
fn sign(value: f32) -> f32 {
    f32::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::training::testing;

    #[test]
    fn votes_are_counted_sample_by_sample() {
        let graph = testing::graph(&[2], json!([{"op":"linear","param":"w"}]));
        let signature = testing::signature(&[("w.weight", &[2, 2]), ("w.bias", &[2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let inputs = HostTensor::from_f32(vec![3, 2], vec![1.0, 0.0, 2.0, -1.0, 0.5, 3.0]);
        let data = Dataset::from_floats(inputs, vec![0, 0, 1]);
        let params = testing::random_params(&signature, 1);
        let votes = learner.sign_votes(&params, &data, &[0, 1, 2]);
        // d ℓ / d logits is negative for the label's class and positive for the other.
        assert_eq!(votes["w.bias"].f32(), [-1.0, 1.0].as_slice());
        // times x: first input positive in all three, second 0, −, +.
        assert_eq!(votes["w.weight"].f32(), [-1.0, 2.0, 1.0, -2.0].as_slice());
        assert_eq!(learner.cost().sample_gradients, 3);
    }
}
