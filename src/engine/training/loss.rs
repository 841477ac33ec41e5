//! The loss of each task, its gradient, and what is predicted, row by row of the logits.
//!
//! A row is what one label belongs to: the logits of a sample or a token; the logits of all positions for one end
//! of an answer; one logit or value alone. Losses are the library's, each a mean over rows:
//!
//! | rows | loss | prediction |
//! |---|---|---|
//! | classes | cross-entropy | the largest |
//! | ends | cross-entropy over the positions | the position of the largest |
//! | labels | `max(z, 0) − z y + ln(1 + exp(−abs(z)))` | 1 where the logit is above 0 |
//! | values | `(z − y)²` | the value ([`Value`]) |
//!
//! A teacher's logits stand in the place of labels as what they are: probabilities, or values.

use rayon::prelude::*;

use super::{
    Value,
    cross_entropy::{self, Scores, Soft},
};
use crate::network::Task;

/// Which loss a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Classes,
    /// Logits are `[N, S, 2]`, labels `[N, 2]`.
    Ends,
    Labels,
    Values,
}

impl Loss {
    pub fn of(task: Task) -> Self {
        match task {
            Task::QuestionAnswering => Self::Ends,
            Task::MultiLabelClassification => Self::Labels,
            Task::Regression => Self::Values,
            _ => Self::Classes,
        }
    }

    /// Loss and prediction of every counted row.
    ///
    /// # Panics
    /// When a label is none of the row's.
    pub fn scores(self, logits: &[f32], labels: &[i64]) -> Scores {
        match self {
            Self::Classes => cross_entropy::scores(logits, labels),
            Self::Ends => cross_entropy::scores(&by_end(logits, labels), labels),
            Self::Labels | Self::Values => self.scores_of(logits, &self.targets(labels)),
        }
    }

    /// The gradient of the mean loss in the place of the logits; `share` is what a counted row has of the mean.
    ///
    /// # Panics
    /// As [`Loss::scores`].
    pub fn gradient(self, logits: Vec<f32>, labels: &[i64], share: f64) -> Vec<f32> {
        match self {
            Self::Classes => cross_entropy::shared_gradient(logits, labels, share),
            Self::Ends => {
                let rows = by_end(&logits, labels);
                by_position(&cross_entropy::shared_gradient(rows, labels, share), labels)
            }
            Self::Labels | Self::Values => {
                self.gradient_towards(logits, &self.targets(labels), share)
            }
        }
    }

    /// The same as [`Loss::scores`] against a teacher's logits; the labels say which rows count.
    ///
    /// # Panics
    /// When the teacher's logits are of other rows.
    pub fn soft_scores(self, logits: &[f32], labels: &[i64], soft: Soft) -> Scores {
        match self {
            Self::Classes => cross_entropy::soft_scores(logits, labels, soft),
            Self::Ends => {
                let taught = by_end(soft.logits, labels);
                let soft = Soft {
                    logits: &taught,
                    known: &[],
                };
                cross_entropy::soft_scores(&by_end(logits, labels), labels, soft)
            }
            Self::Labels | Self::Values => self.scores_of(logits, &self.taught(logits, soft)),
        }
    }

    /// The same as [`Loss::gradient`] against a teacher's logits.
    ///
    /// # Panics
    /// As [`Loss::soft_scores`].
    pub fn soft_gradient(
        self,
        logits: Vec<f32>,
        labels: &[i64],
        soft: Soft,
        share: f64,
    ) -> Vec<f32> {
        match self {
            Self::Classes => cross_entropy::soft_gradient(logits, labels, soft, share),
            Self::Ends => {
                let taught = by_end(soft.logits, labels);
                let soft = Soft {
                    logits: &taught,
                    known: &[],
                };
                let rows = by_end(&logits, labels);
                by_position(
                    &cross_entropy::soft_gradient(rows, labels, soft, share),
                    labels,
                )
            }
            Self::Labels | Self::Values => {
                let targets = self.taught(&logits, soft);
                self.gradient_towards(logits, &targets, share)
            }
        }
    }

