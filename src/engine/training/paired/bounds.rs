//! Lower bounds of a lead.

use super::Paired;

impl Paired {
    /// Tango's score bound: the Δ below the estimate at which the score statistic is `z`, by bisection.
    pub(super) fn score_bound(&self, z: f64) -> f64 {
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
    pub(super) fn ratio_bound(&self, z: f64) -> f64 {
        let (n, sums) = (self.samples as f64, &self.sums);
        let ratio = sums.lead / sums.counted;
        let residual = sums.lead_squared + 2.0 - 2.0 * ratio * sums.mixed
            + ratio * ratio * sums.counted_squared;
        let variance = residual * n / (n - 1.0).max(1.0) / (sums.counted * sums.counted);
        let bound = ratio - z * variance.max(0.0).sqrt();

        // Of values a lead has no end.
        if self.is_graded {
            bound
        } else {
            bound.max(-1.0)
        }
    }
}
