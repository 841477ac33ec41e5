//! When a prediction is right: label by label, all of a sample together, or more or less.

use super::Dataset;
use crate::training::{Value, cross_entropy::IGNORED};

/// What is judged of a data set's predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Judged {
    /// Each label by itself.
    #[default]
    Each,
    /// All labels of a sample: it is right where every one of them is.
    Together,
    /// Values, by how much less they are off than the mean of all would be (R²); nothing is right or wrong.
    Values {
        /// The mean square of their distances from the mean of all.
        variance: f64,
    },
}

/// Samples, or labels that are judged by themselves, that one model has right and another wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flips {
    pub count: usize,
    /// Of all that are judged.
    pub share: f64,
}

impl Judged {
    pub fn is_of_values(self) -> bool {
        matches!(self, Self::Values { .. })
    }

    /// What is right of a sample's labels that count, with its predictions.
    pub(in crate::training) fn right(self, judged: &[(i64, u32)]) -> f64 {
        let right = judged
            .iter()
            .filter(|(label, prediction)| *label == i64::from(*prediction))
            .count();
        match self {
            Self::Each => right as f64,
            Self::Together => f64::from(u8::from(right == judged.len() && right > 0)),
            Self::Values { variance } => explained(mean_square(judged), variance),
        }
    }

    /// How much a sample with so many labels counts.
    pub(in crate::training) fn weight(self, labels: usize) -> u32 {
        match self {
            Self::Each => labels as u32,
            Self::Together | Self::Values { .. } => u32::from(labels > 0),
        }
    }
}

/// How bad a sample's values are at most: where a model has diverged they are no numbers.
const LEAST_EXPLAINED: f64 = -1e9;

/// What errors leave of a variance: `1 − error / variance`, as R² has it; of what does not vary, whether there is
/// no error.
pub(in crate::training) fn explained(error: f64, variance: f64) -> f64 {
    if variance > 0.0 {
        (1.0 - error / variance).max(LEAST_EXPLAINED)
    } else {
        f64::from(u8::from(error <= 0.0))
    }
}

fn mean_square(judged: &[(i64, u32)]) -> f64 {
    let squares = judged.iter().map(|(label, prediction)| {
        let (wanted, found) = (
            Value::of_label(*label).0,
            Value::of_prediction(*prediction).0,
        );
        (f64::from(found) - f64::from(wanted)).powi(2)
    });
    squares.sum::<f64>() / judged.len().max(1) as f64
}

impl Dataset {
    /// Of every sample the labels that count, with what a model predicts there.
    pub(in crate::training) fn beside<'a>(
        &'a self,
        predictions: &'a [u32],
    ) -> impl Iterator<Item = Vec<(i64, u32)>> + 'a {
        let mut predictions = predictions.iter().copied();
        let samples = self.labels().chunks(self.labels_each().max(1));
        samples.map(move |labels| {
            let counted = labels.iter().copied().filter(|&label| label != IGNORED);
            counted.zip(predictions.by_ref()).collect()
        })
    }

    /// The share of right predictions, or R² of values; 0 of nothing.
    pub fn right_share(&self, predictions: &[u32]) -> f64 {
        let (mut right, mut counted) = (0.0, 0.0);
        for sample in self.beside(predictions) {
            right += self.judged.right(&sample);
            counted += f64::from(self.judged.weight(sample.len()));
        }
        right / f64::max(counted, 1.0)
    }

    /// What a model has right and another wrong; `None` where nothing is right or wrong.
    pub fn flips(&self, right: &[u32], wrong: &[u32]) -> Option<Flips> {
        if self.judged.is_of_values() {
            return None;
        }

        let (mut count, mut all) = (0usize, 0usize);
        for (one, other) in self.beside(right).zip(self.beside(wrong)) {
            for (one, other) in self.parts(&one).zip(self.parts(&other)) {
                all += 1;
                count += usize::from(are_right(one) && !are_right(other));
            }
        }
        let share = count as f64 / all as f64;

        Some(Flips { count, share })
    }

    /// Of every sample in how many judged parts two models say the same.
    pub fn agreeing(&self, one: &[u32], other: &[u32]) -> Vec<u32> {
        let samples = self.beside(one).zip(self.beside(other));
        let agreeing = samples.map(|(one, other)| {
            let parts = self.parts(&one).zip(self.parts(&other));
            parts.filter(|(one, other)| one == other).count() as u32
        });
        agreeing.collect()
    }

    /// The share of what is judged in which a model says what a reference says; of values R², the reference's in
    /// the place of the labels.
    pub fn agreement(&self, one: &[u32], reference: &[u32]) -> f64 {
        if self.judged.is_of_values() {
            let labels = reference.iter().map(|&bits| bits.into()).collect();
            return self.clone().valued(labels).right_share(one);
        }
        let agreeing: u32 = self.agreeing(one, reference).iter().sum();
        let all = self.beside(one).map(|judged| self.parts(&judged).count());
        f64::from(agreeing) / all.sum::<usize>().max(1) as f64
    }

    /// What is judged by itself of a sample.
    fn parts<'a>(
        &self,
        judged: &'a [(i64, u32)],
    ) -> impl Iterator<Item = &'a [(i64, u32)]> + use<'a> {
        let size = if self.judged == Judged::Each {
            1
        } else {
            judged.len().max(1)
        };
        judged.chunks(size)
    }
}

