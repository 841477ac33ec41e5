//! Loss and gradient on one batch.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};

use super::{
    Batch, Learner, Loss,
    cross_entropy::{self, Scores, Soft},
    teacher::Lesson,
};
use crate::{
    execution::{
        BatchNormMode, BatchStatistics, Executor, Statistics, Weights,
        burn::forward as forward_by_burn,
        cpu::{self, Stored},
        floats,
    },
    tensors::{Checkpoint, HostTensor},
};

/// The mean loss of a batch and its gradient, f32, under the names of the learned tensors.
#[derive(Clone, Debug)]
pub struct Gradient {
    pub loss: f64,
    pub parts: Checkpoint,
}

/// What a part of a batch is led towards: its labels, or a teacher's probabilities.
#[derive(Clone, Copy)]
struct Goal<'t> {
    loss: Loss,
    /// What a counted row has of the mean over the whole batch.
    share: f64,
    soft: Option<Soft<'t>>,
}

impl Goal<'_> {
    fn scores(&self, logits: &[f32], labels: &[i64]) -> Scores {
        match self.soft {
            Some(soft) => self.loss.soft_scores(logits, labels, soft),
            None => self.loss.scores(logits, labels),
        }
    }

    /// The gradient in the place of the logits.
    fn gradient(&self, logits: Vec<f32>, labels: &[i64]) -> Vec<f32> {
        match self.soft {
            Some(soft) => self.loss.soft_gradient(logits, labels, soft, self.share),
            None => self.loss.gradient(logits, labels, self.share),
        }
    }
}

impl Learner<'_> {
    /// Mean loss over the batch (over the tokens that count) and its gradient; batch norm uses the batch's own
    /// statistics, there is no weight decay. A tied tensor's gradient is the sum over its readers.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the batch.
    pub fn gradient(&self, params: &Checkpoint, batch: &Batch) -> Gradient {
        let weights = Weights::upload(&self.program, params, &self.executor);
        let (loss, gradients) = self.backward(&weights, batch, BatchNormMode::Batch);

        let parts = gradients.into_iter().map(|(name, values)| {
            let shape = params[&name].shape().to_vec();
            (name, HostTensor::from_f32(shape, floats(values)))
        });

        Gradient {
            loss,
            parts: parts.collect(),
        }
    }

    /// The mean loss and its flat gradients by name. A batch of long sequences is gone through in
    /// parts, for its logits are larger than the model; the parts' gradients add up to the batch's.
    pub(super) fn backward(
        &self,
        weights: &Weights,
        batch: &Batch,
        mode: BatchNormMode,
    ) -> (f64, HashMap<String, Tensor<1>>) {
        self.backward_towards(weights, batch, mode, None)
    }

    /// The same towards a teacher's probabilities, where there is one; the labels say which rows count.
    pub(super) fn backward_towards(
        &self,
        weights: &Weights,
        batch: &Batch,
        mode: BatchNormMode,
        lesson: Option<&Lesson>,
    ) -> (f64, HashMap<String, Tensor<1>>) {
        self.spent_gradients(batch.len());
        let share = cross_entropy::share(&batch.labels);
        let (mut all, mut sums) = (Scores::default(), HashMap::new());

        for part in batch.parts(self.micro_batch_size(batch)) {
            let taught = lesson.map(|lesson| (lesson.logits(&part), lesson.known()));
            let soft = taught
                .as_ref()
                .map(|(logits, known)| Soft { logits, known });
            let goal = Goal {
                loss: self.loss(),
                share,
                soft,
            };
            let (some, gradients) = match self.executor {
                Executor::Cpu => self.backward_on_cpu(weights, part, mode, goal),
                Executor::Burn(_) => self.backward_by_burn(&weights.leaves(), part, mode, goal),
            };
            all.losses.extend(some.losses);
            for (name, gradient) in gradients {
                let sum = match sums.remove(&name) {
                    Some(earlier) => earlier + gradient,
                    None => gradient,
                };
                sums.insert(name, sum);
            }
        }

        (all.mean_loss(), sums)
    }

    /// Scores of a part of a batch, and its gradients.
    fn backward_on_cpu(
        &self,
        weights: &Weights,
        part: Batch,
        mode: BatchNormMode,
        goal: Goal,
    ) -> (Scores, HashMap<String, Tensor<1>>) {
        let labels = part.labels.clone();
        let samples = part.on_cpu(&self.program);
        let mut trace = cpu::forward(&self.program, weights, samples, mode, Stored::ForBackward);
        let logits = std::mem::take(&mut trace.logits);

        let found = goal.scores(&logits, &labels);
        let factor = goal.gradient(logits, &labels);
        (found, trace.backward(factor).into_tensors())
    }

    /// The same on any device, by burn's own differentiation, for leaves.
    fn backward_by_burn(
        &self,
        leaves: &Weights,
        part: Batch,
        mode: BatchNormMode,
        goal: Goal,
    ) -> (Scores, HashMap<String, Tensor<1>>) {
        let device = self.executor.device().autodiff();
        let labels = part.labels.clone();
        let samples = part.by_burn(&self.program, &device);
        let mut unheard = drop::<BatchStatistics>;
        let statistics = match mode {
            BatchNormMode::Batch => Statistics::Batch(&mut unheard),
            BatchNormMode::Running => Statistics::Running,
        };

        let logits = forward_by_burn(&self.program, leaves, samples, statistics);

        let values = floats(logits.clone().inner());
        let found = goal.scores(&values, &labels);

        // d loss / d θ = Σ (d loss / d logits) · d logits / d θ, the first factor a constant.
        let factor = goal.gradient(values, &labels);
        let factor = Tensor::from_data(TensorData::new(factor, logits.dims()), &device);
        let mut gradients = (logits * factor).sum().backward();
        let learned = self.graph.learned().into_iter().filter_map(|name| {
            let gradient = leaves.flat(&name)?.grad_remove(&mut gradients)?;
            Some((name, gradient))
        });
        let mut learned: HashMap<String, Tensor<1>> = learned.collect();
        self.add_idle_experts(leaves, &mut learned);

        (found, learned)
    }

    /// Experts that no token went through have a gradient of zero.
    fn add_idle_experts(&self, leaves: &Weights, found: &mut HashMap<String, Tensor<1>>) {
        let of_experts = self.program.params().filter(|param| param.expert.is_some());
        for param in of_experts {
            if !found.contains_key(&param.name)
                && let Some(leaf) = leaves.flat(&param.name)
            {
                found.insert(param.name.clone(), leaf.inner().zeros_like());
            }
        }
    }
}

#[cfg(test)]
mod tests;
