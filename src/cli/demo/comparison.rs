//! The demo's table: what the transfer gave, beside what training gives.
//!
//! Every row is on the test images, which chose nothing. Rows come as they are, favourable or not.

use anyhow::Context;
use serde::Serialize;

use super::{
    case::{CUSTOMISE, Case, FEW, derived},
    images::Images,
    training::{Recipe, Trained, Trainer},
};
use crate::{
    cli::table,
    contract::report::{Baselines, Candidate, Report, Scores},
};

/// Learning rates that plain fine-tuning may choose from, on the validation images.
pub const RATES: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.4];

/// One way to a model for the turned images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub name: String,
    /// Share of right answers on the test images, in [0, 1].
    pub accuracy: f64,
    /// `None` where nothing is done.
    pub seconds: Option<f64>,
    pub sample_gradients: u64,
}

/// The best of several trainings, by validation.
pub struct Best {
    pub learning_rate: f64,
    pub trained: Trained,
}

impl Row {
    fn new(name: &str, accuracy: f64, seconds: Option<f64>, sample_gradients: u64) -> Self {
        Self {
            name: name.to_owned(),
            accuracy,
            seconds,
            sample_gradients,
        }
    }

    fn trained(name: &str, accuracy: f64, trained: &Trained) -> Self {
        Self::new(
            name,
            accuracy,
            Some(trained.seconds),
            trained.sample_gradients,
        )
    }
}

/// The rows of a report: both baselines, each method, the winner with its epoch.
///
/// # Errors
/// When the report lacks a figure.
pub fn of_report(report: &Report, tuned: &Trained) -> anyhow::Result<Vec<Row>> {
    let Baselines {
        source_tuned,
        target_before,
        ..
    } = &report.baselines;
    let [old, new] = [source_tuned, target_before]
        .map(|standing| lacking(standing.as_ref().and_then(|standing| standing.accuracy)));
    let old = Row::trained("old tuned model", old?, tuned);
    let mut rows = vec![old, Row::new("new base as it is", new?, None, 0)];
    for method in &report.candidates {
        rows.push(of_method(report, method)?);
    }

    rows.push(with_epoch(report)?);
    Ok(rows)
}

/// The winner of a report after its epoch of fine-tuning.
///
/// # Errors
/// When the report lacks a figure.
pub fn with_epoch(report: &Report) -> anyhow::Result<Row> {
    let winner = Some(report.winner.as_str());
    let winner = report
        .candidates
        .iter()
        .find(|one| one.method.as_deref() == winner);
    let start = of_method(report, winner.context("the report has no winner")?)?;
    let tuned = report
        .fine_tune
        .as_ref()
        .context("the report has no fine-tuning")?;

    let seconds = report.timing.fine_tune_seconds;
    Ok(Row {
        name: format!("{} + one epoch", start.name),
        accuracy: accuracy(tuned.test.as_ref())?,
        seconds: start.seconds.zip(seconds).map(|(a, b)| a + b),
        sample_gradients: start.sample_gradients + gradients(tuned.sample_gradients)?,
    })
}

fn of_method(report: &Report, candidate: &Candidate) -> anyhow::Result<Row> {
    let method = candidate
        .method
        .as_deref()
        .context("a candidate has no method")?;
    let seconds = report.timing.methods.get(method).copied();
    let accuracy = accuracy(candidate.test.as_ref())?;

    Ok(Row::new(
        label(method),
        accuracy,
        seconds,
        gradients(candidate.sample_gradients)?,
    ))
}

fn label(method: &str) -> &str {
    match method {
        "weight_matching" => "weight matching",
        "fgmt" => "FGMT",
        other => other,
    }
}

fn accuracy(scores: Option<&Scores>) -> anyhow::Result<f64> {
    lacking(scores.and_then(|scores| scores.accuracy))
}

fn lacking(accuracy: Option<f64>) -> anyhow::Result<f64> {
    accuracy.context("the report lacks an accuracy")
}

fn gradients(count: Option<u64>) -> anyhow::Result<u64> {
    count.context("the report lacks a count of gradients")
}

