//! Two models on the same samples: which of them is ahead, and how sure that is.
//!
//! Samples on which both do equally well say nothing about the difference, so two models are told apart by
//! far fewer samples than their accuracies alone would need. The sign test counts samples, also of a
//! language model, whose tokens in one sequence are no independent trials.

mod bounds;
mod needed;

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::{Dataset, Evaluation};

/// Right predictions of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// A whole number; of values what they explain of their variance, which is at most 1.
    pub right: f64,
    /// Predictions that count: 1, or the tokens of a sequence.
    pub counted: u32,
}

impl Tally {
    /// Of every sample of the data, in order.
    pub fn of(evaluation: &Evaluation, data: &Dataset) -> Vec<Self> {
        let judged = data.judged();
        data.beside(&evaluation.predictions)
            .map(|sample| Self {
                right: judged.right(&sample),
                counted: judged.weight(sample.len()),
            })
            .collect()
    }
}

/// What samples show of one model beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is not behind by more than the margin.
    AsGood,
    /// It is behind by more than the margin, and not by chance.
    Worse,
    /// Neither: more samples are needed.
    Neither,
}

/// One model beside another on the same samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Paired {
    pub samples: u64,
    /// Samples on which the first has more right.
    pub ahead: u64,
    /// Samples on which it has fewer right.
    pub behind: u64,
    /// Σ c, Σ d, Σ d², Σ c², Σ c·d with c what a sample counts and d the first's lead on it.
    sums: Sums,
    /// Predictions are more or less right.
    is_graded: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    counted: f64,
    lead: f64,
    lead_squared: f64,
    counted_squared: f64,
    mixed: f64,
}

impl Paired {
    /// The first beside the second.
    ///
    /// # Panics
    /// When the two are not of the same samples.
    pub fn of(first: &[Tally], second: &[Tally]) -> Self {
        assert_eq!(first.len(), second.len(), "tallies of the same samples");

        first
            .iter()
            .zip(second)
            .fold(Self::default(), |paired, (own, other)| {
                let (lead, counted) = (own.right - other.right, f64::from(own.counted));
                let sums = Sums {
                    counted: paired.sums.counted + counted,
                    lead: paired.sums.lead + lead,
                    lead_squared: paired.sums.lead_squared + lead * lead,
                    counted_squared: paired.sums.counted_squared + counted * counted,
                    mixed: paired.sums.mixed + counted * lead,
                };
                Self {
                    samples: paired.samples + 1,
                    ahead: paired.ahead + u64::from(own.right > other.right),
                    behind: paired.behind + u64::from(own.right < other.right),
                    sums,
                    is_graded: paired.is_graded || lead.fract() != 0.0,
                }
            })
    }

    /// Samples on which the two differ.
    pub fn disagreements(&self) -> u64 {
        self.ahead + self.behind
    }

    /// The first's accuracy less the second's; 0 of nothing.
    pub fn difference(&self) -> f64 {
        self.sums.lead / self.sums.counted.max(1.0)
    }

    /// Two-sided exact sign test: how likely a split of the disagreements at least as uneven as this one
    /// is, where neither model is better. 1 without disagreements.
    pub fn sign_test(&self) -> f64 {
        sign_test(self.ahead.max(self.behind), self.disagreements())
    }

    /// The lower end of the first's lead, one-sided at `confidence` in (0.5, 1): the first is at most by so
    /// much behind (negative) or at least by so much ahead.
    ///
    /// Where every sample is one prediction, the score interval of Tango (Statistics in Medicine, 1998);
    /// for sequences, and for values, the normal bound of a ratio over samples, with one more that is won and one that is
    /// lost (Agresti and Min, 2005), so that no disagreement is no certainty.
    pub fn least_lead(&self, confidence: f64) -> f64 {
        if self.samples == 0 {
            return -1.0;
        }

        let z = Normal::standard().inverse_cdf(confidence);
        let is_one_each = self.sums.counted_squared <= self.samples as f64;

        if is_one_each && !self.is_graded {
            self.score_bound(z)
        } else {
            self.ratio_bound(z)
        }
    }

    /// Whether the first is shown not to be behind by `margin`, at this confidence.
    pub fn is_within(&self, margin: f64, confidence: f64) -> bool {
        self.least_lead(confidence) >= -margin
    }

    /// What the samples show of the first: as good where [`Paired::is_within`], worse where the figures are behind
    /// by more than the margin and the sign test tells the two apart.
    pub fn shown(&self, margin: f64, confidence: f64) -> Shown {
        if self.is_within(margin, confidence) {
            Shown::AsGood
        } else if self.difference() < -margin && self.sign_test() <= 1.0 - confidence {
            Shown::Worse
        } else {
            Shown::Neither
        }
    }
}

/// `min(1, 2 P(X ≥ most))` of a fair coin thrown `total` times.
fn sign_test(most: u64, total: u64) -> f64 {
    if most == 0 {
        return 1.0;
    }
    let Ok(coin) = Binomial::new(0.5, total) else {
        return 1.0;
    };
    (2.0 * coin.sf(most - 1)).min(1.0)
}

#[cfg(test)]
mod tests;
