//! The learning rate by three short trials.
//!
//! Each trains from the same start, by the same plan, over a small share of its steps with a schedule of
//! its own; the least validation loss wins, or, without validation, the least training loss.

use std::ops::ControlFlow;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{End, Event, FineTunePlan, looks::Seen};
use crate::{
    tensors::Checkpoint,
    training::{Dataset, Learner, Optimizer},
};

/// Of the steps, for each learning rate that is tried.
const TRIAL_SHARE: usize = 8;
/// Steps of a trial, at least; of a shorter training all of them.
const LEAST_STEPS: usize = 8;
/// The learning rates that are tried, over the optimiser's usual one.
const MULTIPLES: [f64; 3] = [0.3, 1.0, 3.0];

/// One learning rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RateTrial {
    pub learning_rate: f64,
    /// On validation after the trial, or without validation the trial's mean training loss; `None` where
    /// it is no number.
    pub loss: Option<f64>,
}

impl RateTrial {
    fn is_better_than(&self, other: &Self) -> bool {
        self.loss.unwrap_or(f64::INFINITY) < other.loss.unwrap_or(f64::INFINITY)
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateTrials {
    pub trials: Vec<RateTrial>,
    /// Of the trials; where every one diverged the first, which is the smallest.
    pub chosen: usize,
}

impl RateTrials {
    pub fn learning_rate(&self) -> f64 {
        self.trials[self.chosen].learning_rate
    }
}

impl Optimizer {
    /// The learning rate that a training from a warm start is tried around (ours).
    pub fn usual_rate(self) -> f64 {
        match self {
            Self::Sgd => 0.01,
            Self::AdamW => 5e-4,
        }
    }

    /// The learning rates of the trials, rising.
    pub fn rates(self) -> [f64; MULTIPLES.len()] {
        MULTIPLES.map(|multiple| multiple * self.usual_rate())
    }
}

/// What one trial sees: so many passes over so many samples.
struct Share {
    samples: usize,
    epochs: usize,
}

impl Share {
    /// Of a training of `epochs` passes over `samples`.
    fn of(epochs: usize, batch_size: usize, samples: usize) -> Self {
        let steps = epochs * samples.div_ceil(batch_size);
        let steps = steps.div_ceil(TRIAL_SHARE).max(LEAST_STEPS).min(steps);
        let some = (steps * batch_size).min(samples).max(1);
        Self {
            samples: some,
            epochs: (steps * batch_size / some).clamp(1, epochs.max(1)),
        }
    }
}

impl FineTunePlan<'_> {
    /// Sample gradients of one trial before a training of `epochs` passes over `samples`.
    pub fn trial_gradients(epochs: usize, batch_size: usize, samples: usize) -> usize {
        let share = Share::of(epochs, batch_size, samples);
        share.epochs * share.samples
    }
}

impl Learner<'_> {
    /// Tries the optimiser's learning rates before the training of `plan`; `None` when interrupted.
    ///
    /// # Panics
    /// As [`Learner::fine_tune`].
    pub fn try_rates(
        &self,
        params: &Checkpoint,
        train: &Dataset,
        plan: &FineTunePlan<'_>,
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Option<RateTrials> {
        let share = Share::of(plan.epochs, plan.batch_size, train.len());
        let mut order: Vec<usize> = (0..train.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(plan.seed));
        let some = train.subset(&order[..share.samples]);
        let validation = Seen::of(plan.validation);

        let mut trials = Vec::new();
        for learning_rate in plan.optimizer.rates() {
            let trial = FineTunePlan {
                learning_rate,
                epochs: share.epochs,
                validation: None,
                looks: None,
                stop_at: None,
                snapshots: 0,
                ..plan.clone()
            };
            let tuned = self.fine_tune(params, &some, &trial, observe);
            if tuned.end == End::Interrupted {
                return None;
            }

            let loss = match validation.data() {
                Some(data) => self.evaluate(&tuned.checkpoint, data).loss,
                None => tuned
                    .epochs
                    .last()
                    .map_or(f64::NAN, |epoch| epoch.train_loss),
            };
            let loss = Some(loss).filter(|loss| loss.is_finite());
            trials.push(RateTrial {
                learning_rate,
                loss,
            });
        }

        let chosen = (1..trials.len()).fold(0, |best, i| {
            if trials[i].is_better_than(&trials[best]) {
                i
            } else {
                best
            }
        });
        Some(RateTrials { trials, chosen })
    }
}
