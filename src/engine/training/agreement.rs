//! How much one model predicts as another does; no labels are needed.

use std::ops::{Add, ControlFlow};

use rayon::prelude::*;

use super::{Batch, Dataset, Learner, cross_entropy::IGNORED, evaluate::batches};
use crate::{network::Task, tensors::Checkpoint};

/// One model beside a reference, over inputs or counted tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of predictions that are the reference's, in [0, 1].
    pub agreement: f64,
    /// Mean Kullback–Leibler divergence from the reference, in nats.
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
        let counted = match self.graph().task {
            Task::SequenceToSequence => {
                batch.labels.iter().map(|&label| label != IGNORED).collect()
            }
            task if task.is_of_tokens() => {
                batch.inputs.iter().map(|&packed| packed >= 0.0).collect()
            }
            _ => vec![true; logits.len() / classes],
        };

        Predictions {
            logits,
            classes,
            counted,
        }
    }
}

impl Runnable<'_, '_> {
    /// The class that the model predicts for every row of logits, [`IGNORED`] at padded tokens: labels for
    /// samples that have none. `None` where the caller interrupts; `go_on` is asked before each batch.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data.
    pub fn labels(&self, data: &Dataset, go_on: &dyn Fn() -> ControlFlow<()>) -> Option<Vec<i64>> {
        let mut labels = Vec::new();
        for batch in batches(data, self.learner.logits_batch_size(data.size())) {
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
        let size = self.learner.logits_batch_size(data.size());
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
    counted: f64,
    agreeing: f64,
    divergence: f64,
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            counted: self.counted + other.counted,
            agreeing: self.agreeing + other.agreeing,
            divergence: self.divergence + other.divergence,
        }
    }
}

impl Sums {
    fn mean(self) -> Agreement {
        let count = self.counted.max(1.0);
        Agreement {
            agreement: self.agreeing / count,
            divergence: self.divergence / count,
        }
    }
}

impl Predictions {
    /// By row, [`IGNORED`] where a row does not count.
    fn labels(&self) -> Vec<i64> {
        let rows = self.logits.par_chunks(self.classes).zip(&self.counted);
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
        let rows: Vec<(bool, f64)> = self
            .logits
            .par_chunks(self.classes)
            .zip(reference.logits.par_chunks(self.classes))
            .zip(&self.counted)
            .filter(|(_, counted)| **counted)
            .map(|((own, reference), _)| {
                (
                    largest(own) == largest(reference),
                    divergence(reference, own),
                )
            })
            .collect();

        // In order, so that the sum does not depend on the threads.
        Sums {
            counted: rows.len() as f64,
            agreeing: rows.iter().filter(|(agrees, _)| *agrees).count() as f64,
            divergence: rows.iter().map(|(_, divergence)| divergence).sum(),
        }
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
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::{tensors::HostTensor, training::testing};

    fn predictions(logits: &[f32], counted: &[bool]) -> Predictions {
        Predictions {
            logits: logits.to_vec(),
            classes: 2,
            counted: counted.to_vec(),
        }
    }

    #[test]
    fn a_model_labels_what_has_no_labels_and_agrees_with_itself() {
        let graph = testing::graph(&[3], json!([{"op":"linear","param":"fc"}]));
        let signature = testing::signature(&[("fc.weight", &[4, 3])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 1);
        let other = testing::random_params(&signature, 2);
        let batch = testing::random_batch(&[3], 300, 4, 2);
        let inputs = HostTensor::from_f32(vec![300, 3], batch.inputs.clone());
        let data = Dataset::unlabelled(inputs);
        learner.check(&data).unwrap();
        let [old, new] = [&params, &other].map(|params| Runnable {
            learner: &learner,
            params,
        });

        let labels = old.labels(&data, &|| ControlFlow::Continue(())).unwrap();
        assert!(old.labels(&data, &|| ControlFlow::Break(())).is_none());
        let labelled = data.clone().labelled(labels);
        assert!((learner.evaluate(&params, &labelled).accuracy - 1.0).abs() < 1e-12);

        // Over two batches as over one, and by the labels as by the logits.
        let found = new.beside(old, &data);
        let whole = learner
            .predictions(&other, &batch)
            .beside(&learner.predictions(&params, &batch));
        assert!((found.agreement - whole.agreement).abs() < 1e-12);
        assert!((found.divergence - whole.divergence).abs() < 1e-9 && found.divergence > 0.0);
        assert!((learner.evaluate(&other, &labelled).accuracy - found.agreement).abs() < 1e-12);
    }

    #[test]
    fn padded_tokens_are_not_labelled() {
        let nodes = json!([{"op":"embedding","param":"e"},{"op":"linear","param":"e","id":"out"}]);
        let mut graph = testing::token_graph(3, nodes);
        graph.task = crate::network::Task::NextToken;
        let signature = testing::signature(&[("e.weight", &[4, 2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let table = HostTensor::from_f32(vec![4, 2], vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
        let params: Checkpoint = [("e.weight".to_owned(), table)].into_iter().collect();
        let ids = HostTensor::from_f32(vec![1, 3], vec![0.0, 1.0, -1.0]);
        let model = Runnable {
            learner: &learner,
            params: &params,
        };
        let labels = model.labels(&Dataset::unlabelled(ids), &|| ControlFlow::Continue(()));
        assert_eq!(labels.unwrap(), [3, 1, IGNORED]);
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
        assert!(
            (2.0 * found.divergence - first - second).abs() < 1e-6,
            "{found:?}"
        );

        let same = reference.beside(&reference);
        assert_eq!(
            same,
            Agreement {
                agreement: 1.0,
                divergence: 0.0
            }
        );
    }
}
