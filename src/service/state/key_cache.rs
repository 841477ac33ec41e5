//! Keys authenticated within the last seconds, by digest: a busy client costs no query a request.
//!
//! Only keys that held are remembered, so guessing fills nothing.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::service::access::Principal;

/// How long a key is taken for good without asking.
const LIFE: Duration = Duration::from_secs(5);

/// Entries at which the expired ones are dropped.
const CROWD: usize = 1024;

#[derive(Debug, Default)]
pub struct KeyCache {
    seen: RwLock<HashMap<[u8; 32], (Principal, Instant)>>,
}

impl KeyCache {
    pub fn get(&self, secret: &str) -> Option<Principal> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let (principal, since) = seen.get(&digest(secret))?;
        (since.elapsed() < LIFE).then_some(*principal)
    }

    pub fn put(&self, secret: &str, principal: Principal) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CROWD {
            seen.retain(|_, (_, since)| since.elapsed() < LIFE);
        }
        seen.insert(digest(secret), (principal, Instant::now()));
    }

    pub fn clear(&self) {
        self.seen.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_until_all_are_forgotten() {
        let cache = KeyCache::default();
        assert_eq!(cache.get("a"), None);
        cache.put("a", Principal::OPEN);
        assert_eq!(cache.get("a"), Some(Principal::OPEN));
        assert_eq!(cache.get("b"), None);
        cache.clear();
        assert_eq!(cache.get("a"), None);
    }
}
