//! How much one model predicts as another does; no labels are needed.

use std::ops::{Add, ControlFlow};

use rayon::prelude::*;

use super::{
    Batch, Dataset, Learner, Loss, cross_entropy::IGNORED, dataset::explained, evaluate::batches,
    loss::by_end,
};
use crate::{network::Task, tensors::Checkpoint};

/// One model beside a reference, over inputs or counted tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of predictions that are the reference's, in [0, 1]: of several labels, and of an answer's ends, all
    /// together. Of values it is R², the reference's in the place of labels.
    pub agreement: f64,
    /// Mean Kullback–Leibler divergence from the reference, in nats, over rows of logits; of values the mean
    /// squared difference.
    pub divergence: f64,
}

/// A model with the network that runs it.
#[derive(Clone, Copy)]
pub struct Runnable<'a, 'l> {
    pub learner: &'a Learner<'l>,
    pub params: &'a Checkpoint,
}

/// What a model predicts for some inputs.
pub struct Predictions {
    loss: Loss,
    /// Row-major: of classes or positions; or all values of a sample.
    logits: Vec<f32>,
    /// Of a row.
    width: usize,
    /// Rows that agree together.
    together: usize,
    /// Of every row.
    counted: Vec<bool>,
}

impl Learner<'_> {
    /// A model's predictions, batch norm with its running statistics.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the batch.
    pub fn predictions(&self, params: &Checkpoint, batch: &Batch) -> Predictions {
        let (loss, logits) = (self.loss(), self.predict(params, batch));
        let (logits, width, together) = if loss == Loss::Ends {
            let length = batch.sample_shape[0];
            (by_end(&logits, &vec![0; 2 * batch.len()]), length, 2)
        } else {
            (logits, self.classes(), 1)
        };
        let counted = match self.graph().task {
            Task::SequenceToSequence => {
                batch.labels.iter().map(|&label| label != IGNORED).collect()
            }
            task if task.is_of_tokens() => {
                batch.inputs.iter().map(|&packed| packed >= 0.0).collect()
            }
            _ => vec![true; logits.len() / width],
        };

        Predictions {
            loss,
            logits,
            width,
            together,
            counted,
        }
    }
}

impl Runnable<'_, '_> {
    /// What the model predicts for every label, [`IGNORED`] at padded tokens: labels for samples that have
    /// none. `None` where the caller interrupts; `go_on` is asked before each batch.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data.
    pub fn labels(&self, data: &Dataset, go_on: &dyn Fn() -> ControlFlow<()>) -> Option<Vec<i64>> {
        let mut labels = Vec::new();
        for batch in batches(data, self.learner.evaluation_batch_size(data.size())) {
            if go_on().is_break() {
                return None;
            }
            labels.extend(self.learner.predictions(self.params, &batch).labels());
        }
        Some(labels)
    }

    /// This model beside a reference on the same samples, whatever labels these have.
    ///
    /// # Panics
    /// As [`Runnable::labels`]; when the two do not have the same classes.
    pub fn beside(&self, reference: Runnable, data: &Dataset) -> Agreement {
        let mut sums = Sums::default();
        let size = self.learner.evaluation_batch_size(data.size());
        for batch in batches(data, size) {
            let own = self.learner.predictions(self.params, &batch);
            sums = sums + own.sums_beside(&reference.learner.predictions(reference.params, &batch));
        }
        sums.mean()
    }
}

/// An agreement that is still being counted.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Rows.
    counted: f64,
    /// Rows, or where several agree together those of them that do.
    agreeing: f64,
    divergence: f64,
    /// Of values: how many, their sum and the sum of their squares, the reference's.
    values: f64,
    sum: f64,
    squares: f64,
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            counted: self.counted + other.counted,
            agreeing: self.agreeing + other.agreeing,
            divergence: self.divergence + other.divergence,
            values: self.values + other.values,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }
}

impl Sums {
    fn mean(self) -> Agreement {
        let count = self.counted.max(1.0);
        let divergence = self.divergence / count;
        let agreement = if self.values > 0.0 {
            let mean = self.sum / self.values;
            explained(divergence, self.squares / self.values - mean * mean)
        } else {
            self.agreeing / count
        };

        Agreement {
            agreement,
            divergence,
        }
    }
}

impl Predictions {
    /// By row, [`IGNORED`] where a row does not count; of several labels and of values each.
    fn labels(&self) -> Vec<i64> {
        if matches!(self.loss, Loss::Labels | Loss::Values) {
            let predicted = self.logits.iter().map(|&logit| self.loss.predicted(logit));
            return predicted.map(i64::from).collect();
        }
        let rows = self.logits.par_chunks(self.width).zip(&self.counted);

        rows.map(|(row, &counted)| {
            if counted {
                largest(row) as i64
            } else {
                IGNORED
            }
        })
        .collect()
    }

    /// This model beside the reference.
    ///
    /// # Panics
    /// When the two are not of the same inputs and classes.
    pub fn beside(&self, reference: &Self) -> Agreement {
        self.sums_beside(reference).mean()
    }

    fn sums_beside(&self, reference: &Self) -> Sums {
        assert_eq!(
            self.logits.len(),
            reference.logits.len(),
            "predictions of the same inputs"
        );
        if self.loss == Loss::Values {
            return self.sums_of_values(reference);
        }
        let rows: Vec<(bool, f64)> = self
            .logits
            .par_chunks(self.width)
            .zip(reference.logits.par_chunks(self.width))
            .zip(&self.counted)
            .filter(|(_, counted)| **counted)
            .map(|((own, reference), _)| self.compared(own, reference))
            .collect();

        // In order, so that the sum does not depend on the threads.
        let together = rows
            .chunks(self.together)
            .filter(|rows| rows.iter().all(|(agrees, _)| *agrees));

        Sums {
            counted: rows.len() as f64,
            agreeing: together.map(<[_]>::len).sum::<usize>() as f64,
            divergence: rows.iter().map(|(_, divergence)| divergence).sum(),
            ..Sums::default()
        }
    }

    /// Whether two rows predict the same, and how far the first is from the second.
    fn compared(&self, own: &[f32], reference: &[f32]) -> (bool, f64) {
        if self.loss != Loss::Labels {
            return (
                largest(own) == largest(reference),
                divergence(reference, own),
            );
        }
        let mut pairs = own.iter().zip(reference);
        let each = pairs
            .clone()
            .map(|(&own, &reference)| divergence(&[0.0, reference], &[0.0, own]));

        (
            pairs.all(|(own, reference)| (*own > 0.0) == (*reference > 0.0)),
            each.sum::<f64>() / own.len() as f64,
        )
    }

    /// Each value is a row.
    fn sums_of_values(&self, reference: &Self) -> Sums {
        let pairs = self.logits.iter().zip(&reference.logits);

        pairs.fold(Sums::default(), |sums, (&own, &wanted)| {
            let (own, wanted) = (f64::from(own), f64::from(wanted));
            sums + Sums {
                counted: 1.0,
                agreeing: 0.0,
                divergence: (own - wanted).powi(2),
                values: 1.0,
                sum: wanted,
                squares: wanted * wanted,
            }
        })
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
    let most = logits
        .iter()
        .fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - most).exp())
        .sum();
    f64::from(most) + sum.ln()
}

#[cfg(test)]
mod tests;
