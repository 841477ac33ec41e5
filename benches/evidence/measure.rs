//! One row: every contender on one case.
//!
//! Costs are whole: alignment, re-estimated statistics, the choice of step and α by validation. They
//! are counted in sample gradients, a forward pass being a third of one, and in CPU seconds of the
//! process. Contenders are compared before any training, after one epoch (the learning rate chosen by
//! validation for each), and by what it takes to reach a share of full fine-tuning. The search for
//! fine-tuning's own learning rate is not counted against it.

use std::error::Error;

use burn::tensor::Device;
use nix::sys::resource::{UsageWho, getrusage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    profiler::Profiler,
    symmetry::{Permutation, Symmetry},
    tensors::Checkpoint,
    training::{Cost, Dataset, Evaluation, FineTunePlan, Learner},
    transfer::{
        Alignment, Method, Problem, STATISTICS_SAMPLES, Schedule, Trajectory, Transport,
        WEIGHT_ANCHOR,
        candidate::ALPHAS,
        methods::{align, builds_on},
    },
};
use serde_json::{Value, json};

use super::case::{BATCH, Budget, Case, plan, train};

/// B of the methods.
pub const SAMPLES: usize = 64;

/// Shares of full fine-tuning's accuracy.
const SHARES: [f64; 3] = [0.9, 0.95, 1.0];

/// How a contender comes by its model.
#[derive(Clone, Copy)]
enum Way {
    Method(Method),
    /// On another method's alignment.
    Gradfix(Method),
    /// Identity, the update made orthogonal to the difference of the bases.
    OrthogonalShift,
    /// Gradient matching without the bases' own parameters, as published.
    Published(Method),
    RandomPermutation,
    /// Plain training on as many samples, at as many gradients, as FGMT takes.
    FewShot,
    Untouched,
}

/// Which contenders take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    All,
    /// For the figure over widths.
    Widths,
}

const WIDTHS: [&str; 5] = [
    "identity",
    "weight matching",
    "FGMT as published",
    "FGMT",
    "random π",
];

const CONTENDERS: [(&str, Way); 16] = [
    ("identity", Way::Method(Method::Identity)),
    ("identity, orthogonal shift", Way::OrthogonalShift),
    ("weight matching", Way::Method(Method::WeightMatching)),
    ("GMT as published", Way::Published(Method::Gmt)),
    ("GMT", Way::Method(Method::Gmt)),
    ("FGMT as published", Way::Published(Method::Fgmt)),
    ("FGMT", Way::Method(Method::Fgmt)),
    ("gradfix", Way::Gradfix(Method::Identity)),
    (
        "gradfix on weight matching",
        Way::Gradfix(Method::WeightMatching),
    ),
    ("gradfix on FGMT", Way::Gradfix(Method::Fgmt)),
    ("bico", Way::Method(Method::Bico)),
    ("theseus", Way::Method(Method::Theseus)),
    ("oracle", Way::Method(Method::Oracle)),
    ("random π", Way::RandomPermutation),
    ("few-shot fine-tuning", Way::FewShot),
    ("plain fine-tuning", Way::Untouched),
];

struct Bench<'a> {
    case: &'a Case,
    learner: Learner<'a>,
    symmetry: Symmetry,
    trajectory: Trajectory,
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    ledger: Profiler,
    /// The old tuned model on the test split.
    kept: Evaluation,
    untouched: Evaluation,
    full: Full,
}

/// A point of a method's search.
struct Found {
    model: Checkpoint,
    step: usize,
    alpha: f64,
    accuracy: f64,
}

/// Full fine-tuning of the new base.
struct Full {
    learning_rate: f64,
    accuracy: f64,
}

/// Spent since some reading.
#[derive(Clone, Copy)]
struct Spent {
    cost: Cost,
    seconds: f64,
}

impl Spent {
    fn json(self) -> Value {
        json!({"gradients": gradients(self.cost), "seconds": self.seconds})
    }
}

/// A forward pass is a third of a gradient.
fn gradients(cost: Cost) -> f64 {
    cost.sample_gradients as f64 + cost.sample_forwards as f64 / 3.0
}

