//! Keys authenticated within the last seconds, by digest: a busy client costs no query a request.
//!
//! Only keys that held are remembered, so guessing fills nothing. What is remembered counts from before the
//! look at the database, ends with the key's own end, and is not kept at all where keys were withdrawn
//! during the look.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::service::domain::access::Principal;

/// How long a key is taken for good without asking.
const KEY_CACHE_TTL: Duration = Duration::from_secs(5);

/// Entries at which the expired ones are dropped.
const PRUNE_AT_ENTRIES: usize = 1024;

#[derive(Debug, Default)]
pub struct KeyCache(RwLock<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// With the moment from which on the database is asked again.
    keys: HashMap<[u8; 32], (Principal, Instant)>,
    /// How often everything was forgotten.
    clearings: u64,
}

/// A look at the database that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    began: Instant,
    clearings: u64,
}

impl KeyCache {
    pub fn get(&self, secret: &str) -> Option<Principal> {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (principal, until) = seen.keys.get(&digest(secret))?;
        (Instant::now() < *until).then_some(*principal)
    }

    /// Call before the database is asked.
    pub fn look(&self) -> Look {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Look {
            began: Instant::now(),
            clearings: seen.clearings,
        }
    }

    /// Remembers a key that the database has said to hold, for `left` at the most where it ends by itself.
    pub fn put(&self, secret: &str, principal: Principal, look: Look, left: Option<Duration>) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if seen.clearings != look.clearings {
            return;
        }
        if seen.keys.len() >= PRUNE_AT_ENTRIES {
            let now = Instant::now();
            seen.keys.retain(|_, (_, until)| now < *until);
        }

        let life = left.map_or(KEY_CACHE_TTL, |left| left.min(KEY_CACHE_TTL));
        seen.keys
            .insert(digest(secret), (principal, look.began + life));
    }

    pub fn clear(&self) {
        let mut seen = self.0.write().unwrap_or_else(PoisonError::into_inner);
        seen.keys.clear();
        seen.clearings += 1;
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
        cache.put("a", Principal::OPEN, cache.look(), None);
        assert_eq!(cache.get("a"), Some(Principal::OPEN));
        assert_eq!(cache.get("b"), None);
        cache.clear();
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn a_key_withdrawn_while_the_database_was_asked_is_not_remembered() {
        let cache = KeyCache::default();
        let look = cache.look();
        cache.clear();
        cache.put("a", Principal::OPEN, look, None);
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn a_key_is_not_remembered_beyond_its_own_end() {
        let cache = KeyCache::default();
        cache.put("a", Principal::OPEN, cache.look(), Some(Duration::ZERO));
        assert_eq!(cache.get("a"), None);
    }
}
