//! How a queue tries again: how long a claim holds, how long to wait, when to give up.

use std::time::Duration;

/// How long a claim holds, how long to wait between attempts, and how long to go on.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    pub lease: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
    pub longest_wait: Duration,
    pub give_up: Duration,
}

impl RetryPolicy {
    /// The wait after so many attempts, in seconds: between half of it and the whole, at random, so
    /// that what failed together does not come back together.
    pub(super) fn wait_after(self, attempts: i32) -> f64 {
        let doublings = attempts.clamp(1, 30) - 1;
        let doubled = self.backoff.as_secs_f64() * 2_f64.powi(doublings);
        doubled.min(self.longest_wait.as_secs_f64()) * rand::random_range(0.5..=1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let policy = RetryPolicy {
            lease: Duration::from_secs(30),
            backoff: Duration::from_secs(5),
            longest_wait: Duration::from_hours(3),
            give_up: Duration::from_hours(24),
        };
        for (attempts, whole) in [(1, 5.0), (2, 10.0), (5, 80.0), (40, 10800.0)] {
            for _ in 0..20 {
                let wait = policy.wait_after(attempts);
                assert!((whole / 2.0..=whole).contains(&wait), "{wait} s after {attempts}");
            }
        }
    }
}
