//! How much more would tell two models apart, going on in the present proportion.

use super::{Paired, Sums, sign_test};

/// Disagreements beyond which nobody looks for how many would tell: no data set is as large.
const MOST_DISAGREEMENTS: u64 = 1 << 20;

/// Samples beyond which nobody looks either.
const MOST_SAMPLES: f64 = 1e9;

impl Paired {
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
            is_graded: self.is_graded,
        }
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
