//! The results of a transfer, each with its parts.
//!
//! A field of type `Option` is `None` where the job did not ask for it or has no data for it; none waits
//! to be filled.

use super::meter::Seconds;
use crate::engine::{
    tensors::Checkpoint,
    training::{Barrier, Cost, End, Epoch, Evaluation, Look, RateTrials},
    transfer::{Alignment, Candidate, ladder, race::Record},
};

/// A candidate of every method that ran.
pub struct Candidates {
    pub tried: Vec<Candidate>,
    /// Processor seconds of each candidate, with all that it builds upon.
    pub cpu_seconds: Vec<f64>,
    /// Of all candidates together: what two of them build upon was computed once.
    pub cost: Cost,
    /// Of it, what was spent on choosing: statistics and evaluations of models that raced.
    pub choosing: Cost,
    /// The rungs that `auto` took and skipped; `None` where methods were named.
    pub ladder: Option<Vec<ladder::Step>>,
    /// The matching of the bases' weights, where `auto` has made one.
    pub weight_matching: Option<Alignment>,
    pub seen: Seen,
}

/// What stands without a transfer, on the validation samples that it has met so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The old tuned model; `None` without validation.
    pub source_tuned: Option<Record>,
    /// The new base; `None` where nobody asked.
    pub target_before: Option<Measured>,
}

/// A model and what it did on the validation samples that choose.
#[derive(Clone, Debug)]
pub struct Measured {
    pub model: Checkpoint,
    pub record: Record,
}

/// All candidates, with the chosen one.
pub struct Choice {
    pub candidates: Vec<Candidate>,
    /// Processor seconds of each candidate, in order.
    pub cpu_seconds: Vec<f64>,
    /// Of all candidates together, what was skipped on the way to the best included.
    pub cost: Cost,
    /// Of it, what was spent on choosing.
    pub choosing: Cost,
    pub ladder: Option<Vec<ladder::Step>>,
    /// Position of the chosen candidate.
    pub chosen: usize,
    /// The candidates on the test split, in order: all where methods were named, under `auto` the chosen one;
    /// `None` without data.
    pub tests: Vec<Option<Evaluation>>,
    pub seen: Seen,
}

impl Choice {
    pub fn winner(&self) -> &Candidate {
        &self.candidates[self.chosen]
    }
}

/// What stands without any transfer.
pub struct Baselines {
    /// `θ_A^T`, the old tuned model: what keeping the old means.
    pub source_tuned: Option<Scores>,
    /// `θ_B⁰`, the new base, with running statistics of the training samples as every candidate has.
    pub target_before: Option<Scores>,
    /// Whether there were such statistics to be taken.
    pub restated: bool,
}

/// One model on both splits.
pub struct Scores {
    /// On the samples that choose.
    pub validation: Option<Record>,
    pub test: Evaluation,
}

/// A model after training, with what it cost.
pub struct Training {
    pub model: Checkpoint,
    pub epochs: Vec<Epoch>,
    pub learning_rate: f64,
    /// By what the learning rate was chosen; `None` where it was given.
    pub trials: Option<RateTrials>,
    pub looks: Vec<Look>,
    /// The look that is the model; `None`: the end is.
    pub best_look: Option<usize>,
    pub end: End,
    /// On the samples that choose.
    pub validation: Option<Record>,
    pub test: Option<Evaluation>,
    pub cost: Cost,
    pub seconds: Seconds,
}

/// The winner after the training that the specification grants.
pub struct FineTuning {
    pub training: Training,
    /// Validation says that it is at least as good as before.
    pub chosen: bool,
    /// Between the transferred model and this one, where the job asks for it: are they in one basin?
    pub barrier: Option<Barrier>,
    /// After the same steps without the pull; `None` where there was none.
    pub without_pull: Option<Training>,
}

/// The new base after plain training at the winner's cost.
pub struct FewShot {
    pub learning_rate: f64,
    /// Training samples used.
    pub samples: usize,
    /// Trained on the old tuned model's probabilities, in the absence of labels.
    pub by_old_model: bool,
    pub tuned: Training,
    /// With the trials of its learning rates.
    pub seconds: Seconds,
}

/// The chosen candidate beside all that it is measured against.
pub struct Comparison {
    pub choice: Choice,
    pub baselines: Baselines,
    /// The candidate after fine-tuning, where that was asked for.
    pub fine_tuning: Option<FineTuning>,
    /// The new base after plain training at the winner's cost; under `auto` alone.
    pub few_shot: Option<FewShot>,
    /// The new base after the job's own training; under `auto` alone.
    pub fine_tune_only: Option<Training>,
}

impl Comparison {
    pub fn winner(&self) -> &Candidate {
        self.choice.winner()
    }

    /// The winner after its training, where that is the result.
    fn chosen_training(&self) -> Option<&Training> {
        self.fine_tuning
            .as_ref()
            .filter(|tuned| tuned.chosen)
            .map(|tuned| &tuned.training)
    }

    /// Whether the result is the winner after its training.
    pub fn is_fine_tuned(&self) -> bool {
        self.chosen_training().is_some()
    }

    /// The model that would be published.
    pub fn model(&self) -> &Checkpoint {
        self.chosen_training()
            .map_or(&self.winner().model, |tuned| &tuned.model)
    }

    /// That model on the validation samples that choose.
    pub fn validation(&self) -> Option<&Record> {
        match self.chosen_training() {
            Some(tuned) => tuned.validation.as_ref(),
            None => self.winner().validation.as_ref(),
        }
    }

    /// That model on the test split.
    pub fn test(&self) -> Option<&Evaluation> {
        match self.chosen_training() {
            Some(tuned) => tuned.test.as_ref(),
            None => self.choice.tests[self.choice.chosen].as_ref(),
        }
    }
}