    /// The logits with each label's row in one piece, where they are not.
    pub fn rows(self, logits: &[f32], labels: &[i64]) -> Option<Vec<f32>> {
        (self == Self::Ends).then(|| by_end(logits, labels))
    }

    /// What a value `z` of a row of one costs beside its target, and the first two derivatives by `z`.
    pub fn of_one(self, z: f64, target: f64) -> OfOne {
        if self == Self::Labels {
            let probability = sigmoid(z);
            return OfOne {
                loss: z.max(0.0) - z * target + (-z.abs()).exp().ln_1p(),
                slope: probability - target,
                curvature: probability * (1.0 - probability),
            };
        }

        OfOne {
            loss: (z - target).powi(2),
            slope: 2.0 * (z - target),
            curvature: 2.0,
        }
    }

    /// The target of a label where rows are of one value.
    pub fn target(self, label: i64) -> f64 {
        if self == Self::Values {
            f64::from(Value::of_label(label).0)
        } else {
            label as f64
        }
    }

    fn targets(self, labels: &[i64]) -> Vec<Option<f64>> {
        labels
            .iter()
            .map(|&label| Some(self.target(label)))
            .collect()
    }

    /// A teacher's targets; none of an output that it lacks.
    fn taught(self, logits: &[f32], soft: Soft) -> Vec<Option<f64>> {
        assert_eq!(logits.len(), soft.logits.len(), "the same rows and classes");
        let outputs = soft.known.len().max(1);

        soft.logits
            .iter()
            .enumerate()
            .map(|(at, &logit)| {
                let is_known = soft.known.get(at % outputs).is_none_or(|known| *known);
                let logit = f64::from(logit);
                is_known.then(|| {
                    if self == Self::Labels {
                        sigmoid(logit)
                    } else {
                        logit
                    }
                })
            })
            .collect()
    }

    fn scores_of(self, logits: &[f32], targets: &[Option<f64>]) -> Scores {
        assert_eq!(logits.len(), targets.len(), "a target for each output");
        let (losses, predictions) = logits
            .par_iter()
            .zip(targets)
            .map(|(&logit, target)| {
                let loss = target.map_or(0.0, |target| self.of_one(f64::from(logit), target).loss);
                (loss, self.predicted(logit))
            })
            .unzip();

        Scores {
            losses,
            predictions,
        }
    }

    fn gradient_towards(
        self,
        mut logits: Vec<f32>,
        targets: &[Option<f64>],
        share: f64,
    ) -> Vec<f32> {
        assert_eq!(logits.len(), targets.len(), "a target for each output");
        logits
            .par_iter_mut()
            .zip(targets)
            .for_each(|(logit, target)| {
                let slope =
                    target.map_or(0.0, |target| self.of_one(f64::from(*logit), target).slope);
                *logit = (slope * share) as f32;
            });
        logits
    }

    /// What a row of one value predicts.
    pub fn predicted(self, logit: f32) -> u32 {
        if self == Self::Values {
            Value(logit).prediction()
        } else {
            u32::from(logit > 0.0)
        }
    }
}

/// A row of one value beside its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfOne {
    pub loss: f64,
    pub slope: f64,
    pub curvature: f64,
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// `[N, S, 2]` as `[N, 2, S]`; labels are `[N, 2]`.
pub(super) fn by_end(logits: &[f32], labels: &[i64]) -> Vec<f32> {
    transposed(logits, labels.len() / 2, |length| [length, 2])
}

/// `[N, 2, S]` as `[N, S, 2]`.
fn by_position(rows: &[f32], labels: &[i64]) -> Vec<f32> {
    transposed(rows, labels.len() / 2, |length| [2, length])
}

