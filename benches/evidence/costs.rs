//! What a user pays until the tuned new base is good enough, everything counted, beside plain training.
//!
//! A row is a pair of bases with a tuning of so many images. Its ways are plain training alone, `auto` with the
//! labelled images, and `auto` with a few images without labels (the validation split has none
//! then, either). After `auto` the same training goes on from what it has
//! published, or from the new base where it says that training alone is better. The learning rate of each is
//! the best of three by validation, for nothing. The curve is looked at on the whole test split after every
//! eighth of an epoch; the looks are not counted. A forward pass is a third of a gradient. What `auto` spent is told
//! whole, with training alone as its control and the judgement on the test split, and as what its rungs alone took.
//!
//! Beside it stands few-shot training on as many *labelled* images as `auto` had without labels, the best of three rates and
//! two lengths by the whole validation split, for nothing.

use std::{collections::BTreeMap, error::Error, path::Path};

use retune::engine::{tensors::Checkpoint, training::FineTunePlan, transfer::STATISTICS_SAMPLES};
use serde_json::{Value, json};

use super::{
    automatic,
    bench::Bench,
    case::{BATCH, Budget, Case, Relation, Setting, checkpoint, plan, train},
    row::{SHIPPED, images, machine},
    spent::{Spent, cpu_seconds, gradients},
};

/// Shares of full fine-tuning's accuracy.
const SHARES: [&str; 2] = ["0.90", "0.95"];
const LOOKS_PER_EPOCH: usize = 8;
/// Images without labels.
const FEW: [usize; 2] = [64, 256];
/// Passes over few labelled images.
const FEW_EPOCHS: [usize; 2] = [8, 30];
const SEEDS: u64 = 3;
/// From the cheapest, with the sizes of their tunings.
const NETWORKS: [(&str, &[usize]); 4] = [
    ("mlp-512", &[256, 2048, 16384]),
    ("vit", &[256, 2048]),
    ("conv8", &[512]),
    ("resnet18", &[512]),
];
const RELATIONS: [Relation; 2] = [Relation::Continued, Relation::Independent];

/// What is measured at a time.
pub struct CostRow {
    data: &'static str,
    network: &'static str,
    /// Images of the tuning.
    tune: usize,
    relation: Relation,
    seed: u64,
}

impl CostRow {
    /// The one that needs no other files, small enough for a test.
    pub fn shipped() -> Self {
        Self {
            data: SHIPPED,
            network: "mlp-32",
            tune: 512,
            relation: Relation::Independent,
            seed: 0,
        }
    }

    pub fn name(&self) -> String {
        let Self {
            data,
            network,
            tune,
            relation,
            seed,
        } = self;
        format!("{data}-{network}-{tune}-{}-{seed}", relation.name())
    }

    /// Trains the models and goes every way; `data` holds the folders of the data sets.
    ///
    /// # Errors
    /// When data are missing, values overflow or a job fails.
    pub fn measure(&self, data: &Path, commit: &str) -> Result<Value, Box<dyn Error>> {
        let [learned, judged] = images(data, self.data)?;
        let setting = Setting {
            network: self.network,
            budget: Budget {
                tune: self.tune,
                ..Budget::of(self.network)
            },
            relation: self.relation,
            seed: self.seed,
        };
        let case = Case::trained(&learned, &judged, setting)?;
        let bench = Bench::new(&case)?;

        let mut ways = vec![way(
            "plain training",
            &bench,
            &case.new_base,
            Spent::default(),
            Value::Null,
        )];
        let labelled = automatic::run(&case, &json!({"gate": {"min": 0.0}}))?;
        ways.push(after_auto("auto, labels", &bench, &labelled)?);
        let mut few_shot = BTreeMap::new();
        for samples in FEW.into_iter().filter(|samples| *samples <= self.tune) {
            let gate = json!({"gate": {"metric": "agreement", "min": 0.0}});
            let few = case.train.part(0, samples).unlabelled();
            let few = case.with(few, case.validation.unlabelled());
            let done = automatic::run(&few, &gate)?;
            ways.push(after_auto(
                &format!("auto, {samples} inputs"),
                &bench,
                &done,
            )?);
            few_shot.insert(samples.to_string(), few_shot_accuracy(&bench, samples));
        }

        Ok(json!({
            "data": self.data, "network": self.network, "tune": self.tune, "relation": self.relation, "seed": self.seed,
            "command": format!("cargo bench --bench evidence -- --data DIR --costs --only {}", self.name()),
            "commit": commit, "date": time::OffsetDateTime::now_utc().date().to_string(), "machine": machine(),
            "keep_old": bench.kept.accuracy, "target_untouched": bench.untouched.accuracy,
            "full_fine_tuning": {"accuracy": bench.full.accuracy, "learning_rate": bench.full.learning_rate},
            "ways": ways, "few_shot": few_shot,
        }))
    }
}

