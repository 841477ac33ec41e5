//! Fine-tuning: the plain training loop.
//!
//! Every epoch: shuffle (`ChaCha8` from the seed), step through the batches with the cosine learning
//! rate over ALL steps, then take the running statistics anew and look at the validation data.
//! The observer hears of every step and epoch and may end the training; what has been reached by
//! then is the result. The running statistics of the result are re-estimated, as everywhere.

use std::ops::ControlFlow;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{
    Dataset, Learner,
    cross_entropy::counted,
    optimizer::{Memory, Optimizer, cosine},
    running_statistics::STATISTICS_SAMPLES,
};
use crate::{
    execution::{BatchNormMode, Weights},
    tensors::{Checkpoint, HostTensor},
};

/// Samples per step, by default.
const BATCH_SIZE: usize = 64;

/// How to train. [`FineTunePlan::new`] has the defaults of all that a training can do without.
#[derive(Clone, Debug)]
pub struct FineTunePlan<'a> {
    pub epochs: usize,
    pub batch_size: usize,
    pub optimizer: Optimizer,
    /// At the first step; it falls along half a cosine.
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Order of the samples.
    pub seed: u64,
    /// Looked at after every epoch.
    pub validation: Option<&'a Dataset>,
    /// Ends the training after the epoch that reaches this validation accuracy.
    pub stop_at: Option<f64>,
    /// Training samples from which running statistics are re-estimated.
    pub statistics_samples: usize,
    /// Checkpoints to keep on the way, evenly spread over the steps; the last is the end.
    pub snapshots: usize,
}

impl FineTunePlan<'_> {
    /// Batches of 64, no weight decay, seed 0; nobody looks on the way, and nothing is kept.
    pub fn new(optimizer: Optimizer, epochs: usize, learning_rate: f64) -> Self {
        Self {
            epochs,
            batch_size: BATCH_SIZE,
            optimizer,
            learning_rate,
            weight_decay: 0.0,
            seed: 0,
            validation: None,
            stop_at: None,
            statistics_samples: STATISTICS_SAMPLES,
            snapshots: 0,
        }
    }
}

/// What the observer hears.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Step { done: usize, total: usize, loss: f64 },
    Epoch(&'a Epoch),
}

/// One pass over the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean over the samples (or tokens that count) as they were met.
    pub train_loss: f64,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
}

/// Why the training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All epochs are done.
    Finished,
    /// `stop_at` was reached.
    TargetReached,
    /// The observer said so.
    Interrupted,
}

/// The result of fine-tuning.
#[derive(Clone, Debug)]
pub struct FineTuned {
    pub checkpoint: Checkpoint,
    pub epochs: Vec<Epoch>,
    pub steps: usize,
    pub end: End,
    /// `(steps done, checkpoint)`; running statistics are re-estimated in each.
    pub snapshots: Vec<(usize, Checkpoint)>,
}

/// A training under way.
struct Run<'r, 'g> {
    learner: &'r Learner<'g>,
    start: &'r Checkpoint,
    train: &'r Dataset,
    plan: &'r FineTunePlan<'r>,
    weights: Weights,
    memory: Memory,
    done: usize,
    snapshots: Vec<(usize, Checkpoint)>,
}

impl Learner<'_> {
    /// Trains all learned tensors; dtypes and every other tensor stay.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data, or `batch_size` is 0.
    pub fn fine_tune(
        &self,
        params: &Checkpoint,
        train: &Dataset,
        plan: &FineTunePlan<'_>,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> FineTuned {
        let mut run = Run {
            learner: self,
            start: params,
            train,
            plan,
            weights: Weights::upload(&self.program, params, &self.executor),
            memory: Memory::new(plan.optimizer, plan.weight_decay),
            done: 0,
            snapshots: Vec::new(),
        };

        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let (mut epochs, mut end, mut reached) = (Vec::new(), End::Finished, params.clone());

        for epoch in 1..=plan.epochs {
            order.shuffle(&mut rng);
            let (train_loss, flow) = run.pass(&order, observe);
            reached = run.checkpoint();
            if flow.is_break() {
                end = End::Interrupted;
                break;
            }

            let validation = plan.validation.map(|data| self.evaluate(&reached, data));
            epochs.push(Epoch {
                epoch,
                train_loss,
                validation_loss: validation.as_ref().map(|v| v.loss),
                validation_accuracy: validation.as_ref().map(|v| v.accuracy),
            });

            let result = &epochs[epoch - 1];
            let interrupted = observe(Event::Epoch(result)).is_break();
            if plan.stop_at.zip(result.validation_accuracy).is_some_and(|(at, is)| is >= at) {
                end = End::TargetReached;
                break;
            }
            if interrupted {
                end = End::Interrupted;
                break;
            }
        }

        let (steps, snapshots) = (run.done, run.snapshots);
        FineTuned { checkpoint: reached, epochs, steps, end, snapshots }
    }
}

impl Run<'_, '_> {
    /// One epoch over the samples in this order; the mean loss of those that were met.
    fn pass(
        &mut self,
        order: &[usize],
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> (f64, ControlFlow<()>) {
        let total = self.plan.epochs * order.len().div_ceil(self.plan.batch_size);
        let (mut sum, mut met) = (0.0, 0);
        for positions in order.chunks(self.plan.batch_size) {
            let rate = cosine(self.plan.learning_rate, self.done, total);
            let (loss, count) = self.step(positions, rate);
            sum += loss * count as f64;
            met += count;
            self.done += 1;
            self.keep_snapshot(total);

            let flow = observe(Event::Step { done: self.done, total, loss });
            if flow.is_break() {
                return (sum / met.max(1) as f64, flow);
            }
        }
        (sum / met.max(1) as f64, ControlFlow::Continue(()))
    }

    /// The batch's mean loss, and over how many labels it was taken.
    fn step(&mut self, positions: &[usize], rate: f64) -> (f64, usize) {
        let batch = self.train.batch(positions);
        let (loss, gradients) = self.learner.backward(&self.weights, &batch, BatchNormMode::Batch);
        for (name, gradient) in gradients {
            let memory = &mut self.memory;
            self.weights.update(&name, |value| memory.step(&name, value, gradient, rate));
        }
        (loss, counted(&batch.labels).count())
    }

    /// Snapshot `k` of `n` is taken at the first step at or after `k/n` of all steps.
    fn keep_snapshot(&mut self, total: usize) {
        let wanted = self.plan.snapshots;
        if wanted > 0 && self.done * wanted >= (self.snapshots.len() + 1) * total {
            let checkpoint = self.checkpoint();
            self.snapshots.push((self.done, checkpoint));
        }
    }

    /// What has been reached, in the dtypes of the start and with statistics taken anew.
    fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = self.start.clone();
        for name in self.learner.graph.learned() {
            let Some(host) = self.weights.download(&name) else { continue };
            let (dtype, shape) = (self.start[&name].dtype(), host.shape().to_vec());
            let values = host.f32().into_owned();
            checkpoint.insert(name, HostTensor::from_f32_as(dtype, shape, values));
        }

        let (samples, batch) = (self.plan.statistics_samples, self.plan.batch_size);
        self.learner.with_statistics(&checkpoint, self.train, samples, batch)
    }
}

#[cfg(test)]
mod tests;
