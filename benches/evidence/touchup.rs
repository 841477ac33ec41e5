//! What each part of the touch-up gives after a transfer: accuracy on the test split, by the number of
//! labelled samples.
//!
//! The pairs are those that `--functional` keeps. The labelled samples are further turned images, which
//! neither base nor the old tuning has seen; a fifth of them is held out for the looks. Every recipe has
//! its learning rate by the same three trials from the same start.

use std::{error::Error, ops::ControlFlow, path::Path};

use burn::tensor::Device;
use retune::engine::{
    profiler::Profiler,
    symmetry::Symmetry,
    tensors::Checkpoint,
    training::{Dataset, FineTunePlan, Learner, Looks, Optimizer, Teacher},
    transfer::{
        Alpha, Method, Problem, Schedule, Step, Trajectory,
        candidate::{Incumbents, Selection, select},
        methods::align,
        race::{Blocks, Race, Rules},
    },
};

use super::{
    case::{Budget, Relation},
    functional::Pair,
    images::Images,
};

const NETWORKS: [&str; 4] = ["mlp-512", "vit", "conv8", "resnet18"];
const SAMPLES: [usize; 2] = [256, 1000];
const SEEDS: u64 = 2;
/// One in so many samples is held out.
const HELD_OUT: usize = 5;
const BATCH: usize = 32;
/// Of 256 samples; of more as many as give twice the steps.
const EPOCHS: usize = 8;

const LOOKS: usize = 4;

/// One way to train.
struct Recipe {
    name: &'static str,
    warmup: f64,
    clip: Option<f64>,
    /// λ, over [`pull_unit`].
    pull: f64,
    /// The old tuned model's probabilities are learned instead of the labels.
    is_refresh: bool,
}

const PLAIN: Recipe = Recipe {
    name: "plain",
    warmup: 0.0,
    clip: None,
    pull: 0.0,
    is_refresh: false,
};
const CLIP: Recipe = Recipe {
    name: "clip",
    clip: Some(1.0),
    ..PLAIN
};
const BOTH: Recipe = Recipe {
    name: "both",
    warmup: 0.05,
    ..CLIP
};
const RECIPES: [Recipe; 7] = [
    PLAIN,
    Recipe {
        name: "warm-up",
        warmup: 0.05,
        ..PLAIN
    },
    CLIP,
    BOTH,
    Recipe {
        name: "pull 1",
        pull: 1.0,
        ..BOTH
    },
    Recipe {
        name: "pull 10",
        pull: 10.0,
        ..BOTH
    },
    Recipe {
        name: "refresh",
        is_refresh: true,
        ..BOTH
    },
];

/// The λ that halves a distance in some hundred steps at the optimiser's usual rate.
fn pull_unit(optimizer: Optimizer) -> f64 {
    match optimizer {
        Optimizer::Sgd => 0.03,
        Optimizer::AdamW => 3.0,
    }
}

/// Measures the pairs of Fashion-MNIST whose name contains `only`.
///
/// # Errors
/// When a file cannot be read.
pub fn measure(data: &Path, cases: &Path, only: &str) -> Result<(), Box<dyn Error>> {
    let learned = Images::read(&data.join("fashion"), "train")?;
    for seed in 0..SEEDS {
        for network in NETWORKS {
            for relation in [Relation::Independent, Relation::Continued] {
                let name = format!("fashion-{network}-{}-{seed}", relation.name());
                let at = cases.join(&name);
                if !name.contains(only) || !at.join("test.safetensors").exists() {
                    continue;
                }
                let budget = Budget::of(network);
                let from = 2 * budget.base + budget.tune + budget.validation;
                let samples = SAMPLES[SAMPLES.len() - 1];
                let images = learned.part(from, samples).turned().dataset();
                println!("{name}");
                let pair = Pair::read(&at, network)?;
                Row {
                    pair: &pair,
                    optimizer: budget.optimizer,
                    images,
                    seed,
                }
                .measure()?;
            }
        }
    }
    Ok(())
}

struct Row<'p> {
    pair: &'p Pair,
    optimizer: Optimizer,
    images: Dataset,
    seed: u64,
}

