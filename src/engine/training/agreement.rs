//! How much one model predicts as another does; no labels are needed.

use rayon::prelude::*;

use super::{Batch, Learner};
use crate::{
    network::{Input, Task},
    tensors::Checkpoint,
};

/// One model beside a reference, over inputs or counted tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of predictions that are the reference's, in [0, 1].
    pub agreement: f64,
    /// Mean Kullback–Leibler divergence from the reference, in nats.
    pub divergence: f64,
}

/// What a model predicts for some inputs.
pub struct Predictions {
    /// Row-major.
    logits: Vec<f32>,
    classes: usize,
    /// Of every row.
    counted: Vec<bool>,
}

impl Learner<'_> {
    /// A model's predictions, batch norm with its running statistics.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the batch.
    pub fn predictions(&self, params: &Checkpoint, batch: &Batch) -> Predictions {
        let logits = self.predict(params, batch);
        let classes = self.classes();
        let counted = match (self.graph().task, &self.graph().input) {
            (Task::NextToken, Input::Tokens { .. }) => {
                batch.inputs.iter().map(|&packed| packed >= 0.0).collect()
            }
            _ => vec![true; logits.len() / classes],
        };
        Predictions { logits, classes, counted }
    }
}

impl Predictions {
    /// This model beside the reference.
    ///
    /// # Panics
    /// When the two are not of the same inputs and classes.
    pub fn beside(&self, reference: &Self) -> Agreement {
        assert_eq!(self.logits.len(), reference.logits.len(), "predictions of the same inputs");
        let rows: Vec<(bool, f64)> = self
            .logits
            .par_chunks(self.classes)
            .zip(reference.logits.par_chunks(self.classes))
            .zip(&self.counted)
            .filter(|(_, counted)| **counted)
            .map(|((own, reference), _)| {
                (largest(own) == largest(reference), divergence(reference, own))
            })
            .collect();

        let count = rows.len().max(1) as f64;
        let agreeing = rows.iter().filter(|(agrees, _)| *agrees).count() as f64;
        let divergence: f64 = rows.iter().map(|(_, divergence)| divergence).sum();
        Agreement { agreement: agreeing / count, divergence: divergence / count }
    }
}

/// The first of the largest logits.
fn largest(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}

/// `Σ p (ln p − ln q)` of the softmaxes of two rows.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p_total, q_total) = (log_total(p), log_total(q));
    p.iter()
        .zip(q)
        .map(|(&p, &q)| {
            let (p, q) = (f64::from(p) - p_total, f64::from(q) - q_total);
            p.exp() * (p - q)
        })
        .sum()
}

/// `ln Σ exp`
fn log_total(logits: &[f32]) -> f64 {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    f64::from(most) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(logits: &[f32], counted: &[bool]) -> Predictions {
        Predictions { logits: logits.to_vec(), classes: 2, counted: counted.to_vec() }
    }

    #[test]
    fn what_agrees_and_how_far_the_rest_is() {
        let ln3 = 3f32.ln();
        // Probabilities 3/4, 1/4 and 1/2, 1/2; the third row is padding.
        let reference = predictions(&[ln3, 0.0, 0.0, 0.0, 9.0, 0.0], &[true, true, false]);
        let own = predictions(&[0.0, 0.0, 0.0, ln3, 0.0, 9.0], &[true, true, false]);
        let found = own.beside(&reference);
        // A tie is the first class.
        assert!((found.agreement - 0.5).abs() < 1e-12);
        let first = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        let second = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((2.0 * found.divergence - first - second).abs() < 1e-6, "{found:?}");

        let same = reference.beside(&reference);
        assert_eq!(same, Agreement { agreement: 1.0, divergence: 0.0 });
    }
}
