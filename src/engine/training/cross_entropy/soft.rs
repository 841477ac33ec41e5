//! The same loss against probabilities instead of labels: `−Σ p log q`, p a teacher's.

use rayon::prelude::*;

use super::{IGNORED, Scores, normaliser, width};

/// A teacher's logits for the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Soft<'a> {
    /// `[rows, classes]`, row-major.
    pub logits: &'a [f32],
    /// Of every class, whether the teacher has it; empty: all of them. A class that it lacks is left out of
    /// both softmaxes, so that it is neither taught nor untaught.
    pub known: &'a [bool],
}

impl Soft<'_> {
    fn knows(&self, class: usize) -> bool {
        self.known.get(class).is_none_or(|known| *known)
    }

    /// The classes that count, with their logits.
    fn among<'r>(&'r self, row: &'r [f32]) -> impl Iterator<Item = (usize, f64)> + 'r {
        let classes = row.iter().map(|&value| f64::from(value)).enumerate();
        classes.filter(|(class, _)| self.knows(*class))
    }

    fn normaliser(&self, row: &[f32]) -> (f64, f64) {
        if self.known.is_empty() {
            return normaliser(row);
        }

        let maximum = self
            .among(row)
            .map(|(_, v)| v)
            .fold(f64::NEG_INFINITY, f64::max);
        (
            maximum,
            self.among(row).map(|(_, v)| (v - maximum).exp()).sum(),
        )
    }

    /// Loss and prediction of one row; the prediction is among all classes.
    fn score(&self, row: &[f32], taught: &[f32]) -> (f64, u32) {
        let (maximum, total) = self.normaliser(row);
        let (most, sum) = self.normaliser(taught);
        let losses = self.among(taught).map(|(class, value)| {
            let probability = (value - most).exp() / sum;
            // What is impossible costs nothing, however far the logit is.
            if probability > 0.0 {
                probability * (total.ln() + maximum - f64::from(row[class]))
            } else {
                0.0
            }
        });
        let best = (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        (losses.sum(), best as u32)
    }

    /// `(q − p) · share` in the place of the logits of one row.
    fn differentiate(&self, row: &mut [f32], taught: &[f32], share: f64) {
        let (maximum, total) = self.normaliser(row);
        let (most, sum) = self.normaliser(taught);
        for (class, (value, &taught)) in row.iter_mut().zip(taught).enumerate() {
            if !self.knows(class) {
                *value = 0.0;
                continue;
            }
            let probability = (f64::from(*value) - maximum).exp() / total;
            let target = (f64::from(taught) - most).exp() / sum;
            *value = ((probability - target) * share) as f32;
        }
    }
}

/// Loss and prediction of every counted row of `logits` `[rows, classes]`; `labels` say which count.
///
/// # Panics
/// When the teacher's logits are of other rows.
pub fn soft_scores(logits: &[f32], labels: &[i64], soft: Soft) -> Scores {
    assert_eq!(logits.len(), soft.logits.len(), "the same rows and classes");
    let width = width(logits, labels);
    let rows = logits
        .par_chunks(width)
        .zip(soft.logits.par_chunks(width))
        .zip(labels);
    let counted = rows.filter(|&(_, &label)| label != IGNORED);
    let (losses, predictions) = counted
        .map(|((row, taught), _)| soft.score(row, taught))
        .unzip();

    Scores {
        losses,
        predictions,
    }
}

/// `(q − p) · share` in the place of the logits; 0 where a row does not count, and at classes that the
/// teacher lacks.
///
/// # Panics
/// When the teacher's logits are of other rows.
pub fn soft_gradient(mut logits: Vec<f32>, labels: &[i64], soft: Soft, share: f64) -> Vec<f32> {
    assert_eq!(logits.len(), soft.logits.len(), "the same rows and classes");
    let width = width(&logits, labels);
    let rows = logits
        .par_chunks_mut(width)
        .zip(soft.logits.par_chunks(width))
        .zip(labels);
    rows.for_each(|((row, taught), &label)| {
        if label == IGNORED {
            row.fill(0.0);
        } else {
            soft.differentiate(row, taught, share);
        }
    });
    logits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::cross_entropy::{scores, shared_gradient};

    #[test]
    fn certain_probabilities_are_labels() {
        let logits = [0.3, -1.0, 2.0, 0.5, 0.25, -0.5, 1.0, 2.0, 3.0];
        let labels = [1, 2, IGNORED];
        // e^−2000 is 0 in f64.
        let taught = [-2000.0, 0.0, -2000.0, 0.0, 0.0, 2000.0, 0.0, 0.0, 0.0];
        let soft = Soft {
            logits: &taught,
            known: &[],
        };
        assert_eq!(
            soft_scores(&logits, &labels, soft),
            scores(&logits, &labels)
        );
        let gradient = soft_gradient(logits.to_vec(), &labels, soft, 0.5);
        assert_eq!(gradient, shared_gradient(logits.to_vec(), &labels, 0.5));
    }

    #[test]
    fn by_hand() {
        let ln3 = 3f32.ln();
        // q = 1/4, 3/4 and p = 1/2, 1/2: −(ln 1/4 + ln 3/4) / 2.
        let (logits, taught) = ([0.0, ln3], [1.0, 1.0]);
        let soft = Soft {
            logits: &taught,
            known: &[],
        };
        let found = soft_scores(&logits, &[0], soft);
        let expected = -f64::midpoint(0.25f64.ln(), 0.75f64.ln());
        assert!((found.mean_loss() - expected).abs() < 1e-7);
        assert_eq!(found.predictions, [1]);
        let gradient = soft_gradient(logits.to_vec(), &[0], soft, 1.0);
        assert!((gradient[0] + 0.25).abs() < 1e-7 && (gradient[1] - 0.25).abs() < 1e-7);
        // The teacher's own probabilities leave nothing to learn.
        let same = Soft {
            logits: &logits,
            known: &[],
        };
        assert_eq!(soft_gradient(logits.to_vec(), &[0], same, 1.0), [0.0, 0.0]);
    }

    #[test]
    fn classes_that_the_teacher_lacks_are_left_alone() {
        let ln3 = 3f32.ln();
        let (logits, taught) = ([0.0, 50.0, ln3], [0.0, 0.0, 0.0]);
        let soft = Soft {
            logits: &taught,
            known: &[true, false, true],
        };
        let gradient = soft_gradient(logits.to_vec(), &[0], soft, 1.0);
        assert!((gradient[0] + 0.25).abs() < 1e-7 && (gradient[2] - 0.25).abs() < 1e-7);
        assert!(gradient[1].abs() < 1e-12);
        let found = soft_scores(&logits, &[0], soft);
        assert!((found.mean_loss() + f64::midpoint(0.25f64.ln(), 0.75f64.ln())).abs() < 1e-7);
        assert_eq!(
            found.predictions,
            [1],
            "what it predicts is among all classes"
        );
    }
}
