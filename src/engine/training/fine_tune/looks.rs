//! Looks at the validation data within an epoch, and the best of them.

use serde::Serialize;

use crate::{
    tensors::Checkpoint,
    training::{Dataset, Evaluation},
};

/// Validation samples that a look sees at most: the same ones every time, evenly spread.
pub const LOOK_SAMPLES: usize = 512;
/// Training samples from which a look's running statistics are re-estimated, at most. The result's are
/// taken from as many as everywhere.
pub(super) const LOOK_STATISTICS: usize = 256;

/// How often the validation data are looked at within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Evenly spread over the epoch's steps, the last at its end; more than there are steps are one each.
    pub per_epoch: usize,
    /// Ends the training after so many looks in a row that are no better than the best.
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

/// All looks of a training.
pub(super) struct Seen {
    data: Option<Dataset>,
    looks: Vec<Look>,
    /// The best look by accuracy, then by loss, of equal ones the last; with what it looked at.
    best: Option<(usize, Checkpoint)>,
}

impl Seen {
    /// None are taken without data.
    pub fn of(validation: Option<&Dataset>) -> Self {
        let data = validation.map(|all| {
            let samples = all.len().min(LOOK_SAMPLES);
            let spread = (0..samples).map(|i| i * all.len() / samples);
            all.subset(&spread.collect::<Vec<_>>())
        });
        Self { data, looks: Vec::new(), best: None }
    }

    pub fn data(&self) -> Option<&Dataset> {
        self.data.as_ref()
    }

    pub fn add(&mut self, step: usize, found: &Evaluation, model: Checkpoint) {
        let (validation_loss, validation_accuracy) = (found.loss, found.accuracy);
        let look = Look { step, validation_loss, validation_accuracy };
        let best = self.best.as_ref().map(|(best, _)| self.looks[*best]);
        if best.is_none_or(|best| is_as_good(&look, &best)) {
            self.best = Some((self.looks.len(), model));
        }
        self.looks.push(look);
    }

    pub fn last(&self) -> Option<&Look> {
        self.looks.last()
    }

    /// Looks since the best one.
    pub fn since_best(&self) -> usize {
        self.best().map_or(0, |best| self.looks.len() - 1 - best)
    }

    pub fn all(&self) -> Vec<Look> {
        self.looks.clone()
    }

    pub fn best(&self) -> Option<usize> {
        self.best.as_ref().map(|(best, _)| *best)
    }

    pub fn best_model(&self) -> Option<&Checkpoint> {
        self.best.as_ref().map(|(_, model)| model)
    }
}

/// A loss that is no number is worse than any.
fn is_as_good(look: &Look, best: &Look) -> bool {
    let loss = |look: &Look| {
        if look.validation_loss.is_nan() { f64::INFINITY } else { look.validation_loss }
    };
    let by_accuracy = look.validation_accuracy.total_cmp(&best.validation_accuracy);
    by_accuracy.then(loss(best).total_cmp(&loss(look))).is_ge()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    #[test]
    fn looks_are_spread_over_the_steps() {
        let due = |per_epoch: usize, steps: usize| -> Vec<usize> {
            let looks = Looks { per_epoch, patience: None };
            (1..=steps).filter(|&step| looks.is_due(step, steps)).collect()
        };
        assert_eq!(due(1, 5), [5]);
        assert_eq!(due(2, 5), [3, 5]);
        assert_eq!(due(4, 8), [2, 4, 6, 8]);
        assert_eq!(due(8, 3), [1, 2, 3]);
    }

    #[test]
    fn the_best_look_is_kept_and_of_equal_ones_the_last() {
        let mut seen = Seen::of(None);
        let model = |value: f32| -> Checkpoint {
            [("w".to_owned(), HostTensor::from_f32(vec![1], vec![value]))].into_iter().collect()
        };
        let figures = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8), (0.7, f64::NAN), (0.6, 0.1)];
        for (step, (accuracy, loss)) in figures.into_iter().enumerate() {
            let found = Evaluation { loss, accuracy, predictions: Vec::new() };
            seen.add(step + 1, &found, model(step as f32));
        }
        assert_eq!((seen.best(), seen.since_best()), (Some(3), 2));
        assert!((seen.best_model().unwrap()["w"].f32()[0] - 3.0).abs() < 1e-9);
        assert_eq!(seen.all()[3].step, 4);
    }
}
