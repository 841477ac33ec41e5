//! What every HTTP handler shares, API and dashboard alike.

mod admission;
mod auth_mode;
mod client;
mod concurrency_limit;
pub mod cookie;
mod key_cache;
mod rate_limit;
mod shares;

use std::{net::IpAddr, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    database::{Database, api_keys, changes::Changes},
    domain::access::Principal,
};
use crate::{
    config::Settings,
    contract::ids::{KeyId, TenantId},
    storage::Storage,
};

pub use admission::Admission;
use auth_mode::AuthMode;
pub use client::{Client, site};
pub use concurrency_limit::ConcurrencyLimit;
use key_cache::KeyCache;
pub use rate_limit::RateLimit;
pub use shares::{Share, Shares};

/// Logins per second and address.
const LOGINS_PER_SECOND: u32 = 5;

/// Handed to `api::router` and `dashboard::router`; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub database: Database,
    /// Ids of transfers that changed; nil for any of them.
    pub changes: Arc<Changes>,
    pub settings: Arc<Settings>,
    /// Ends streams and long polls when the service stops.
    pub shutdown: CancellationToken,
    pub rate_limit: Arc<RateLimit<Option<KeyId>>>,
    /// Rate limit of the login form, by address.
    pub logins: Arc<RateLimit<Option<IpAddr>>>,
    /// Event streams and long polls, by key.
    pub streams: Shares<Option<KeyId>>,
    /// Limits on plans, and on models read through for a version.
    pub plans: ConcurrencyLimit,
    pub readings: ConcurrencyLimit,
    storage: Storage,
    keys: Arc<KeyCache>,
    auth_mode: Arc<AuthMode>,
}

impl AppState {
    /// State over an open database and storage; `open` where no key exists and only this machine can
    /// call. Listens for changes; call within a runtime.
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
            logins: Arc::new(RateLimit::per_second(LOGINS_PER_SECOND)),
            streams: Shares::new(settings.http.streams_per_key),
            plans: ConcurrencyLimit::default(),
            readings: ConcurrencyLimit::default(),
            settings,
            shutdown,
            keys: Arc::default(),
            auth_mode: Arc::new(AuthMode::new(open)),
        }
    }

    /// Storage as this tenant reaches it. There is no other: what a request names is always a tenant's.
    pub fn storage(&self, tenant: TenantId) -> Storage {
        self.storage.of(tenant.0)
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

        let look = self.keys.look();
        let Some(known) = api_keys::authenticate(&self.database, secret).await? else {
            return Ok(None);
        };

        self.keys.put(secret, known.principal, look, known.left);

        Ok(Some(known.principal))
    }

    /// Whether who was let in before may still be: for what goes on long after that, as streams do.
    ///
    /// # Errors
    /// From the database.
    pub async fn still_holds(&self, principal: Principal) -> Result<bool, sqlx::Error> {
        match principal.key_id {
            Some(key) => api_keys::holds(&self.database, key).await,
            None => self.is_open().await,
        }
    }

    /// Whether no key is asked for: everyone is admin of the default tenant then.
    ///
    /// # Errors
    /// From the database.
    pub async fn is_open(&self) -> Result<bool, sqlx::Error> {
        self.auth_mode.is_open(&self.database).await
    }

    /// Asks for keys from now on; call when one was made.
    pub fn require_keys(&self) {
        self.auth_mode.require_keys();
    }

    /// Forgets what is remembered of keys; call when one was withdrawn.
    pub fn forget_keys(&self) {
        self.keys.clear();
    }
}
