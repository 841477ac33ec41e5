//! Whether the service asks for keys. It runs open on this machine only as long as no key was ever
//! made: the first one, whoever made it, ends that, and nothing opens the service again.
//!
//! Another process can make that key at any time, so an open service asks the database at every request.
//! Requests that arrive together share one look, and no request is let in by a look that began before it
//! arrived.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use tokio::sync::Mutex;

use crate::service::database::{Database, api_keys};

#[derive(Debug)]
pub struct AuthMode {
    open: AtomicBool,
    /// When the last look began. The lock is held during a look: whoever asks meanwhile waits for its end.
    looked: Mutex<Option<Instant>>,
}

impl AuthMode {
    pub fn new(open: bool) -> Self {
        Self {
            open: AtomicBool::new(open),
            looked: Mutex::new(None),
        }
    }

    /// Whether no key is asked for at this moment. Once keys are asked for, this costs no query.
    ///
    /// # Errors
    /// From the database; then nobody is let in.
    pub async fn is_open(&self, database: &Database) -> Result<bool, sqlx::Error> {
        if !self.open.load(Ordering::Acquire) {
            return Ok(false);
        }

        let arrived = Instant::now();
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|began| began < arrived) {
            let began = Instant::now();
            if api_keys::any_exists(database).await? {
                tracing::info!("there is an API key now: requests need one");
                self.require_keys();
            }
            *looked = Some(began);
        }

        Ok(self.open.load(Ordering::Acquire))
    }

    /// Call when a key was made.
    pub fn require_keys(&self) {
        self.open.store(false, Ordering::Release);
    }
}
