//! Fine-tuning: the plain training loop, and what a warm start wants besides.
//!
//! Every epoch: shuffle (`ChaCha8` from the seed), step through the batches with the cosine learning
//! rate over ALL steps, then take the running statistics anew and look at the validation data.
//! The observer hears of every step and epoch and may end the training; what has been reached by
//! then is the result. The running statistics of the result are re-estimated, as everywhere.
//!
//! A *touch-up* adds, each by itself: a warm-up of the learning rate, gradients clipped by their norm, a
//! pull `λ_t‖θ − θ_start‖²` towards the start, probabilities of a [`Teacher`] instead of labels, an update
//! of low rank, and [`Looks`] at the validation data within an epoch, of which the best is the result, and
//! of those that the samples cannot tell apart the last.
//! A plan without them trains as if they did not exist, bit for bit.

mod looks;
mod low_rank;
mod run;
mod trials;

use std::ops::ControlFlow;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{
    Dataset, Learner, optimizer::Optimizer, running_statistics::STATISTICS_SAMPLES,
    teacher::Teacher,
};
use crate::tensors::Checkpoint;
pub use looks::{LOOK_SAMPLES, Look, Looks};
use run::Run;
pub use trials::{RateTrial, RateTrials};

/// Samples per step, by default.
const BATCH_SIZE: usize = 64;

/// How to train. [`FineTunePlan::new`] has the defaults of all that a training can do without.
#[derive(Clone)]
pub struct FineTunePlan<'a> {
    pub epochs: usize,
    pub batch_size: usize,
    pub optimizer: Optimizer,
    /// At the first step after the warm-up; it falls along half a cosine.
    pub learning_rate: f64,
    /// Share of the steps over which the learning rate rises, in [0, 1).
    pub warmup: f64,
    /// The largest norm of a step's gradient, all tensors together; a longer one is scaled down to it.
    pub clip: Option<f64>,
    /// λ of the pull `λ_t‖θ − θ_start‖²` at the first step; `λ_t` falls along half a cosine to nothing.
    pub pull: f64,
    pub weight_decay: f64,
    /// Trains the linear layers alone, by an update of this rank.
    pub low_rank: Option<usize>,
    /// Whose probabilities are learned; `None`: the labels.
    pub teacher: Option<Teacher<'a>>,
    /// Order of the samples.
    pub seed: u64,
    /// Looked at after every epoch, or as `looks` says.
    pub validation: Option<&'a Dataset>,
    /// Looks within an epoch, of which the best is the result; `None`: the end is. Without `validation`
    /// there is nothing to look at.
    pub looks: Option<Looks>,
    /// Ends the training after the epoch, or the look, that reaches this validation accuracy.
    pub stop_at: Option<f64>,
    /// Training samples from which running statistics are re-estimated.
    pub statistics_samples: usize,
    /// Checkpoints to keep on the way, evenly spread over the steps; the last is the end.
    pub snapshots: usize,
}

impl FineTunePlan<'_> {
    /// Batches of 64, labels, all learned tensors, seed 0; no warm-up, clip, pull or weight decay; nobody
    /// looks on the way, and nothing is kept.
    pub fn new(optimizer: Optimizer, epochs: usize, learning_rate: f64) -> Self {
        Self {
            epochs,
            batch_size: BATCH_SIZE,
            optimizer,
            learning_rate,
            warmup: 0.0,
            clip: None,
            pull: 0.0,
            weight_decay: 0.0,
            low_rank: None,
            teacher: None,
            seed: 0,
            validation: None,
            looks: None,
            stop_at: None,
            statistics_samples: STATISTICS_SAMPLES,
            snapshots: 0,
        }
    }
}

/// What the observer hears.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Step {
        done: usize,
        total: usize,
        loss: f64,
    },
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
    /// So many looks in a row were below the peak.
    OutOfPatience,
    /// The observer said so.
    Interrupted,
}

/// The result of fine-tuning.
#[derive(Clone, Debug)]
pub struct FineTuned {
    pub checkpoint: Checkpoint,
    pub epochs: Vec<Epoch>,
    /// Within the epochs, where the plan has any.
    pub looks: Vec<Look>,
    /// Which of them the checkpoint is; `None`: it is the end.
    pub best_look: Option<usize>,
    pub steps: usize,
    pub end: End,
    /// `(steps done, checkpoint)`; running statistics are re-estimated in each.
    pub snapshots: Vec<(usize, Checkpoint)>,
}

impl Learner<'_> {
    /// Trains all learned tensors, or an update of low rank; dtypes and every other tensor stay.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data, `batch_size` is 0, or the teacher's classes are
    /// others.
    pub fn fine_tune(
        &self,
        params: &Checkpoint,
        train: &Dataset,
        plan: &FineTunePlan<'_>,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> FineTuned {
        let mut run = Run::new(self, params, train, plan);
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let (mut epochs, mut end, mut latest) = (Vec::new(), None, params.clone());

        for epoch in 1..=plan.epochs {
            order.shuffle(&mut rng);
            let (train_loss, ended) = run.pass(&order, observe);
            if run.looks.best().is_none() {
                latest = run.checkpoint(plan.statistics_samples);
            }
            end = ended;
            if end == Some(End::Interrupted) {
                break;
            }

            let (loss, accuracy) = self.validated(&run, &latest, plan).unzip();
            let result = Epoch {
                epoch,
                train_loss,
                validation_loss: loss,
                validation_accuracy: accuracy,
            };

            let interrupted = observe(Event::Epoch(&result)).is_break();
            epochs.push(result);
            if plan.stop_at.zip(accuracy).is_some_and(|(at, is)| is >= at) {
                end = Some(End::TargetReached);
            } else if interrupted {
                end = Some(End::Interrupted);
            }
            if end.is_some() {
                break;
            }
        }

        let (looks, best_look) = (run.looks.all(), run.looks.best());
        FineTuned {
            checkpoint: run.best_checkpoint().unwrap_or(latest),
            epochs,
            looks,
            best_look,
            steps: run.done,
            end: end.unwrap_or(End::Finished),
            snapshots: run.snapshots,
        }
    }

    /// Loss and accuracy at the end of an epoch: those of its last look, or of the checkpoint.
    fn validated(
        &self,
        run: &Run,
        latest: &Checkpoint,
        plan: &FineTunePlan<'_>,
    ) -> Option<(f64, f64)> {
        if let Some(look) = run.looks.last() {
            return Some((look.validation_loss, look.validation_accuracy));
        }
        let found = self.evaluate(latest, plan.validation?);
        Some((found.loss, found.accuracy))
    }
}

#[cfg(test)]
mod tests;