/// Plain fine-tuning of the new base: with the budget of `budget` sample gradients and the best of
/// [`RATES`], then the full recipe of the old customisation.
///
/// # Errors
/// `Interrupted`.
pub fn plain(
    case: &Case,
    trainer: &Trainer,
    seed: u64,
    budget: u64,
) -> anyhow::Result<(Vec<Row>, f64)> {
    let epochs = usize::try_from(budget)?.div_ceil(case.train.len());
    let recipe = Recipe {
        epochs,
        learning_rate: 0.0,
        seed: derived(seed, 4),
        snapshots: 0,
    };
    let short = best_rate(case, trainer, &case.train, recipe)?;
    let recipe = Recipe {
        seed: derived(seed, 2),
        ..CUSTOMISE
    };

    let full = trainer.train("full fine-tuning", &case.new_base, &case.train, recipe)?;
    let rows = [
        ("plain fine-tuning, same cost", &short.trained),
        ("full fine-tuning", &full),
    ]
    .map(|(name, one)| Row::trained(name, trainer.accuracy(&one.model, &case.test), one));
    Ok((rows.to_vec(), short.learning_rate))
}

/// Trains the new base on these images at the best of [`RATES`].
fn best_rate(
    case: &Case,
    trainer: &Trainer,
    images: &Images,
    recipe: Recipe,
) -> anyhow::Result<Best> {
    let mut best: Option<(f64, Best)> = None;
    for learning_rate in RATES {
        let recipe = Recipe {
            learning_rate,
            ..recipe
        };
        let title = format!("plain fine-tuning, rate {learning_rate}");
        let trained = trainer.train(&title, &case.new_base, images, recipe)?;
        let reached = trainer.accuracy(&trained.model, &case.validation);
        if best.as_ref().is_none_or(|(other, _)| reached > *other) {
            best = Some((
                reached,
                Best {
                    learning_rate,
                    trained,
                },
            ));
        }
    }

    best.map(|(_, best)| best)
        .context("no learning rate to try")
}

/// The second table: what [`FEW`] images give, to a transfer without their labels and to training with them.
///
/// # Errors
/// `Interrupted`; when the report lacks a figure.
pub fn without_labels(
    case: &Case,
    trainer: &Trainer,
    seed: u64,
    report: &Report,
) -> anyhow::Result<Vec<Row>> {
    let methods = report
        .candidates
        .iter()
        .map(|method| of_method(report, method));
    let mut rows = methods.collect::<anyhow::Result<Vec<_>>>()?;
    let (few, _) = case.train.split_at(FEW);
    let recipe = Recipe {
        epochs: 30,
        learning_rate: 0.0,
        seed: derived(seed, 5),
        snapshots: 0,
    };

    let Best { trained, .. } = best_rate(case, trainer, &few, recipe)?;
    let accuracy = trainer.accuracy(&trained.model, &case.test);
    rows.push(Row::trained(
        "plain fine-tuning, with labels",
        accuracy,
        &trained,
    ));
    Ok(rows)
}

/// The rows as lines for a terminal.
pub fn lines(rows: &[Row]) -> String {
    let mut cells = vec![
        ["", "accuracy", "seconds", "sample gradients"]
            .map(String::from)
            .to_vec(),
    ];
    cells.extend(rows.iter().map(|row| {
        vec![
            row.name.clone(),
            format!("{:.1} %", 100.0 * row.accuracy),
            row.seconds
                .map_or_else(|| "-".into(), |seconds| format!("{seconds:.2}")),
            row.sample_gradients.to_string(),
        ]
    }));
    table::columns(&cells)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_winner_pays_for_its_transfer_and_its_epoch() {
        let report = json!({"winner": "fgmt", "candidates": [
                {"method": "identity", "test": {"accuracy": 0.25}, "sample_gradients": 0},
                {"method": "fgmt", "test": {"accuracy": 0.5}, "sample_gradients": 2560}],
            "baselines": {"source_tuned": {"accuracy": 0.75}, "target_before": {"accuracy": 0.125}},
            "fine_tune": {"test": {"accuracy": 0.625}, "sample_gradients": 2000},
            "timing": {"methods": {"identity": 0.25, "fgmt": 1.5}, "fine_tune_seconds": 0.5}});
        let report: Report = serde_json::from_value(report).unwrap();
        let tuned = Trained {
            model: crate::engine::tensors::Checkpoint::new(),
            snapshots: Vec::new(),
            seconds: 8.0,
            sample_gradients: 9,
        };
        let rows = of_report(&report, &tuned).unwrap();
        assert_eq!(rows[0], Row::new("old tuned model", 0.75, Some(8.0), 9));
        assert_eq!(rows[1], Row::new("new base as it is", 0.125, None, 0));
        assert_eq!(
            rows[4],
            Row::new("FGMT + one epoch", 0.625, Some(2.0), 4560)
        );
        let text = lines(&rows);
        assert!(
            text.lines()
                .any(|line| line.ends_with("62.5 %     2.00              4560")),
            "{text}"
        );
        assert!(of_report(&Report::default(), &tuned).is_err());
    }
}
