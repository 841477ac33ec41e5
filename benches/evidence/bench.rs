//! A case with what all its contenders share.

use std::error::Error;

use burn::tensor::Device;
use retune::engine::{
    profiler::Profiler,
    symmetry::Symmetry,
    tensors::Checkpoint,
    training::{Dataset, Evaluation, FineTunePlan, Learner},
    transfer::{STATISTICS_SAMPLES, Schedule, Trajectory},
};

use super::{
    case::{BATCH, Budget, Case, plan, train},
    spent::cpu_seconds,
};

/// B of the methods.
pub const SAMPLES: usize = 64;

/// A case with what its contenders share.
pub struct Bench<'a> {
    pub case: &'a Case,
    pub learner: Learner<'a>,
    pub symmetry: Symmetry,
    pub trajectory: Trajectory,
    pub train: Dataset,
    pub validation: Dataset,
    pub test: Dataset,
    pub ledger: Profiler,
    /// The old tuned model on the test split.
    pub kept: Evaluation,
    pub untouched: Evaluation,
    pub full: Full,
}

/// Full fine-tuning of the new base.
pub struct Full {
    pub learning_rate: f64,
    pub accuracy: f64,
}

impl<'a> Bench<'a> {
    /// # Errors
    /// When the symmetry cannot be derived.
    pub fn new(case: &'a Case) -> Result<Self, Box<dyn Error>> {
        let learner = Learner::new(&case.network.graph, &case.network.signature, Device::flex())?;
        let symmetry = Symmetry::derive(&case.network.graph, &case.network.signature)?;
        let (old, tuned) = (case.old_base.clone(), case.tuned.clone());
        let trajectory = Trajectory::linear(old, tuned, Schedule::Uniform, case.budget.timesteps);
        let test = case.test.dataset();
        let train = case.train.dataset();
        let settled = |model| learner.with_statistics(model, &train, STATISTICS_SAMPLES, BATCH);
        let kept = learner.evaluate(&case.tuned, &test);
        let untouched = learner.evaluate(&settled(&case.new_base), &test);
        let mut bench = Self {
            case,
            symmetry,
            trajectory,
            train,
            validation: case.validation.dataset(),
            test,
            ledger: Profiler::new(cpu_seconds),
            kept,
            untouched,
            full: Full {
                learning_rate: 0.0,
                accuracy: 0.0,
            },
            learner,
        };
        let (learning_rate, accuracy) = bench.best_rate(&case.new_base, case.budget.tune_epochs);
        bench.full = Full {
            learning_rate,
            accuracy,
        };
        Ok(bench)
    }

    /// On the test split.
    pub fn accuracy(&self, model: &Checkpoint) -> f64 {
        self.learner.evaluate(model, &self.test).accuracy
    }

    /// The learning rate that validation prefers, and its accuracy on the test split.
    pub fn best_rate(&self, start: &Checkpoint, epochs: usize) -> (f64, f64) {
        let one = |rate: f64| {
            let plan = plan(epochs, self.case.budget.optimizer, rate, self.case.seed);
            let model = train(&self.learner, start, &self.train, &plan).checkpoint;
            (
                self.learner.evaluate(&model, &self.validation).accuracy,
                rate,
                model,
            )
        };
        let best = self
            .case
            .budget
            .learning_rates
            .map(one)
            .into_iter()
            .reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (_, rate, model) = best.expect("there are learning rates");
        (rate, self.accuracy(&model))
    }

    /// The plan of full fine-tuning, at the learning rate that was the best.
    pub fn full_plan(&self) -> FineTunePlan<'static> {
        let Budget {
            tune_epochs,
            optimizer,
            ..
        } = self.case.budget;
        plan(
            tune_epochs,
            optimizer,
            self.full.learning_rate,
            self.case.seed,
        )
    }
}