/// Every sample transposed, which has these rows and columns.
fn transposed(values: &[f32], samples: usize, shape: fn(usize) -> [usize; 2]) -> Vec<f32> {
    let size = values.len() / samples.max(1);
    let [rows, columns] = shape(size / 2);
    let mut turned = Vec::with_capacity(values.len());
    for sample in values.chunks(size.max(1)) {
        for column in 0..columns {
            turned.extend((0..rows).map(|row| sample[row * columns + column]));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::cross_entropy::{IGNORED, share};

    fn close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found} and {expected}"
            );
        }
    }

    /// Two values of one sample: errors 1 and −2.
    #[test]
    fn values_cost_their_squared_errors() {
        let labels = [1.0, 2.5].map(|value| Value(value).label());
        let found = Loss::Values.scores(&[2.0, 0.5], &labels);
        assert_eq!(found.losses, [1.0, 4.0]);
        assert!((found.mean_loss() - 2.5).abs() < 1e-12);
        assert_eq!(found.predictions, [2.0f32.to_bits(), 0.5f32.to_bits()]);
        let gradient = Loss::Values.gradient(vec![2.0, 0.5], &labels, share(&labels));
        close(&gradient, &[1.0, -2.0]);
    }

    /// σ(ln 3) = 3/4, σ(0) = 1/2.
    #[test]
    fn each_label_costs_its_own_cross_entropy() {
        let (logits, labels) = ([3f32.ln(), 0.0], [0, 1]);
        let found = Loss::Labels.scores(&logits, &labels);
        let expected = f64::midpoint(4f64.ln(), 2f64.ln());
        assert!((found.mean_loss() - expected).abs() < 1e-7);
        assert_eq!(found.predictions, [1, 0]);
        let gradient = Loss::Labels.gradient(logits.to_vec(), &labels, share(&labels));
        close(&gradient, &[0.375, -0.25]);
        let far = Loss::Labels.scores(&[1000.0, -1000.0], &[0, 1]);
        assert_eq!(far.losses, [1000.0, 1000.0], "no overflow");
    }

    /// Three positions: the start's logits are 0, 0, ln 2, the end's ln 2, 0, 0.
    #[test]
    fn the_ends_of_an_answer_are_chosen_among_the_positions() {
        let two = 2f32.ln();
        let logits = [0.0, two, 0.0, 0.0, two, 0.0];
        let found = Loss::Ends.scores(&logits, &[2, 1]);
        let expected = f64::midpoint(2f64.ln(), 4f64.ln());
        assert!((found.mean_loss() - expected).abs() < 1e-7);
        assert_eq!(found.predictions, [2, 0]);
        let gradient = Loss::Ends.gradient(logits.to_vec(), &[2, 1], 0.5);
        close(&gradient, &[0.125, 0.25, 0.125, -0.375, -0.25, 0.125]);
        // An answer beyond the sentence counts nowhere.
        let outside = Loss::Ends.scores(&logits, &[IGNORED; 2]);
        assert!(outside.losses.is_empty() && outside.predictions.is_empty());
        let gradient = Loss::Ends.gradient(logits.to_vec(), &[IGNORED; 2], 0.5);

        close(&gradient, &[0.0; 6]);
    }

    #[test]
    fn a_teacher_is_followed_where_it_knows_the_output() {
        let soft = Soft {
            logits: &[3f32.ln(), 5.0],
            known: &[true, false],
        };
        let gradient = Loss::Labels.soft_gradient(vec![0.0, 9.0], &[0, 0], soft, 1.0);
        close(&gradient, &[-0.25, 0.0]);
        let gradient = Loss::Values.soft_gradient(vec![0.0, 9.0], &[0, 0], soft, 0.5);
        close(&gradient, &[-(3f64.ln()), 0.0]);
        // What the teacher says itself leaves nothing to learn, of a position least of all.
        let ends = [0.5, 1.0, -1.0, 2.0];
        let soft = Soft {
            logits: &ends,
            known: &[],
        };
        let gradient = Loss::Ends.soft_gradient(ends.to_vec(), &[0, 0], soft, 1.0);

        close(&gradient, &[0.0; 4]);
    }
}
