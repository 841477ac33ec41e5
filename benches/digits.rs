//! The digits table: learning transfer between two small networks, mean over some seeds.
//!
//! ```text
//! cargo bench --bench digits -- [--seeds N] [--json FILE]          # or: make bench-digits
//! ```
//!
//! Handwritten digits (1797 of 8×8), MLP 64-w-w-5 with biases. Two networks learn the classes 0–4
//! from different seeds; both get fresh heads; the first is tuned on the classes 5–9 (a quarter of
//! each held out), and that tuning is carried over to the second. SGD 0.1 with momentum 0.9, batches
//! of 64, cosine learning rate over 40 epochs. B = 256; the best step on the held-out samples, α = 1:
//! the figures are those of the split that chose the step.

use std::{error::Error, ops::ControlFlow};

use burn::tensor::Device;
use bytes::Bytes;
use retune::engine::{
    network::Graph,
    profiler::Profiler,
    symmetry::Symmetry,
    tensors::{Checkpoint, Signature},
    testing::mlp,
    training::{Dataset, FineTunePlan, Learner, Optimizer},
    transfer::{
        Alignment, Method, Problem, Schedule, Trajectory, WEIGHT_ANCHOR,
        methods::{
            self, align,
            gradient_matching::{self, Variant},
        },
    },
};
use safetensors::SafeTensors;
use serde_json::json;

const DIGITS: &[u8] = include_bytes!("../tests/fixtures/digits/digits.safetensors");
/// Unless `--seeds` says otherwise.
const SEEDS: u64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    let seeds = argument("--seeds").map_or(Ok(SEEDS), |n| n.parse())?;
    for seed in 0..seeds {
        for width in [16, 64, 128, 256] {
            let case = Case::make(width, seed)?;
            for (name, accuracy) in case.measure(width == 128)? {
                let name = format!("{width} {name}");
                match rows.iter_mut().find(|(row, _)| *row == name) {
                    Some((_, values)) => values.push(accuracy),
                    None => rows.push((name, vec![accuracy])),
                }
            }
        }
    }
    let mut records = Vec::new();
    println!("| width | method | mean | by seed |\n|---|---|---|---|");
    for (name, values) in &rows {
        let (width, method) = name.split_once(' ').ok_or("a row has a width")?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let by_seed: Vec<String> = values.iter().map(|v| format!("{:.1}", 100.0 * v)).collect();
        println!(
            "| {width} | {method} | {:.1} | {} |",
            100.0 * mean,
            by_seed.join(" ")
        );
        records.push(json!({"width": width, "method": method, "mean": mean, "by_seed": values}));
    }
    if let Some(file) = argument("--json") {
        std::fs::write(file, serde_json::to_string_pretty(&records)?)?;
    }
    Ok(())
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}

/// Two bases, a tuning of the first, and the data of the tuning.
struct Case {
    graph: Graph,
    signature: Signature,
    old_base: Checkpoint,
    tuned: Checkpoint,
    new_base: Checkpoint,
    train: Dataset,
    held: Dataset,
    seed: u64,
}

