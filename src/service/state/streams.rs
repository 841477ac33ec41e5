//! How many requests that stay open (event streams, long polls) each key has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

/// Counts the open ones by key; of a service that runs open, all together.
#[derive(Clone, Debug)]
pub struct Streams {
    /// 0: no limit.
    most: usize,
    open: Arc<Mutex<HashMap<Option<Uuid>, usize>>>,
}

/// Held for as long as the request is open.
#[derive(Debug)]
pub struct Place {
    key: Option<Uuid>,
    streams: Streams,
}

impl Streams {
    /// At most `most` of each key; 0 is no limit.
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// A place for one more; `None` where the key has as many as it may.
    pub fn enter(&self, key: Option<Uuid>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key).or_default();
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { key, streams: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = open.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_places_and_they_come_back() {
        let streams = Streams::new(2);
        let key = Some(Uuid::nil());
        let (one, two) = (streams.enter(key).unwrap(), streams.enter(key).unwrap());
        assert!(streams.enter(key).is_none());
        assert!(streams.enter(None).is_some());
        drop(one);
        let again = streams.enter(key);
        assert!(again.is_some() && streams.enter(key).is_none());
        drop((two, again));
        assert!(streams.open.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
