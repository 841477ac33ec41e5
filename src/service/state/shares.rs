//! How many of something (event streams, connections) each caller has open at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts the open ones by caller: a key, an address.
#[derive(Debug)]
pub struct Shares<Caller: Eq + Hash> {
    /// 0: no limit.
    limit: usize,
    open: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// One of a caller's, held for as long as it is open.
#[derive(Debug)]
pub struct Share<Caller: Eq + Hash> {
    caller: Caller,
    shares: Shares<Caller>,
}

impl<Caller: Clone + Eq + Hash> Shares<Caller> {
    /// At most `limit` of each caller; 0 is no limit.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            open: Arc::default(),
        }
    }

    /// One more; `None` where the caller has as many as it may.
    pub fn take(&self, caller: Caller) -> Option<Share<Caller>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(caller.clone()).or_default();
        if self.limit > 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Share {
            caller,
            shares: self.clone(),
        })
    }
}

impl<Caller: Eq + Hash> Clone for Shares<Caller> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit,
            open: Arc::clone(&self.open),
        }
    }
}

impl<Caller: Eq + Hash> Drop for Share<Caller> {
    fn drop(&mut self) {
        let mut open = self
            .shares
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(count) = open.get_mut(&self.caller) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_and_they_come_back() {
        let shares = Shares::new(2);
        let (one, two) = (shares.take("a").unwrap(), shares.take("a").unwrap());
        assert!(shares.take("a").is_none());
        assert!(shares.take("b").is_some());
        drop(one);
        let again = shares.take("a");
        assert!(again.is_some() && shares.take("a").is_none());
        drop((two, again));
        assert!(
            shares.open.lock().unwrap().is_empty(),
            "nothing is kept of who is gone"
        );
    }

    #[test]
    fn zero_is_no_limit() {
        let shares = Shares::new(0);
        let open: Vec<_> = (0..1000).filter_map(|_| shares.take(())).collect();
        assert_eq!(open.len(), 1000);
    }
}
