//! What every HTTP handler shares, API and dashboard alike.

pub mod cookie;
mod key_cache;
mod rate_limit;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    access::Principal,
    database::{Database, api_keys, changes::Changes},
};
use crate::{config::Settings, storage::Storage};

use key_cache::KeyCache;
pub use rate_limit::RateLimit;

/// Handed to `api::router` and `dashboard::router`; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub database: Database,
    pub storage: Storage,
    /// Ids of transfers that changed; nil for any of them.
    pub changes: Arc<Changes>,
    pub settings: Arc<Settings>,
    /// No key exists and only this machine can call: everyone is admin of the default tenant.
    pub open: bool,
    /// Ends streams and long polls when the service stops.
    pub shutdown: CancellationToken,
    pub rate_limit: Arc<RateLimit>,
    keys: Arc<KeyCache>,
}

impl AppState {
    /// State over an open database and storage. Listens for changes; call within a runtime.
    pub fn open(
        database: Database,
        storage: Storage,
        settings: Arc<Settings>,
        open: bool,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            changes: Arc::new(Changes::listen(&database)),
            database,
            storage,
            rate_limit: Arc::new(RateLimit::per_second(settings.http.rate_limit)),
            settings,
            open,
            shutdown,
            keys: Arc::default(),
        }
    }

    /// Whose key this is. A key withdrawn elsewhere may be taken for good for five seconds more;
    /// one withdrawn through this process is refused at once.
    ///
    /// # Errors
    /// From the database.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<Principal>, sqlx::Error> {
        if let Some(principal) = self.keys.get(secret) {
            return Ok(Some(principal));
        }
        let principal = api_keys::authenticate(&self.database, secret).await?;
        if let Some(principal) = principal {
            self.keys.put(secret, principal);
        }
        Ok(principal)
    }

    /// Forgets what is remembered of keys; call when one was withdrawn.
    pub fn forget_keys(&self) {
        self.keys.clear();
    }
}