impl Case {
    fn make(width: usize, seed: u64) -> Result<Self, Box<dyn Error>> {
        let (graph, signature) = mlp(&[64, width, width, 5]);
        let (first, second) = (digits(0..5)?, digits(5..10)?);
        let (train, held) = second.hold_out(0.25, 7);
        let learner = Learner::new(&graph, &signature, Device::flex())?;
        let base = |which: u64| {
            let start = graph.initial(&signature, 100 * seed + which);
            let mut base = fit(&learner, &start, &first, 100 * seed + which);
            let fresh = graph.initial(&signature, 100 * seed + 10 + which);
            for name in ["fc2.weight", "fc2.bias"] {
                base.insert(name, fresh[name].clone());
            }
            base
        };
        let (old_base, new_base) = (base(1), base(2));
        let tuned = fit(&learner, &old_base, &train, 100 * seed + 3);
        drop(learner);
        Ok(Self {
            graph,
            signature,
            old_base,
            tuned,
            new_base,
            train,
            held,
            seed,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a line of the table after the other")]
    fn measure(&self, ablations: bool) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
        let learner = Learner::new(&self.graph, &self.signature, Device::flex())?;
        let accuracy = |model: &Checkpoint| learner.evaluate(model, &self.held).accuracy;
        let mut rows = vec![
            ("source".to_owned(), accuracy(&self.tuned)),
            ("target before".to_owned(), accuracy(&self.new_base)),
        ];
        for method in [
            Method::Identity,
            Method::WeightMatching,
            Method::Gmt,
            Method::Fgmt,
            Method::Oracle,
        ] {
            rows.push((
                method.name().to_owned(),
                self.transfer(&learner, Setting::PLAIN, |p| {
                    align(method, p, None, Some(&plan(9)))
                })?,
            ));
        }
        for method in [Method::Gmt, Method::Fgmt] {
            rows.push((
                format!("{}, weights anchored", method.name()),
                self.transfer(&learner, Setting::ANCHORED, |p| {
                    align(method, p, None, None)
                })?,
            ));
        }
        let from_weights = Setting {
            from_weights: true,
            ..Setting::ANCHORED
        };
        rows.push((
            "fgmt, weights anchored, from weight matching".to_owned(),
            self.transfer(&learner, from_weights, |p| {
                align(Method::Fgmt, p, None, None)
            })?,
        ));
        if ablations {
            for timesteps in [1, 3] {
                let setting = Setting {
                    timesteps,
                    ..Setting::PLAIN
                };
                rows.push((
                    format!("fgmt, T = {timesteps}"),
                    self.transfer(&learner, setting, |p| {
                        gradient_matching::align(p, &Variant::FGMT)
                    })?,
                ));
            }
            let frozen = Variant {
                freeze_after: Some(1),
                ..Variant::FGMT
            };
            rows.push((
                "π frozen after s = 1".into(),
                self.transfer(&learner, Setting::PLAIN, |p| {
                    gradient_matching::align(p, &frozen)
                })?,
            ));
            let forgetful = Variant {
                accumulate: false,
                ..Variant::FGMT
            };
            rows.push((
                "no accumulation".into(),
                self.transfer(&learner, Setting::PLAIN, |p| {
                    gradient_matching::align(p, &forgetful)
                })?,
            ));
        }
        Ok(rows)
    }

    fn transfer(
        &self,
        learner: &Learner,
        setting: Setting,
        align: impl Fn(&Problem) -> Result<Alignment, retune::engine::transfer::TransferError>,
    ) -> Result<f64, Box<dyn Error>> {
        let (old, tuned) = (self.old_base.clone(), self.tuned.clone());
        let trajectory = Trajectory::linear(old, tuned, Schedule::Uniform, setting.timesteps);
        let symmetry = Symmetry::derive(&self.graph, &self.signature)?;
        let ledger = Profiler::new(|| 0.0);
        let problem = Problem {
            weight_anchor: setting.weight_anchor,
            train: Some(&self.train),
            validation: Some(&self.held),
            batch_size: 256,
            seed: self.seed,
            ..Problem::new(learner, &symmetry, &trajectory, &self.new_base, &ledger)
        };
        let weights = setting
            .from_weights
            .then(|| methods::align(Method::WeightMatching, &problem, None, None))
            .transpose()?;
        let start = weights
            .as_ref()
            .and_then(|found| found.transports.last()?.permutation());
        let problem = Problem { start, ..problem };

        // The best of all steps, as the literature has it; a job looks at fewer.
        let transports = align(&problem)?.transports;
        let accuracies = (1..).zip(&transports).map(|(step, transport)| {
            let model = problem.finished(transport, step, 1.0);
            learner.evaluate(&model, &self.held).accuracy
        });
        Ok(accuracies.fold(0.0, f64::max))
    }
}

/// How a transfer is made.
#[derive(Clone, Copy)]
struct Setting {
    timesteps: usize,
    weight_anchor: f64,
    /// Whether the descent begins where weight matching ends.
    from_weights: bool,
}

impl Setting {
    const PLAIN: Self = Self {
        timesteps: 10,
        weight_anchor: 0.0,
        from_weights: false,
    };
    const ANCHORED: Self = Self {
        weight_anchor: WEIGHT_ANCHOR,
        ..Self::PLAIN
    };
}

fn plan(seed: u64) -> FineTunePlan<'static> {
    FineTunePlan {
        seed,
        ..FineTunePlan::new(Optimizer::Sgd, 40, 0.1)
    }
}

fn fit(learner: &Learner, start: &Checkpoint, data: &Dataset, seed: u64) -> Checkpoint {
    learner
        .fine_tune(start, data, &plan(seed), &mut |_| ControlFlow::Continue(()))
        .checkpoint
}

/// The digits of some classes, labelled from 0.
fn digits(classes: std::ops::Range<i64>) -> Result<Dataset, Box<dyn Error>> {
    let file = SafeTensors::deserialize(DIGITS)?;
    let labels: Vec<i64> = file
        .tensor("labels")?
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|&l| i64::from_le_bytes(l))
        .collect();
    let wanted: Vec<usize> = (0..labels.len())
        .filter(|&i| classes.contains(&labels[i]))
        .collect();
    let labels = labels
        .iter()
        .map(|label| label - classes.start)
        .map(|l| l.max(0))
        .collect();
    let inputs = Bytes::copy_from_slice(file.tensor("inputs")?.data());
    let all = Dataset::from_bytes(inputs, vec![64], labels);
    all.subset(&wanted)
        .normalised(&[0.0], &[16.0 / 255.0])
        .ok_or_else(|| "one value for all".into())
}
