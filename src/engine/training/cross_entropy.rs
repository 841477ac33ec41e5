//! Cross-entropy on the host: `−log softmax(logits)[label]`, one label for every row of logits.
//!
//! The logits are brought to the host whatever the device; the exponentials are taken in f64 after
//! the row's maximum, so neither overflow nor the order of a parallel sum touches the loss. Those of a
//! vocabulary are taken in f32, which is as exact as its logits. A row
//! whose label is [`IGNORED`] counts nowhere: not in the loss, not in the accuracy, not in a mean.

mod soft;

use rayon::prelude::*;

pub use soft::{Soft, soft_gradient, soft_scores};

use crate::execution::cpu;

/// Rows of so many classes are a vocabulary's.
const VOCABULARY: usize = 1024;

/// The label of a row that predicts nothing, as `PyTorch` has it.
pub const IGNORED: i64 = -100;

/// Losses and predictions of a batch's counted rows, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub losses: Vec<f64>,
    pub predictions: Vec<u32>,
}

impl Scores {
    /// The mean loss; 0 of nothing.
    pub fn mean_loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    /// The share of predictions that are the label; 0 of nothing.
    pub fn accuracy(&self, labels: &[i64]) -> f64 {
        let pairs = self.predictions.iter().zip(counted(labels));
        let hits = pairs.filter(|&(&p, l)| i64::from(p) == l).count();
        hits as f64 / self.predictions.len().max(1) as f64
    }
}

/// The labels that count.
pub fn counted(labels: &[i64]) -> impl Iterator<Item = i64> + '_ {
    labels.iter().copied().filter(|&label| label != IGNORED)
}

/// Loss and prediction (the first of equal maxima) of every counted row of `logits` `[rows, classes]`.
///
/// # Panics
/// When a label is no class.
pub fn scores(logits: &[f32], labels: &[i64]) -> Scores {
    let rows = logits.par_chunks(width(logits, labels)).zip(labels);
    let counted = rows.filter(|&(_, &label)| label != IGNORED);
    let (losses, predictions) = counted
        .map(|(row, &label)| score(row, label as usize))
        .unzip();

    Scores {
        losses,
        predictions,
    }
}

/// Loss and prediction of one row.
fn score(row: &[f32], label: usize) -> (f64, u32) {
    let (maximum, total) = normaliser(row);
    let best = row
        .iter()
        .position(|&v| f64::from(v) >= maximum)
        .unwrap_or(0);
    (total.ln() + maximum - f64::from(row[label]), best as u32)
}

/// The gradient of the mean loss of the counted rows with respect to the logits:
/// `(softmax − one-hot) / counted`.
///
/// # Panics
/// When a label is no class.
pub fn gradient(logits: &[f32], labels: &[i64]) -> Vec<f32> {
    shared_gradient(logits.to_vec(), labels, share(labels))
}

/// What a counted row has of the mean.
pub fn share(labels: &[i64]) -> f64 {
    1.0 / counted(labels).count().max(1) as f64
}

/// `(softmax − one-hot) · share` in the place of the logits; 0 where a row does not count. For a
/// part of a batch `share` is that of the whole.
///
/// # Panics
/// When a label is no class.
pub fn shared_gradient(mut logits: Vec<f32>, labels: &[i64], share: f64) -> Vec<f32> {
    let width = width(&logits, labels);
    logits
        .par_chunks_mut(width)
        .zip(labels)
        .for_each(|(row, &label)| {
            if label == IGNORED {
                return row.fill(0.0);
            }
            differentiate(row, label as usize, share);
        });
    logits
}

/// `(softmax − one-hot) · share` in the place of one row.
fn differentiate(row: &mut [f32], label: usize, share: f64) {
    let (maximum, total) = normaliser(row);
    let of_label = (f64::from(row[label]) - maximum).exp() / total;

    if row.len() >= VOCABULARY {
        cpu::exponentials(row, maximum, share / total);
    } else {
        for value in row.iter_mut() {
            *value = ((f64::from(*value) - maximum).exp() / total * share) as f32;
        }
    }
    row[label] = ((of_label - 1.0) * share) as f32;
}

fn width(logits: &[f32], labels: &[i64]) -> usize {
    (logits.len() / labels.len().max(1)).max(1)
}

/// The row's maximum and `Σ exp(v − maximum)`.
fn normaliser(row: &[f32]) -> (f64, f64) {
    if row.len() >= VOCABULARY {
        return cpu::normaliser(row);
    }
    let maximum = row
        .iter()
        .copied()
        .map(f64::from)
        .fold(f64::NEG_INFINITY, f64::max);
    (
        maximum,
        row.iter().map(|&v| (f64::from(v) - maximum).exp()).sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_logits_cost_the_log_of_the_classes() {
        let result = scores(&[0.0, 0.0, 5.0, 1000.0], &[1, 0]);
        assert!((result.losses[0] - 2f64.ln()).abs() < 1e-12);
        assert!((result.losses[1] - 995.0).abs() < 1e-9, "no overflow");
        assert_eq!(result.predictions, [0, 1]);
        assert!((result.accuracy(&[0, 0]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_the_probability_less_the_target() {
        let result = gradient(&[0.0, 0.0, 3f32.ln(), 0.0], &[1, 0]);
        for (value, expected) in result.iter().zip([0.25, -0.25, -0.125, 0.125]) {
            assert!((value - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn a_vocabulary_costs_what_its_classes_do() {
        let row: Vec<f32> = (0..5000).map(|i| (i as f32 * 0.7).sin() * 20.0).collect();
        let found = scores(&row, &[1234]);
        let maximum = row
            .iter()
            .fold(f64::NEG_INFINITY, |a, &v| a.max(f64::from(v)));
        let exact: f64 = row.iter().map(|&v| (f64::from(v) - maximum).exp()).sum();
        let expected = exact.ln() + maximum - f64::from(row[1234]);
        assert!((found.losses[0] - expected).abs() < 1e-6);
        for (class, found) in gradient(&row, &[1234]).into_iter().enumerate() {
            let share = (f64::from(row[class]) - maximum).exp() / exact;
            let expected = share - f64::from(u8::from(class == 1234));
            assert!((f64::from(found) - expected).abs() < 1e-6 * expected.abs().max(1e-3));
        }
        assert!(scores(&[f32::NAN; 2000], &[0]).losses[0].is_nan());
    }

    #[test]
    fn ignored_rows_count_nowhere() {
        let (logits, labels) = ([0.0, 0.0, 9.0, 1.0, 0.0, 4.0], [1, IGNORED, 1]);
        let result = scores(&logits, &labels);
        assert_eq!(result.predictions, [0, 1]);
        assert!((result.accuracy(&labels) - 0.5).abs() < 1e-12);
        let expected = f64::midpoint(2f64.ln(), (1.0 + (-4f64).exp()).ln());
        assert!((result.mean_loss() - expected).abs() < 1e-12);
        let gradient = gradient(&logits, &labels);
        assert_eq!(gradient[2..4], [0.0, 0.0]);
        assert!(
            (gradient[0] - 0.25).abs() < 1e-7,
            "half a batch of two, half a chance"
        );
        assert!(scores(&logits, &[IGNORED; 3]).mean_loss().abs() < 1e-12);
    }
}
