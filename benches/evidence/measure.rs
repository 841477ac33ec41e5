//! One row: every contender on one case.
//!
//! Costs are whole: alignment, re-estimated statistics, the choice of step and α by validation. They
//! are counted in sample gradients, a forward pass being a third of one, and in CPU seconds of the
//! process. Contenders are compared before any training, after one epoch (the learning rate chosen by
//! validation for each), and by what it takes to reach a share of full fine-tuning. The search for
//! fine-tuning's own learning rate is not counted against it.

use std::error::Error;

use retune::engine::{tensors::Checkpoint, training::FineTunePlan, transfer::STATISTICS_SAMPLES};
use serde_json::{Value, json};

use super::{
    bench::{Bench, SAMPLES},
    case::{BATCH, Case, train},
    contender::{CONTENDERS, Field, WIDTHS, Way},
    spent::{Spent, cpu_seconds, gradients},
};

/// Shares of full fine-tuning's accuracy.
const SHARES: [f64; 3] = [0.9, 0.95, 1.0];

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

impl Bench<'_> {
    fn contender(&self, name: &str, way: Way) -> Result<Value, Box<dyn Error>> {
        let (before, start) = (self.learner.cost(), cpu_seconds());
        let (model, chosen) = self.model(way)?;
        let spent = Spent {
            gradients: gradients(self.learner.cost() - before),
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
                    "gradients": spent.gradients + epochs as f64 * epoch.0,
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
