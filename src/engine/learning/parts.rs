//! The gradient of a batch whose activations are too many to be held at once.

use std::collections::HashMap;

use super::{Batch, Gradient, Learner};
use crate::engine::network::{Checkpoint, HostTensor, Op, forward::Weights, forward::floats};

/// Bytes of activations that the way back may hold.
const ACTIVATIONS: usize = 512 << 20;

impl Learner<'_> {
    /// As [`Learner::gradient`]. Where no batch norm ties the samples together and the activations
    /// of all would take more than half a gigabyte, the batch is gone through in parts and their
    /// gradients are added, each by its share of the samples.
    pub fn gradient_in_parts(&self, params: &Checkpoint, batch: &Batch) -> Gradient {
        let part = ACTIVATIONS / self.sample_bytes(&batch.sample_shape).max(1);
        self.gradient_by(part.max(1), params, batch)
    }

    fn gradient_by(&self, part: usize, params: &Checkpoint, batch: &Batch) -> Gradient {
        if part >= batch.len() || self.graph.has_batch_norm() {
            return self.gradient(params, batch);
        }
        let weights = Weights::upload(self.graph, params, &self.device);
        let (mut loss, mut sums) = (0.0, HashMap::<String, Vec<f32>>::new());
        for start in (0..batch.len()).step_by(part) {
            let some = batch.part(start..(start + part).min(batch.len()));
            let share = some.len() as f64 / batch.len() as f64;
            let (mean, gradients) = self.backward(&weights, &some);
            loss += share * mean;
            for (name, gradient) in gradients {
                let values = floats(gradient);
                let sum = sums.entry(name).or_insert_with(|| vec![0.0; values.len()]);
                sum.iter_mut().zip(values).for_each(|(sum, v)| *sum += share as f32 * v);
            }
        }
        let part = |(name, values): (String, Vec<f32>)| {
            let shape = params[&name].shape().to_vec();
            (name, HostTensor::from_f32(shape, values))
        };
        Gradient { loss, parts: sums.into_iter().map(part).collect() }
    }

    /// What one sample's activations take: every node's output once, attention's scores three
    /// times. Tokens count as many as the sample has.
    fn sample_bytes(&self, sample_shape: &[usize]) -> usize {
        let longest = self.graph.input.shape()[0];
        let is_tokens = matches!(self.graph.input, crate::engine::network::Input::Tokens { .. });
        let tokens = if is_tokens { sample_shape[0] } else { longest };
        let of_node = |(node, shape): (&crate::engine::network::Node, &Vec<usize>)| {
            let positions = if shape.len() == 2 && is_tokens { tokens } else { shape[0] };
            let output = shape.iter().skip(1).product::<usize>() * positions;
            match &node.op {
                Op::Attention { heads, .. } => output + 3 * heads * positions * positions,
                _ => output,
            }
        };
        4 * self.graph.nodes.iter().zip(&self.shapes).map(of_node).sum::<usize>()
    }
}

impl Batch {
    /// Some of the samples, in order.
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        let size: usize = self.sample_shape.iter().product();
        Self {
            inputs: self.inputs[range.start * size..range.end * size].to_vec(),
            sample_shape: self.sample_shape.clone(),
            labels: self.labels[range].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::engine::learning::testing;

    #[test]
    fn parts_add_up_to_the_whole() {
        let width = 5;
        let graph = testing::graph(
            &[3],
            json!([{"op": "linear", "param": "a"}, {"op": "gelu"}, {"op": "linear", "param": "b"}]),
        );
        let signature = testing::signature(&[("a.weight", &[width, 3]), ("b.weight", &[2, width])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 1);
        let batch = testing::random_batch(&[3], 20, 2, 2);
        assert_eq!(learner.sample_bytes(&[3]), 4 * (5 + 5 + 2));
        let whole = learner.gradient(&params, &batch);
        let parts = learner.gradient_by(8, &params, &batch);
        assert!((whole.loss - parts.loss).abs() < 1e-5);
        for (name, tensor) in whole.parts.iter() {
            let off = tensor.sums(&parts.parts[name], |a, b| f64::from(a - b).powi(2));
            assert!(off < 1e-8 * tensor.inner(tensor), "{name}");
        }
        assert_eq!(learner.cost().sample_gradients, 40);
    }
}
