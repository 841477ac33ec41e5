//! Whether the service asks for keys. It runs open on this machine only as long as no key was ever
//! made: the first one closes the door, whoever made it, and nothing opens it again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::service::database::{Database, api_keys};

/// How long after a look no other is taken: as long as a key is taken for good without asking.
const LIFE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Door {
    open: AtomicBool,
    /// When keys were last looked for.
    looked: Mutex<Instant>,
}

impl Door {
    pub fn new(open: bool) -> Self {
        Self { open: AtomicBool::new(open), looked: Mutex::new(Instant::now()) }
    }

    /// Whether everyone may enter. A key made through another process may go unnoticed for five
    /// seconds; an open door costs one query in that time, a closed one none.
    ///
    /// # Errors
    /// From the database.
    pub async fn is_open(&self, database: &Database) -> Result<bool, sqlx::Error> {
        if !self.open.load(Ordering::Acquire) {
            return Ok(false);
        }
        if self.is_due(Instant::now()) && api_keys::any_exists(database).await? {
            tracing::info!("there is an API key now: requests need one");
            self.close();
        }
        Ok(self.open.load(Ordering::Acquire))
    }

    /// Call when a key was made.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether it is time to look for keys; whoever is told so looks.
    fn is_due(&self, now: Instant) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.saturating_duration_since(*looked) >= LIFE;
        if due {
            *looked = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_every_few_seconds() {
        let door = Door::new(true);
        let begun = *door.looked.lock().unwrap();
        assert!(!door.is_due(begun + LIFE / 2));
        assert!(door.is_due(begun + LIFE));
        assert!(!door.is_due(begun + LIFE));
        assert!(door.is_due(begun + 2 * LIFE));
    }
}
