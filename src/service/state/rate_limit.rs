//! Requests per second and caller, as a leaky bucket: a burst of one second's worth, then evenly.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Entries at which those without debt are dropped.
const PRUNE_AT_ENTRIES: usize = 1024;

/// Remembers for each caller (a key, an address) until when its requests so far are paid for.
#[derive(Debug)]
pub struct RateLimit<Caller> {
    /// What one request costs; zero: no limit.
    cost: Duration,
    paid_until: Mutex<HashMap<Caller, Instant>>,
}

impl<Caller: Eq + Hash> RateLimit<Caller> {
    /// `rate` requests per second and caller; 0 is no limit.
    pub fn per_second(rate: u32) -> Self {
        let cost = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self {
            cost,
            paid_until: Mutex::default(),
        }
    }

    /// Whether the caller may make a request at `now`; if so, it is counted.
    pub fn allows(&self, caller: Caller, now: Instant) -> bool {
        if self.cost.is_zero() {
            return true;
        }

        let mut paid = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if paid.len() >= PRUNE_AT_ENTRIES {
            paid.retain(|_, until| *until > now);
        }
        let until = paid.entry(caller).or_insert(now);
        let next = (*until).max(now) + self.cost;
        let allowed = next <= now + Duration::from_secs(1);
        if allowed {
            *until = next;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_then_evenly_and_each_caller_for_itself() {
        let limit = RateLimit::per_second(2);
        let (now, key) = (Instant::now(), Some(1));
        assert!(limit.allows(key, now) && limit.allows(key, now));
        assert!(!limit.allows(key, now));
        assert!(limit.allows(None, now));
        let later = now + Duration::from_millis(500);
        assert!(limit.allows(key, later));
        assert!(!limit.allows(key, later));
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = RateLimit::per_second(0);
        assert!((0..1000).all(|_| limit.allows((), Instant::now())));
    }
}
