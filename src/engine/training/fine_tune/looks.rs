//! Looks at the validation data within an epoch, and the best of them.

use serde::Serialize;

use crate::{
    tensors::Checkpoint,
    training::{Dataset, Evaluation, Paired, Tally},
};

/// Validation samples that a look sees at most: the same ones every time, evenly spread.
pub const LOOK_SAMPLES: usize = 512;
/// Training samples from which a look's running statistics are re-estimated, at most. The result's are
/// taken from as many as everywhere.
pub(super) const LOOK_STATISTICS: usize = 256;
/// A look is behind the peak where a sign test as uneven is as rare as this.
const SIGNIFICANCE: f64 = 0.05;

/// How often the validation data are looked at within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Evenly spread over the epoch's steps, the last at its end; more than there are steps are one each.
    pub per_epoch: usize,
    /// Ends the training after so many looks in a row below the peak.
    pub patience: Option<usize>,
}

impl Looks {
    /// Whether there is a look after step `step` (from 1) of an epoch of `steps`.
    pub(super) fn is_due(&self, step: usize, steps: usize) -> bool {
        step * self.per_epoch / steps > (step - 1) * self.per_epoch / steps
    }
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Steps done, of all epochs.
    pub step: usize,
    pub validation_loss: f64,
    pub validation_accuracy: f64,
}

impl Look {
    /// A loss that is no number is worse than any.
    fn comparable_loss(&self) -> f64 {
        if self.validation_loss.is_nan() {
            f64::INFINITY
        } else {
            self.validation_loss
        }
    }
}

/// All looks of a training.
///
/// The *peak* is the look of the highest accuracy, of equal ones that of the least loss, then the last. The
/// result is the last look that the sign test does not show to be behind the peak: a few hundred samples
/// tell looks apart by luck more often than by merit, and the end of a falling learning rate is the better
/// guess.
pub(super) struct Seen {
    data: Option<Dataset>,
    looks: Vec<Look>,
    peak: Option<Peak>,
    /// The result so far: a look, with the model that it looked at.
    kept: Option<(usize, Checkpoint)>,
}

struct Peak {
    look: usize,
    tallies: Vec<Tally>,
}

impl Seen {
    /// None are taken without data.
    pub fn of(validation: Option<&Dataset>) -> Self {
        let data = validation.map(|all| {
            let samples = all.len().min(LOOK_SAMPLES);
            let spread = (0..samples).map(|i| i * all.len() / samples);
            all.subset(&spread.collect::<Vec<_>>())
        });
        Self {
            data,
            looks: Vec::new(),
            peak: None,
            kept: None,
        }
    }

    pub fn data(&self) -> Option<&Dataset> {
        self.data.as_ref()
    }

    /// What was found on [`Seen::data`].
    pub fn add(&mut self, step: usize, found: &Evaluation, model: Checkpoint) {
        let Some(data) = &self.data else { return };
        let (validation_loss, validation_accuracy) = (found.loss, found.accuracy);
        let look = Look {
            step,
            validation_loss,
            validation_accuracy,
        };
        let tallies = Tally::of(found, data);

        let position = self.looks.len();
        self.looks.push(look);
        match &self.peak {
            Some(peak) if !is_as_good(&look, &self.looks[peak.look]) => {
                if !is_behind(&tallies, &peak.tallies) {
                    self.kept = Some((position, model));
                }
            }
            _ => {
                self.peak = Some(Peak {
                    look: position,
                    tallies,
                });
                self.kept = Some((position, model));
            }
        }
    }

    pub fn last(&self) -> Option<&Look> {
        self.looks.last()
    }

    /// Looks since the peak.
    pub fn since_peak(&self) -> usize {
        self.peak
            .as_ref()
            .map_or(0, |peak| self.looks.len() - 1 - peak.look)
    }

    pub fn all(&self) -> Vec<Look> {
        self.looks.clone()
    }

    /// The look that is the result.
    pub fn best(&self) -> Option<usize> {
        self.kept.as_ref().map(|(look, _)| *look)
    }

    pub fn best_model(&self) -> Option<&Checkpoint> {
        self.kept.as_ref().map(|(_, model)| model)
    }
}

/// Whether the samples show the first to be worse than the second.
fn is_behind(first: &[Tally], second: &[Tally]) -> bool {
    let paired = Paired::of(first, second);
    paired.behind > paired.ahead && paired.sign_test() <= SIGNIFICANCE
}

/// By accuracy, then by loss.
fn is_as_good(look: &Look, peak: &Look) -> bool {
    let by_accuracy = look
        .validation_accuracy
        .total_cmp(&peak.validation_accuracy);
    by_accuracy
        .then(peak.comparable_loss().total_cmp(&look.comparable_loss()))
        .is_ge()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    /// The steps of an epoch after which there is a look.
    fn due(per_epoch: usize, steps: usize) -> Vec<usize> {
        let looks = Looks {
            per_epoch,
            patience: None,
        };
        (1..=steps)
            .filter(|&step| looks.is_due(step, steps))
            .collect()
    }

    #[test]
    fn looks_are_spread_over_the_steps() {
        assert_eq!(due(1, 5), [5]);
        assert_eq!(due(2, 5), [3, 5]);
        assert_eq!(due(4, 8), [2, 4, 6, 8]);
        assert_eq!(due(8, 3), [1, 2, 3]);
    }

    #[test]
    fn the_result_is_the_last_look_that_is_not_shown_to_be_behind() {
        let inputs = HostTensor::from_f32(vec![20, 1], vec![0.0; 20]);
        let data = Dataset::from_floats(inputs, vec![1; 20]);
        let mut seen = Seen::of(Some(&data));
        let model = |value: f32| -> Checkpoint {
            [("w".to_owned(), HostTensor::from_f32(vec![1], vec![value]))]
                .into_iter()
                .collect()
        };
        // Of the twenty the first so many are right. Two that are lost may be luck, ten are not.
        let figures = [(10, 1.0), (20, 0.5), (18, 0.4), (10, f64::NAN)];
        for (step, (right, loss)) in figures.into_iter().enumerate() {
            let predictions = (0..20).map(|i| u32::from(i < right)).collect();
            let accuracy = f64::from(right) / 20.0;
            let found = Evaluation {
                loss,
                accuracy,
                predictions,
            };
            seen.add(step + 1, &found, model(step as f32));
        }
        assert_eq!((seen.best(), seen.since_peak()), (Some(2), 2));
        assert!((seen.best_model().unwrap()["w"].f32()[0] - 2.0).abs() < 1e-9);
        assert_eq!(seen.all()[3].step, 4);
    }

    fn look(validation_accuracy: f64, validation_loss: f64) -> Look {
        Look {
            step: 1,
            validation_loss,
            validation_accuracy,
        }
    }

    #[test]
    fn of_equal_accuracies_the_least_loss_is_the_peak() {
        assert!(
            is_as_good(&look(0.5, 1.0), &look(0.5, 1.0)),
            "of equal ones the last"
        );
        assert!(is_as_good(&look(0.5, 0.9), &look(0.5, 1.0)));
        assert!(!is_as_good(&look(0.5, f64::NAN), &look(0.5, 1.0)));
        assert!(is_as_good(&look(0.6, 2.0), &look(0.5, 1.0)));
    }
}