fn are_right(judged: &[(i64, u32)]) -> bool {
    judged
        .iter()
        .all(|(label, prediction)| *label == i64::from(*prediction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    fn samples(count: usize) -> Dataset {
        Dataset::unlabelled(HostTensor::from_f32(vec![count, 1], vec![0.0; count]))
    }

    fn rights(data: &Dataset, predictions: &[u32]) -> Vec<(f64, u32)> {
        let judged = data.judged();
        let samples = data.beside(predictions);
        samples
            .map(|sample| (judged.right(&sample), judged.weight(sample.len())))
            .collect()
    }

    #[test]
    fn labels_that_are_judged_together_are_right_together() {
        let labels = vec![0, 1, 1, 0, IGNORED, IGNORED];
        let data = samples(3).labelled_together(labels);
        let (own, old) = ([0, 1, 1, 1], [0, 0, 1, 0]);
        assert_eq!(rights(&data, &own), [(1.0, 1), (0.0, 1), (0.0, 0)]);
        assert!((data.right_share(&own) - 0.5).abs() < 1e-12);
        assert_eq!(data.agreeing(&own, &old), [0, 0, 0]);
        assert!(data.agreement(&own, &old).abs() < 1e-12);
        assert!((data.agreement(&own, &own) - 1.0).abs() < 1e-12);
        let flips = data.flips(&old, &own).unwrap();
        assert_eq!(flips.count, 1);

        assert!((flips.share - 0.5).abs() < 1e-12);
    }

    #[test]
    fn labels_of_tokens_are_right_one_by_one() {
        let data = samples(2).labelled(vec![0, 1, IGNORED, 0]);
        let (own, old) = ([0, 1, 1], [1, 1, 0]);
        assert_eq!(rights(&data, &own), [(2.0, 2), (0.0, 1)]);
        assert_eq!(data.agreeing(&own, &old), [1, 0]);
        assert!((data.agreement(&own, &old) - 1.0 / 3.0).abs() < 1e-12);
        let flips = data.flips(&old, &own).unwrap();
        assert_eq!(flips.count, 1);
        assert!((flips.share - 1.0 / 3.0).abs() < 1e-12);
    }

    /// Values 1, 3, 5 vary by 8/3; predictions are 0, 1 and 0 off: R² is 1 − (1/3) / (8/3).
    #[test]
    fn values_are_more_or_less_right() {
        let data = samples(3).of_values(&[1.0, 3.0, 5.0]);
        let [own, old] = [[1.0f32, 4.0, 5.0], [3.0; 3]].map(|all| all.map(f32::to_bits));
        assert!((data.right_share(&own) - 0.875).abs() < 1e-12);
        assert!(data.right_share(&old).abs() < 1e-12, "the mean of all");
        assert_eq!(data.flips(&own, &old), None);
        // The other's values are 1, 4, 5, and vary by 26/9: 3, 3, 3 are off by (4 + 1 + 4) / 3.
        let expected = 1.0 - 3.0 / (26.0 / 9.0);
        assert!((data.agreement(&old, &own) - expected).abs() < 1e-9);
        // A part of the data is judged beside the variance of all.
        let part = data.subset(&[1]);
        assert!((part.right_share(&[4f32.to_bits()]) - 0.625).abs() < 1e-12);
        // Of what does not vary, only what is exact is right.
        let flat = samples(3).of_values(&[2.0; 3]);
        let found = flat.right_share(&[2.0f32, 2.0, 1.0].map(f32::to_bits));
        assert!((found - 2.0 / 3.0).abs() < 1e-12);
        // A model that has diverged is bad, and no more than that.
        let lost = data.right_share(&[f32::NAN, f32::INFINITY, 5.0].map(f32::to_bits));

        assert!(lost.is_finite() && lost < -1e8);
    }
}