/// User and system time of the process.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask for its own usage");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// All contenders on a case.
///
/// # Errors
/// When values overflow.
pub fn measure(case: &Case, field: Field) -> Result<Value, Box<dyn Error>> {
    let bench = Bench::new(case)?;
    let mut contenders = Vec::new();
    let taken = |name| field == Field::All || WIDTHS.contains(&name);
    for (name, way) in CONTENDERS.into_iter().filter(|(name, _)| taken(name)) {
        let contender = bench.contender(name, way)?;
        eprintln!(
            "    {name:<28} {:5.1} %, one epoch {:5.1} %",
            100.0 * contender["accuracy"].as_f64().unwrap_or_default(),
            100.0 * contender["after_epoch"].as_f64().unwrap_or_default()
        );
        contenders.push(contender);
    }
    let Bench {
        kept,
        untouched,
        full,
        ..
    } = &bench;
    Ok(json!({
        "budget": case.budget,
        "samples_per_gradient": SAMPLES,
        "keep_old": kept.accuracy,
        "target_untouched": untouched.accuracy,
        "full_fine_tuning": {"accuracy": full.accuracy, "learning_rate": full.learning_rate},
        "contenders": contenders,
    }))
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case) -> Result<Self, Box<dyn Error>> {
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

    fn accuracy(&self, model: &Checkpoint) -> f64 {
        self.learner.evaluate(model, &self.test).accuracy
    }

    /// The learning rate that validation prefers, and its accuracy on the test split.
    fn best_rate(&self, start: &Checkpoint, epochs: usize) -> (f64, f64) {
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

    fn contender(&self, name: &str, way: Way) -> Result<Value, Box<dyn Error>> {
        let (before, start) = (self.learner.cost(), cpu_seconds());
        let (model, chosen) = self.model(way)?;
        let spent = Spent {
            cost: self.learner.cost() - before,
            seconds: cpu_seconds() - start,
        };
        let result = self.learner.evaluate(&model, &self.test);
        let gain = self.kept.accuracy - self.untouched.accuracy;
        let recovery =
            (gain.abs() > 1e-9).then(|| (result.accuracy - self.untouched.accuracy) / gain);
        let labels = self.test.labels().iter();
        let flips = self
            .kept
            .predictions
            .iter()
            .zip(&result.predictions)
            .zip(labels);
        let flips = flips
            .filter(|((old, new), label)| {
                i64::from(**old) == **label && i64::from(**new) != **label
            })
            .count();
        let (_, after_epoch) = self.best_rate(&model, 1);
        Ok(json!({
            "name": name,
            "chosen": chosen,
            "accuracy": result.accuracy,
            "recovery": recovery,
            "negative_flips": flips as f64 / self.test.len() as f64,
            "after_epoch": after_epoch,
            "cost": spent.json(),
            "reach": self.reach(&model, spent),
        }))
    }

    /// The model before any further training, and how it was chosen.
    fn model(&self, way: Way) -> Result<(Checkpoint, Value), Box<dyn Error>> {
        let case = self.case;
        let (mut gradfix_on, mut weight_anchor) = (Method::Identity, WEIGHT_ANCHOR);
        let method = match way {
            Way::Untouched => return Ok((case.new_base.clone(), Value::Null)),
            Way::FewShot => {
                let samples = case.budget.timesteps * SAMPLES;
                let few: Vec<usize> = (0..samples.min(self.train.len())).collect();
                let epochs = 2 * samples / few.len();
                let plan = plan(
                    epochs,
                    case.budget.optimizer,
                    self.full.learning_rate,
                    case.seed,
                );
                let tuned = train(
                    &self.learner,
                    &case.new_base,
                    &self.train.subset(&few),
                    &plan,
                );
                return Ok((tuned.checkpoint, Value::Null));
            }
            Way::RandomPermutation | Way::OrthogonalShift => Method::Identity,
            Way::Method(method) => method,
            Way::Published(method) => {
                weight_anchor = 0.0;
                method
            }
            Way::Gradfix(on) => {
                gradfix_on = on;
                Method::Gradfix
            }
        };
        let orthogonal_shift = matches!(way, Way::OrthogonalShift);
        let problem = Problem {
            orthogonal_shift,
            weight_anchor,
            train: Some(&self.train),
            validation: Some(&self.validation),
            batch_size: SAMPLES,
            seed: case.seed,
            ..Problem::new(
                &self.learner,
                &self.symmetry,
                &self.trajectory,
                &case.new_base,
                &self.ledger,
            )
        };
        let alignment = if matches!(way, Way::RandomPermutation) {
            let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
            let random = Transport::from(Permutation::random(&self.symmetry, &mut rng));
            Alignment {
                transports: vec![random; case.budget.timesteps],
                ..Alignment::default()
            }
        } else {
            let budget = self.full_plan();
            let on = match builds_on(method, gradfix_on, false) {
                Some(on) => Some(align(on, &problem, None, None)?),
                None => None,
            };
            align(method, &problem, on.as_ref(), Some(&budget))?
        };
        let Found {
            model, step, alpha, ..
        } = self.best(&problem, &alignment.transports);
        Ok((model, json!({"step": step, "alpha": alpha})))
    }

    /// The best step at α = 1, then the best α there, each of all that there are and on the whole validation
    /// split: the table compares methods, not searches. A job races ([`retune::engine::transfer::race`]).
    fn best(&self, problem: &Problem, transports: &[Transport]) -> Found {
        let look = |step: usize, alpha: f64| {
            let model = problem.finished(&transports[step - 1], step, alpha);
            let accuracy = self.learner.evaluate(&model, &self.validation).accuracy;
            Found {
                model,
                step,
                alpha,
                accuracy,
            }
        };
        let later = |best: Found, one: Found| {
            if one.accuracy >= best.accuracy {
                one
            } else {
                best
            }
        };
        let best = (2..=transports.len())
            .map(|step| look(step, 1.0))
            .fold(look(1, 1.0), later);

        let step = best.step;
        let others = ALPHAS
            .into_iter()
            .filter(|alpha| alpha.to_bits() != 1f64.to_bits());
        let better = |best: Found, one: Found| {
            if one.accuracy > best.accuracy {
                one
            } else {
                best
            }
        };
        others.map(|alpha| look(step, alpha)).fold(best, better)
    }

    /// The plan of full fine-tuning, at the learning rate that was the best.
    fn full_plan(&self) -> FineTunePlan<'static> {
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

    /// What it takes, on top of `spent`, to reach each share of full fine-tuning, to the epoch; null
    /// where as many epochs do not. The looks at the test split are not counted.
    fn reach(&self, start: &Checkpoint, spent: Spent) -> Value {
        let plan = FineTunePlan {
            validation: Some(&self.test),
            stop_at: Some(self.full.accuracy),
            ..self.full_plan()
        };
        let settled = self
            .learner
            .with_statistics(start, &self.train, STATISTICS_SAMPLES, BATCH);
        let mut curve = vec![self.accuracy(&settled)];
        // Gradients and seconds of an epoch.
        let mut epoch = (0.0, 0.0);
        if curve[0] < self.full.accuracy {
            let (before, begun) = (self.learner.cost(), cpu_seconds());
            let tuned = train(&self.learner, start, &self.train, &plan);
            curve.extend(tuned.epochs.iter().filter_map(|e| e.validation_accuracy));
            let epochs = tuned.epochs.len() as f64;
            let (all, looks) = (
                gradients(self.learner.cost() - before),
                self.test.len() as f64 / 3.0,
            );
            let own = all / epochs - looks;
            epoch = (own, (cpu_seconds() - begun) * own / all);
        }
        let reached = |level: &f64| {
            let epochs = curve
                .iter()
                .position(|is| *is >= level * self.full.accuracy);
            let point = epochs.map(|epochs| {
                json!({
                    "gradients": gradients(spent.cost) + epochs as f64 * epoch.0,
                    "seconds": spent.seconds + epochs as f64 * epoch.1,
                })
            });
            (format!("{:.0}", 100.0 * level), point.unwrap_or_default())
        };
        SHARES
            .iter()
            .map(reached)
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
