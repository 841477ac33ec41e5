//! What a model did on the samples of a race so far.

use crate::training::{Dataset, Evaluation, Paired, Tally};

/// Right predictions sample by sample, in the order of the race, and the loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    tallies: Vec<Tally>,
    /// Sum over predictions that count, in nats, after each part that was added.
    losses: Vec<(usize, f64)>,
}

impl Record {
    /// Of one evaluation.
    pub fn of(evaluation: &Evaluation, data: &Dataset) -> Self {
        let mut record = Self::default();
        record.add(evaluation, data);
        record
    }

    /// Adds an evaluation of the samples that follow.
    pub fn add(&mut self, evaluation: &Evaluation, data: &Dataset) {
        let tallies = Tally::of(evaluation, data);
        let sum = self.loss_sum() + evaluation.loss * counted(&tallies);
        self.tallies.extend(tallies);
        self.losses.push((self.tallies.len(), sum));
    }

    /// Samples seen.
    pub fn samples(&self) -> usize {
        self.tallies.len()
    }

    /// Share of right predictions, or R² of values; 0 of nothing.
    pub fn accuracy(&self) -> f64 {
        self.accuracy_within(self.samples())
    }

    /// Mean loss in nats; 0 of nothing.
    pub fn loss(&self) -> f64 {
        self.loss_sum() / counted(&self.tallies).max(1.0)
    }

    /// Share of right predictions on the first so many samples.
    ///
    /// # Panics
    /// When fewer were seen.
    pub fn accuracy_within(&self, samples: usize) -> f64 {
        let tallies = &self.tallies[..samples];
        let right: f64 = tallies.iter().map(|tally| tally.right).sum();
        right / counted(tallies).max(1.0)
    }

    /// Mean loss on the first so many samples, which are those of whole parts.
    pub fn loss_within(&self, samples: usize) -> f64 {
        let part = self.losses.iter().find(|(seen, _)| *seen >= samples);
        part.map_or(f64::NAN, |(seen, sum)| {
            sum / counted(&self.tallies[..*seen]).max(1.0)
        })
    }

    /// This model beside another on the first so many samples.
    ///
    /// # Panics
    /// When one of them has seen fewer.
    pub fn beside(&self, other: &Self, samples: usize) -> Paired {
        Paired::of(&self.tallies[..samples], &other.tallies[..samples])
    }

    fn loss_sum(&self) -> f64 {
        self.losses.last().map_or(0.0, |(_, sum)| *sum)
    }
}

/// Predictions that count.
fn counted(tallies: &[Tally]) -> f64 {
    tallies.iter().map(|tally| f64::from(tally.counted)).sum()
}