impl Row<'_> {
    fn measure(&self) -> Result<(), Box<dyn Error>> {
        let network = &self.pair.network;
        let learner = Learner::new(&network.graph, &network.signature, Device::flex())?;
        println!(
            "  old tuned {:.1}",
            self.accuracy(&learner, &self.pair.tuned)
        );
        for samples in SAMPLES {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                (0..samples).partition(|i| i % HELD_OUT == 0);
            let (validation, train) = (self.images.subset(&held), self.images.subset(&rest));
            for start in ["base", "identity", "fgmt", "functional"] {
                let model = self.start(start, &learner, &train, &validation)?;
                let before = self.accuracy(&learner, &model);
                let mut line = format!("  n {samples:4} {start:10} {before:5.1}");
                for recipe in &RECIPES {
                    line += &self.train(recipe, &learner, &model, [&train, &validation]);
                }
                println!("{line}");
            }
        }
        Ok(())
    }

    fn accuracy(&self, learner: &Learner, model: &Checkpoint) -> f64 {
        100.0 * learner.evaluate(model, &self.pair.test).accuracy
    }

    fn start(
        &self,
        name: &str,
        learner: &Learner,
        train: &Dataset,
        validation: &Dataset,
    ) -> Result<Checkpoint, Box<dyn Error>> {
        let (network, pair) = (&self.pair.network, self.pair);
        let symmetry = Symmetry::derive(&network.graph, &network.signature)?;
        let trajectory =
            Trajectory::linear(pair.old.clone(), pair.tuned.clone(), Schedule::Uniform, 5);
        let ledger = Profiler::new(|| 0.0);
        let problem = Problem {
            train: Some(train),
            validation: Some(validation),
            batch_size: 64,
            seed: self.seed,
            ..Problem::new(learner, &symmetry, &trajectory, &pair.new, &ledger)
        };
        let method = match name {
            "identity" => Method::Identity,
            "fgmt" => Method::Fgmt,
            "functional" => Method::Functional,
            _ => return Ok(problem.with_statistics(&pair.new)),
        };
        let alignment = align(method, &problem, None, None)?;
        let rules = Rules::default();
        let blocks = Blocks::draw(validation, rules.samples, self.seed);
        let race = Some(Race {
            blocks: &blocks,
            rules,
        });
        let selection = Selection {
            step: Step::Best,
            alpha: Alpha::Search,
            race,
            completes: false,
        };
        let incumbents = Incumbents::default();
        Ok(select(method, &problem, alignment, selection, incumbents)?.model)
    }

    /// ` | name`, in per cent of the test split the look of best accuracy, that of least loss and the end;
    /// then the learning rate.
    fn train(
        &self,
        recipe: &Recipe,
        learner: &Learner,
        start: &Checkpoint,
        [train, validation]: [&Dataset; 2],
    ) -> String {
        let epochs = if train.len() > 512 {
            EPOCHS / 2
        } else {
            EPOCHS
        };
        let teacher = Teacher {
            learner,
            model: &self.pair.tuned,
            known: &[],
        };
        let plan = FineTunePlan {
            batch_size: BATCH,
            warmup: recipe.warmup,
            clip: recipe.clip,
            pull: recipe.pull * pull_unit(self.optimizer),
            teacher: recipe.is_refresh.then_some(teacher),
            seed: self.seed,
            validation: Some(validation),
            ..FineTunePlan::new(self.optimizer, epochs, 0.0)
        };
        let mut go_on = |_: retune::engine::training::Event<'_>| ControlFlow::Continue(());
        let Some(trials) = learner.try_rates(start, train, &plan, &mut go_on) else {
            return String::new();
        };
        let plan = FineTunePlan {
            learning_rate: trials.learning_rate(),
            looks: Some(Looks {
                per_epoch: LOOKS,
                patience: None,
            }),
            // One at every look, the last at the end.
            snapshots: LOOKS * epochs,
            ..plan
        };
        let tuned = learner.fine_tune(start, train, &plan, &mut go_on);
        let accuracy = |position: usize| self.accuracy(learner, &tuned.snapshots[position].1);
        let least = (0..tuned.looks.len()).fold(0, |best, i| {
            let loss = |i: usize| tuned.looks[i].validation_loss;
            if loss(i) < loss(best) { i } else { best }
        });
        format!(
            " | {} {:.1} {:.1} {:.1} ({:.0e})",
            recipe.name,
            self.accuracy(learner, &tuned.checkpoint),
            accuracy(least),
            accuracy(tuned.snapshots.len() - 1),
            plan.learning_rate
        )
    }
}
