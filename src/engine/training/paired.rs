//! Two models on the same samples: which of them is ahead, and how sure that is.
//!
//! Samples on which both do equally well say nothing about the difference, so two models are told apart by
//! far fewer samples than their accuracies alone would need. The sign test counts samples, also of a
//! language model, whose tokens in one sequence are no independent trials.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::{Dataset, Evaluation, cross_entropy::IGNORED};

/// Disagreements beyond which nobody looks for how many would tell: no data set is as large.
const MOST_DISAGREEMENTS: u64 = 1 << 20;

/// Samples beyond which nobody looks either.
const MOST_SAMPLES: f64 = 1e9;

/// Right predictions of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub right: u32,
    /// Predictions that count: 1, or the tokens of a sequence.
    pub counted: u32,
}

impl Tally {
    /// Of every sample of the data, in order.
    pub fn of(evaluation: &Evaluation, data: &Dataset) -> Vec<Self> {
        let mut predictions = evaluation.predictions.iter();
        let each = data.labels_each().max(1);
        data.labels()
            .chunks(each)
            .map(|labels| {
                let counted = labels.iter().filter(|&&label| label != IGNORED);
                let judged = counted.zip(predictions.by_ref());
                judged.fold(
                    Self {
                        right: 0,
                        counted: 0,
                    },
                    |tally, (&label, &prediction)| Self {
                        right: tally.right + u32::from(i64::from(prediction) == label),
                        counted: tally.counted + 1,
                    },
                )
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
                let (lead, counted) = (
                    f64::from(own.right) - f64::from(other.right),
                    f64::from(own.counted),
                );
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
    /// for sequences the normal bound of a ratio over sequences, with one more that is won and one that is
    /// lost (Agresti and Min, 2005), so that no disagreement is no certainty.
    pub fn least_lead(&self, confidence: f64) -> f64 {
        if self.samples == 0 {
            return -1.0;
        }
        let z = Normal::standard().inverse_cdf(confidence);
        let is_one_each = self.sums.counted_squared <= self.samples as f64;
        if is_one_each {
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

    /// How many more disagreements in the present proportion would let the sign test tell the two apart at
    /// this confidence; 0 where it does already, `None` where they are even or no data would do.
    pub fn needed_disagreements(&self, confidence: f64) -> Option<u64> {
        let total = self.disagreements();
        if self.sign_test() <= 1.0 - confidence {
            return Some(0);
        }
        let share = self.ahead.max(self.behind) as f64 / total.max(1) as f64;
        if share <= 0.5 {
            return None;
        }

        let mut most = total.max(1);
        while !tells(share, most, confidence) {
            most *= 2;
            if most > MOST_DISAGREEMENTS {
                return None;
            }
        }
        let mut least = total;
        while most - least > 1 {
            let middle = least.midpoint(most);
            if tells(share, middle, confidence) {
                most = middle;
            } else {
                least = middle;
            }
        }
        Some(most - total)
    }

    /// How many samples in all, going on in the present proportion, would show that the first is within the
    /// margin; `None` where no number would.
    pub fn needed_samples(&self, margin: f64, confidence: f64) -> Option<u64> {
        if self.samples == 0 || self.difference() <= -margin {
            return None;
        }
        let (mut least, mut most) = (0.0, 1.0);
        while !self.repeated(most).is_within(margin, confidence) {
            (least, most) = (most, 2.0 * most);
            if most * self.samples as f64 > MOST_SAMPLES {
                return None;
            }
        }
        for _ in 0..20 {
            let middle = f64::midpoint(least, most);
            let shows = self.repeated(middle).is_within(margin, confidence);
            if shows { most = middle } else { least = middle }
        }
        Some((most * self.samples as f64).ceil() as u64)
    }

    /// The same again and again, so many times in all.
    fn repeated(&self, factor: f64) -> Self {
        let Sums {
            counted,
            lead,
            lead_squared,
            counted_squared,
            mixed,
        } = self.sums;
        Self {
            samples: times(self.samples, factor),
            ahead: times(self.ahead, factor),
            behind: times(self.behind, factor),
            sums: Sums {
                counted: counted * factor,
                lead: lead * factor,
                lead_squared: lead_squared * factor,
                counted_squared: counted_squared * factor,
                mixed: mixed * factor,
            },
        }
    }

    /// Tango's score bound: the Δ below the estimate at which the score statistic is `z`, by bisection.
    fn score_bound(&self, z: f64) -> f64 {
        let (mut low, mut high) = (-1.0, self.difference());
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.score(middle) > z {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// `(ahead − behind − nΔ) / √(n(2 p̃ + Δ(1 − Δ)))` with p̃ the constrained estimate of the share that is
    /// behind, given a true lead of Δ.
    fn score(&self, delta: f64) -> f64 {
        let (n, ahead, behind) = (self.samples as f64, self.ahead as f64, self.behind as f64);
        let a = 2.0 * n;
        let b = (2.0 * n - ahead + behind) * delta - ahead - behind;
        let c = -behind * delta * (1.0 - delta);
        let share = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = n * (2.0 * share + delta * (1.0 - delta));
        let lead = ahead - behind - n * delta;
        if variance <= 0.0 {
            lead.signum() * f64::INFINITY
        } else {
            lead / variance.sqrt()
        }
    }

    /// The normal bound of `Σd / Σc` over sequences, one more won and one lost by a token each.
    fn ratio_bound(&self, z: f64) -> f64 {
        let (n, sums) = (self.samples as f64, &self.sums);
        let ratio = sums.lead / sums.counted;
        let residual = sums.lead_squared + 2.0 - 2.0 * ratio * sums.mixed
            + ratio * ratio * sums.counted_squared;
        let variance = residual * n / (n - 1.0).max(1.0) / (sums.counted * sums.counted);
        (ratio - z * variance.max(0.0).sqrt()).max(-1.0)
    }
}

fn times(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).round() as u64
}

/// Whether so many disagreements, this share of them on one side, tell two models apart.
fn tells(share: f64, disagreements: u64, confidence: f64) -> bool {
    let most = (share * disagreements as f64).round() as u64;
    sign_test(most, disagreements) <= 1.0 - confidence
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
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::tensors::HostTensor;

    fn tallies(rights: &[u32]) -> Vec<Tally> {
        rights
            .iter()
            .map(|&right| Tally { right, counted: 1 })
            .collect()
    }

    /// So many samples ahead, behind and level.
    fn paired(ahead: usize, behind: usize, level: usize) -> Paired {
        let own = [vec![1; ahead], vec![0; behind], vec![1; level]].concat();
        let other = [vec![0; ahead], vec![1; behind], vec![1; level]].concat();
        Paired::of(&tallies(&own), &tallies(&other))
    }

    #[test]
    fn the_sign_test_is_exact() {
        // 2 · (1 + 10) / 2^10, by hand; 1 of an even split.
        assert!((paired(9, 1, 50).sign_test() - 22.0 / 1024.0).abs() < 1e-12);
        assert!((paired(1, 9, 0).sign_test() - 22.0 / 1024.0).abs() < 1e-12);
        assert!((paired(5, 5, 0).sign_test() - 1.0).abs() < 1e-12);
        assert!((paired(0, 0, 7).sign_test() - 1.0).abs() < 1e-12);
        assert!((paired(3, 1, 0).difference() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_bound_needs_samples_even_where_nothing_differs() {
        // z² / (n + z²) with z = 1.6449.
        let bound = |n| paired(0, 0, n).least_lead(0.95);
        assert!(
            (bound(128) + 2.7055 / 130.7055).abs() < 1e-3,
            "{}",
            bound(128)
        );
        assert!(!paired(0, 0, 128).is_within(0.01, 0.95));
        assert!(paired(0, 0, 512).is_within(0.01, 0.95));
        assert!(!paired(2, 12, 498).is_within(0.01, 0.95));
        assert_eq!(paired(0, 0, 512).shown(0.01, 0.95), Shown::AsGood);
        assert_eq!(paired(0, 0, 128).shown(0.01, 0.95), Shown::Neither);
        assert_eq!(paired(2, 12, 498).shown(0.01, 0.95), Shown::Worse);
        // Significantly behind, by less than the margin.
        assert_eq!(paired(0, 8, 9992).shown(0.01, 0.95), Shown::AsGood);
        assert!((Paired::default().least_lead(0.95) + 1.0).abs() < 1e-12);
    }

    /// The bound is above the true lead once in twenty times, whatever the true shares are.
    #[test]
    fn the_score_bound_covers() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (ahead, behind) in [(0.05, 0.05), (0.02, 0.03), (0.1, 0.02)] {
            let mut missed = 0;
            for _ in 0..1000 {
                let thrown: Vec<f64> = (0..256).map(|_| rng.random()).collect();
                let won = thrown.iter().filter(|&&v| v < ahead).count();
                let lost = thrown.iter().filter(|&&v| v >= 1.0 - behind).count();
                let bound = paired(won, lost, 256 - won - lost).least_lead(0.95);
                missed += usize::from(bound > ahead - behind);
            }
            assert!(
                (25..=75).contains(&missed),
                "{missed} of 1000 at {ahead} and {behind}"
            );
        }
    }

    #[test]
    fn what_more_would_tell_is_in_proportion() {
        // 6 of 8 is not significant (0.289); at three in four, 24 of 32 is 0.007, and fewer do.
        let pairs = paired(6, 2, 0);
        let more = pairs.needed_disagreements(0.95).unwrap();
        let total = 8 + more;
        assert!(sign_test((0.75 * total as f64).round() as u64, total) <= 0.05);
        assert!((8..20).contains(&more), "{more}");
        assert_eq!(paired(4, 4, 90).needed_disagreements(0.95), None);
        assert_eq!(paired(0, 0, 90).needed_disagreements(0.95), None);
        assert_eq!(paired(20, 1, 0).needed_disagreements(0.95), Some(0));

        // z² (1 − m) / m with z = 1.6449 where nothing differs.
        let needed = paired(0, 0, 100).needed_samples(0.01, 0.95).unwrap();
        assert!((266..=270).contains(&needed), "{needed}");
        // z² · 0.02 / 0.01² where they are even on a fiftieth: 541, and some for the bound's own curve.
        let needed = paired(1, 1, 98).needed_samples(0.01, 0.95).unwrap();
        assert!((541..=800).contains(&needed), "{needed}");
        assert_eq!(paired(0, 3, 97).needed_samples(0.01, 0.95), None);
    }

    #[test]
    fn a_sequence_is_one_trial() {
        let own = vec![
            Tally {
                right: 90,
                counted: 100
            };
            40
        ];
        let other: Vec<Tally> = (0..40)
            .map(|i| Tally {
                right: if i < 20 { 80 } else { 95 },
                counted: 100,
            })
            .collect();
        let pairs = Paired::of(&own, &other);
        assert_eq!((pairs.samples, pairs.ahead, pairs.behind), (40, 20, 20));
        // 20 · 10 − 20 · 5 tokens of 4000.
        assert!((pairs.difference() - 0.025).abs() < 1e-12);
        // The standard error over sequences of 7.5 tokens' spread: 0.0119.
        let bound = pairs.least_lead(0.95);
        assert!((bound - (0.025 - 1.645 * 0.0120)).abs() < 5e-4, "{bound}");
    }

    #[test]
    fn predictions_are_told_by_sample() {
        let ids = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
        let data = Dataset::of_tokens(ids, &[0, 1, 2, 3, IGNORED, 5]);
        let evaluation = Evaluation {
            loss: 0.0,
            accuracy: 0.0,
            predictions: vec![1, 0, 5],
        };
        let expected = [
            Tally {
                right: 1,
                counted: 2,
            },
            Tally {
                right: 1,
                counted: 1,
            },
        ];
        assert_eq!(Tally::of(&evaluation, &data), expected);
    }
}
