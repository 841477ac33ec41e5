//! How entries of a queue are held and tried again: transfers, deliveries, announcements and listings alike.
//!
//! A claim draws a token and holds for a while. Every later write names the token and must change one row; if it
//! changes none, the lease is lost, somebody else may be at work, and the holder drops what it has.

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

use crate::contract::ids::LeaseToken;

/// However many processes wait, they look unasked about so far apart.
const LOOKS_APART: Duration = Duration::from_millis(100);

/// At most so many poll intervals pass before a process looks.
const SLOWEST: u32 = 10;

/// A claimed entry of a queue: the right to write to it until the lease ends.
///
/// Who holds it stands in the row where anybody asks (a transfer's worker); to the holder the token says it.
#[derive(Clone, Debug)]
pub struct Lease<E> {
    /// Everything that the work on it needs.
    pub entry: E,
    pub token: LeaseToken,
    /// Until then it holds for certain: counted from before the claim was sent, by this machine's monotonic clock.
    pub until: Instant,
}

impl<E> Lease<E> {
    /// The same lease over what the work on it takes the entry for.
    pub fn map<T>(self, change: impl FnOnce(E) -> T) -> Lease<T> {
        Lease {
            entry: change(self.entry),
            token: self.token,
            until: self.until,
        }
    }
}

/// A lease is read as what is held, as a lock's guard is.
impl<E> Deref for Lease<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.entry
    }
}

/// How long a claim holds, how long to wait between attempts, and how long to go on.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    pub lease: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
    pub max_wait: Duration,
    /// For how long an entry is tried that nobody can make anything of. Attempts at transfers are counted besides.
    pub give_up: Duration,
}

impl RetryPolicy {
    /// The wait after so many attempts, in seconds.
    pub fn wait_after(self, attempts: i32) -> f64 {
        let doublings = attempts.clamp(1, 30) - 1;
        let doubled = self.backoff.as_secs_f64() * 2_f64.powi(doublings);
        doubled.min(self.max_wait.as_secs_f64())
    }

    /// The same at random between half of it and the whole, so that what failed together does not come back
    /// together.
    pub fn scattered_wait_after(self, attempts: i32) -> f64 {
        self.wait_after(attempts) * rand::random_range(0.5..=1.0)
    }
}

/// The processes of a queue that have nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whether this process was not known to wait.
    pub is_new: bool,
    /// How many wait, this one with them.
    pub processes: u32,
}

impl Waiting {
    /// One process that nobody wakes alone.
    pub fn alone() -> Self {
        Self {
            is_new: false,
            processes: 1,
        }
    }

    /// How long this process waits before it looks unasked. Together they look as often as a few do, because each
    /// finds what any of them could: what nobody notifies of, such as a lease that ran out.
    pub fn longest_wait(self, poll: Duration) -> Duration {
        let longest = LOOKS_APART
            .saturating_mul(self.processes)
            .min(poll * SLOWEST)
            .max(poll);
        // Not all at once, when all were told of something at once.
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        lease: Duration::from_secs(30),
        backoff: Duration::from_secs(5),
        max_wait: Duration::from_hours(3),
        give_up: Duration::from_hours(24),
    };

    const WAITS: [(i32, f64); 6] = [
        (0, 5.0),
        (1, 5.0),
        (2, 10.0),
        (5, 80.0),
        (12, 10240.0),
        (40, 10800.0),
    ];

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempts, seconds) in WAITS {
            assert!(
                (POLICY.wait_after(attempts) - seconds).abs() < 1e-9,
                "after {attempts}"
            );
        }
    }

    #[test]
    fn scattered_waits_lie_between_half_and_the_whole() {
        for (attempts, whole) in WAITS {
            for _ in 0..20 {
                let wait = POLICY.scattered_wait_after(attempts);
                assert!(
                    (whole / 2.0..=whole).contains(&wait),
                    "{wait} s after {attempts}"
                );
            }
        }
    }

    #[test]
    fn few_look_at_the_poll_interval_and_many_as_often_together() {
        let poll = Duration::from_secs(2);
        for (processes, whole) in [
            (1, 2),
            (20, 2),
            (50, 5),
            (200, 20),
            (1000, 20),
            (u32::MAX, 20),
        ] {
            let waiting = Waiting {
                is_new: false,
                processes,
            };
            let whole = Duration::from_secs(whole);
            for _ in 0..20 {
                let wait = waiting.longest_wait(poll);
                assert!(
                    (whole / 2..=whole).contains(&wait),
                    "{wait:?} of {processes}"
                );
            }
        }
    }
}