/// Seed by seed, so that a bench that was ended early has something of everything.
pub fn rows() -> impl Iterator<Item = CostRow> {
    let rows = (0..SEEDS).flat_map(|seed| {
        NETWORKS.into_iter().flat_map(move |(network, sizes)| {
            sizes.iter().flat_map(move |&tune| {
                RELATIONS.into_iter().flat_map(move |relation| {
                    ["fashion", "mnist"].into_iter().map(move |data| CostRow {
                        data,
                        network,
                        tune,
                        relation,
                        seed,
                    })
                })
            })
        })
    });
    std::iter::once(CostRow::shipped()).chain(rows)
}

/// What a job has published, and what it cost.
fn after_auto(
    name: &str,
    bench: &Bench<'_>,
    done: &automatic::Done,
) -> Result<Value, Box<dyn Error>> {
    let report = &done.report;
    let cost = |what: &str| {
        let count = |kind: &str| report["cost"][what][kind].as_f64().unwrap_or_default();
        count("sample_gradients") + count("sample_forwards") / 3.0
    };
    let spent = Spent {
        gradients: cost("total"),
        seconds: report["timing"]["cpu_seconds"].as_f64().unwrap_or_default(),
    };
    let action = report["recommendation"]["action"].as_str();
    let start = match &done.model {
        Some(model) if !matches!(action, Some("retrain" | "keep_old")) => checkpoint(model)?,
        _ => bench.case.new_base.clone(),
    };
    let making = report["ladder"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rung| {
            let count = |kind: &str| rung[kind].as_f64().unwrap_or_default();
            count("sample_gradients") + count("sample_forwards") / 3.0
        });
    let told = json!({
        "method": report["winner"], "recommendation": action, "choosing": cost("selection"),
        // Without what the job compares the result with, and without the test split.
        "making": making.sum::<f64>(),
        "passes": report["cost"]["selection"]["sample_forwards"],
    });
    Ok(way(name, bench, &start, spent, told))
}

/// A way to a model, and what it takes on top of `spent` to reach each share of full fine-tuning; null where as many
/// epochs do not.
fn way(name: &str, bench: &Bench<'_>, start: &Checkpoint, spent: Spent, told: Value) -> Value {
    let settled = bench
        .learner
        .with_statistics(start, &bench.train, STATISTICS_SAMPLES, BATCH);
    let before = bench.accuracy(&settled);
    let goals = SHARES.map(|share| share.parse::<f64>().unwrap_or(1.0) * bench.full.accuracy);
    let goal = goals[goals.len() - 1];
    // What was spent by each look, and its accuracy.
    let mut curve = vec![(spent, before)];
    if before < goal {
        curve.extend(looks(bench, start, spent, goal));
    }

    let reach = SHARES.iter().zip(goals).map(|(share, goal)| {
        let first = curve.iter().find(|(_, accuracy)| *accuracy >= goal);
        (
            (*share).to_owned(),
            first.map_or(Value::Null, |(spent, _)| spent.json()),
        )
    });
    let reach: serde_json::Map<_, _> = reach.collect();
    eprintln!("    {name:<18} {:5.1} % {reach:?}", 100.0 * before);
    json!({"name": name, "accuracy": before, "cost": spent.json(), "job": told, "reach": reach})
}

/// The training's looks up to the first that reaches the goal.
fn looks(bench: &Bench<'_>, start: &Checkpoint, spent: Spent, goal: f64) -> Vec<(Spent, f64)> {
    let full = bench.full_plan();
    let (learning_rate, _) = bench.best_rate(start, full.epochs);
    let plan = FineTunePlan {
        learning_rate,
        snapshots: LOOKS_PER_EPOCH * full.epochs,
        ..full
    };
    let (before, begun) = (bench.learner.cost(), cpu_seconds());
    let tuned = train(&bench.learner, start, &bench.train, &plan);
    let whole = Spent {
        gradients: gradients(bench.learner.cost() - before),
        seconds: cpu_seconds() - begun,
    };

    let mut looks = Vec::new();
    for (step, model) in &tuned.snapshots {
        let share = *step as f64 / tuned.steps as f64;
        let spent = Spent {
            gradients: spent.gradients + share * whole.gradients,
            seconds: spent.seconds + share * whole.seconds,
        };
        let settled = bench
            .learner
            .with_statistics(model, &bench.train, STATISTICS_SAMPLES, BATCH);
        let accuracy = bench.accuracy(&settled);
        looks.push((spent, accuracy));
        if accuracy >= goal {
            break;
        }
    }
    looks
}

/// Plain training on so many labelled images, on the test split.
fn few_shot_accuracy(bench: &Bench<'_>, samples: usize) -> f64 {
    let Budget {
        learning_rates,
        optimizer,
        ..
    } = bench.case.budget;
    let few = bench.train.subset(&(0..samples).collect::<Vec<_>>());
    let mut best = (f64::MIN, 0.0);
    for epochs in FEW_EPOCHS {
        for rate in learning_rates {
            let plan = plan(epochs, optimizer, rate, bench.case.seed);
            let model = train(&bench.learner, &bench.case.new_base, &few, &plan).checkpoint;
            let chosen = bench.learner.evaluate(&model, &bench.validation).accuracy;
            if chosen > best.0 {
                best = (chosen, bench.accuracy(&model));
            }
        }
    }
    best.1
}
