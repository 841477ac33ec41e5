//! How much of a batch is gone through at a time: activations and logits of all of it may be too
//! many to be held at once.

use super::{Batch, EVALUATION_BATCH_SAMPLES, Learner, activation_sizes::ActivationSizes};
use crate::{
    execution::Executor,
    network::{Layer, SampleSize},
};

/// Bytes of activations that the backward pass may hold.
pub const MAX_ACTIVATION_BYTES: usize = 512 << 20;

impl Learner<'_> {
    /// Samples of this size whose logits are held at once. A sequence's are large; where batch norm
    /// ties the samples of a batch together they cannot be parted.
    pub(crate) fn logits_batch_size(&self, size: SampleSize<'_>) -> usize {
        if !self.graph.task.is_of_tokens() || self.graph.has_batch_norm() {
            return usize::MAX;
        }
        self.logits_held(size)
    }

    /// Samples of this size that one step of an evaluation runs: on a device as many as its memory holds.
    pub(crate) fn evaluation_batch_size(&self, size: SampleSize<'_>) -> usize {
        match self.executor {
            Executor::Cpu => self.logits_batch_size(size).min(EVALUATION_BATCH_SAMPLES),
            Executor::Burn(_) => self.device_batch_size(size).min(self.logits_held(size)),
        }
    }

    /// Samples of this size that a device runs forward at once; any number in host memory.
    pub(crate) fn device_batch_size(&self, size: SampleSize<'_>) -> usize {
        match self.executor {
            Executor::Cpu => usize::MAX,
            Executor::Burn(_) => {
                let sizes = self.sizes(size);
                self.device_memory
                    .evaluated_at_once(sizes, self.model_bytes)
            }
        }
    }

    /// Samples of a batch that go forward and back at once.
    pub(super) fn micro_batch_size(&self, batch: &Batch) -> usize {
        if self.graph.has_batch_norm() {
            return batch.len();
        }
        let activations = match self.executor {
            Executor::Cpu => self.activation_bytes / self.sample_bytes(batch.size()).max(1),
            Executor::Burn(_) => {
                let sizes = self.sizes(batch.size());
                self.device_memory.trained_at_once(sizes, self.model_bytes)
            }
        };
        activations
            .min(self.logits_batch_size(batch.size()))
            .clamp(1, batch.len().max(1))
    }

    /// Samples whose logits are held in host memory.
    fn logits_held(&self, size: SampleSize<'_>) -> usize {
        let rows = match self.graph.target {
            Some(_) => size.labels,
            None if self.graph.task.is_of_tokens() => size.shape.first().copied().unwrap_or(1),
            None => 1,
        };
        (self.max_logits / (rows * self.classes).max(1)).max(1)
    }

    fn sizes<'s>(&'s self, size: SampleSize<'s>) -> ActivationSizes<'s> {
        ActivationSizes {
            program: &self.program,
            size,
        }
    }

    /// What one sample's activations take on the CPU: every node's output once, attention's scores three
    /// times where burn holds them.
    fn sample_bytes(&self, size: SampleSize<'_>) -> usize {
        let sizes = self.sizes(size);

        let mut values = 0;
        for instruction in &self.program.instructions {
            let (layer, positions) = (&instruction.layer, sizes.positions(instruction));
            values += sizes.output(instruction);
            if let Layer::Attention(attention) = layer
                && self.executor.runs_by_burn(layer)
            {
                values += 3 * sizes.scores(attention, positions);
            }
            if let Layer::Experts(layer) = layer {
                let width = instruction.output.last().copied().unwrap_or(1);
                values += layer.top_k * positions * (4 * layer.hidden() + 3 * width);
            }
        }

        4 * values
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::training::testing;

    #[test]
    fn parts_add_up_to_the_whole() {
        let width = 5;
        let graph = testing::graph(
            &[3],
            json!([{"op": "linear", "param": "a"}, {"op": "gelu"}, {"op": "linear", "param": "b"}]),
        );
        let signature = testing::signature(&[("a.weight", &[width, 3]), ("b.weight", &[2, width])]);
        let mut learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 1);
        let batch = testing::random_batch(&[3], 20, 2, 2);
        assert_eq!(learner.sample_bytes(batch.size()), 4 * (5 + 5 + 2));
        let whole = learner.gradient(&params, &batch);
        learner.activation_bytes = 8 * learner.sample_bytes(batch.size());
        assert_eq!(learner.micro_batch_size(&batch), 8);
        let parts = learner.gradient(&params, &batch);
        assert!((whole.loss - parts.loss).abs() < 1e-5);
        for (name, tensor) in whole.parts.iter() {
            let off = tensor.squared_distance(&parts.parts[name]);
            assert!(off < 1e-8 * tensor.inner(tensor), "{name}");
        }

        assert_eq!(learner.cost().sample_gradients, 40);
    }
}
