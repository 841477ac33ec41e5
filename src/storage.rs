//! Locations in object storage: allowed roots, streaming, digests.
//!
//! Order of events: a text becomes a [`Location`] in [`Storage::check_location`], which is where a
//! foreign one is refused; every access to a file judges again, by the descriptor, where symlinks have
//! led, because a folder may have changed since. Reads stream, and a remote object is read to its
//! announced end or not at all. A storage that watches ([`Storage::watching`]) knows in the end whether
//! anything it has read is no longer what it was. Writes go aside (`staging`) or create: an object that
//! exists is never replaced by other content, so a result, once there, stays what it was.
//!
//! Async callers use [`Storage`]; threads outside the runtime use [`Storage::blocking`].
//! This module never looks inside an object, and nothing outside it names a store's client.

mod blocking;
mod clients;
mod credentials;
mod digest;
mod error;
mod fetch;
mod hub;
mod keys;
mod listing;
mod local;
mod location;
mod publish;
mod read;
pub mod requests;
mod roots;
mod secrets;
mod staging;
mod tls;
mod tries;
mod watch;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use serde::Deserialize;
use tokio::runtime::Handle;
use uuid::Uuid;

pub use blocking::Blocking;
pub use credentials::Credentials;
pub use digest::{Published, Sha256Hex, sha256_of, sha256_of_file};
pub use error::StorageError;
pub use fetch::FetchedFile;
pub use hub::{HubCommit, HubConfig, HubFile, HubToken, TOKEN_VARIABLE as HUB_TOKEN_VARIABLE};
pub use keys::{ResultKey, WeightFiles};
pub use listing::{Listing, ObjectInfo};
pub use location::{Location, LocationError};
pub use read::Download;
pub use secrets::{SECRET_VARIABLES, StoreSecret};
pub use staging::{ATTEMPTS, Attempt, Content, NewFile, Staged};

use clients::Clients;
use requests::{Operation, counted};
use roots::Roots;
use watch::Watched;

/// Where the service may read and write.
#[derive(Clone, Debug, Default)]
pub struct StorageConfig {
    /// URIs (or absolute paths) under which every location must lie. None: `data_objects` alone.
    pub roots: Vec<String>,
    pub s3: S3Config,
    pub hub: HubConfig,
    /// The service's own folders (database, scratch, cache): never locations, even inside a root.
    pub state_dirs: Vec<PathBuf>,
    /// The default root; exempt from `state_dirs`, in one of which it usually lies.
    pub data_objects: PathBuf,
}

/// An S3-compatible server. Credentials come from the usual `AWS_*` variables or the instance, where a
/// tenant has none of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// `https://host:port`; none: AWS, or `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Whether `endpoint` may be plain http.
    pub allow_http: bool,
    /// `endpoint/bucket/key` (most servers) rather than `bucket.endpoint/key`.
    pub path_style: bool,
    /// Sends requests unsigned, for public buckets.
    pub anonymous: bool,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            allow_http: false,
            path_style: true,
            anonymous: false,
        }
    }
}

/// What a tenant has in place of what the service has.
#[derive(Clone, Debug, Default)]
pub struct TenantStorage {
    /// The roots under which its locations must lie; `None`: the service's.
    pub roots: Option<Vec<String>>,
    /// Its keys for S3; `None`: the service's.
    pub credentials: Option<Credentials>,
    /// Its token for the hub; `None`: the service's.
    pub hub_token: Option<HubToken>,
}

/// The object stores that this process may touch. Cloning shares connections.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
    /// As tenants reach them who have roots or keys of their own.
    of_tenants: Arc<HashMap<Uuid, Arc<Inner>>>,
    /// What has been read, where somebody wants to know.
    watched: Option<Arc<Watched>>,
}

#[derive(Debug)]
struct Inner {
    roots: Arc<Roots>,
    clients: Arc<Clients>,
    handle: Handle,
}

impl Inner {
    /// The same with what a tenant has in its place.
    fn replaced(&self, own: &TenantStorage) -> Result<Self, LocationError> {
        let roots = match &own.roots {
            Some(own) => Arc::new(self.roots.replaced(own)?),
            None => Arc::clone(&self.roots),
        };
        let clients = self
            .clients
            .replaced(own)
            .map_or_else(|| Arc::clone(&self.clients), Arc::new);

        Ok(Self {
            roots,
            clients,
            handle: self.handle.clone(),
        })
    }
}

impl Storage {
    /// Storage bound to roots, for the service.
    ///
    /// # Errors
    /// A root that is no location.
    pub fn new(config: StorageConfig, handle: Handle) -> Result<Self, LocationError> {
        let roots = Roots::bound(&config)?;
        Ok(Self::build(
            roots,
            Clients::new(config.s3, config.hub),
            handle,
        ))
    }

    /// Storage that reads and writes whatever the user may, and takes plain paths too, for the
    /// commands that run locally.
    pub fn local(s3: S3Config, handle: Handle) -> Self {
        // The hub's address is in the user's own environment.
        let hub = HubConfig {
            allow_http: true,
            ..HubConfig::default()
        };
        Self::build(Roots::Any, Clients::new(s3, hub), handle)
    }

    /// The same with keys for S3 in place of the usual variables'.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        self.with_own(&TenantStorage {
            credentials,
            ..TenantStorage::default()
        })
    }

    /// The same with a token for the hub in place of the usual variable's.
    #[must_use]
    pub fn with_hub_token(self, hub_token: Option<HubToken>) -> Self {
        self.with_own(&TenantStorage {
            hub_token,
            ..TenantStorage::default()
        })
    }

    fn with_own(self, own: &TenantStorage) -> Self {
        match self.inner.clients.replaced(own) {
            Some(clients) => self.with_clients(clients),
            None => self,
        }
    }

    /// The same with these secrets in place of the variables of their names.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<StoreSecret>) -> Self {
        let clients = self.inner.clients.with_secrets(secrets);
        self.with_clients(clients)
    }

    fn with_clients(self, clients: Clients) -> Self {
        let (roots, handle) = (Arc::clone(&self.inner.roots), self.inner.handle.clone());
        let inner = Inner {
            roots,
            clients: Arc::new(clients),
            handle,
        };

        Self {
            inner: Arc::new(inner),
            ..self
        }
    }

    fn build(roots: Roots, clients: Clients, handle: Handle) -> Self {
        let (roots, clients) = (Arc::new(roots), Arc::new(clients));
        let inner = Inner {
            roots,
            clients,
            handle,
        };

        Self {
            inner: Arc::new(inner),
            of_tenants: Arc::default(),
            watched: None,
        }
    }

    /// The same storage, in which these tenants have roots or credentials of their own.
    ///
    /// # Errors
    /// A root that is no location.
    pub fn with_tenants(
        self,
        tenants: HashMap<Uuid, TenantStorage>,
    ) -> Result<Self, LocationError> {
        let of_tenants = tenants
            .into_iter()
            .map(|(tenant, own)| Ok((tenant, Arc::new(self.inner.replaced(&own)?))))
            .collect::<Result<_, LocationError>>()?;
        Ok(Self {
            of_tenants: Arc::new(of_tenants),
            ..self
        })
    }

    /// Storage as this tenant reaches it: within its own roots and by its own credentials where it has
    /// some, otherwise by the service's. Whatever a tenant names is checked here and nowhere else.
    pub fn of(&self, tenant: Uuid) -> Self {
        let inner = self.of_tenants.get(&tenant).unwrap_or(&self.inner);
        Self {
            inner: Arc::clone(inner),
            ..self.clone()
        }
    }

    /// Reads a URI and says whether this process may use it. Touches no remote store.
    ///
    /// # Errors
    /// `location_malformed`, `location_scheme` or `location_not_allowed`, each with what to do.
    pub fn check_location(&self, text: &str) -> Result<Location, LocationError> {
        let location = match &*self.inner.roots {
            Roots::Any => Location::from_uri_or_path(text)?,
            Roots::Bound { .. } => Location::from_uri(text)?,
        };
        self.inner.clients.check(&location)?;
        self.inner.roots.check(&location)?;
        Ok(location)
    }

    /// [`check_location`](Self::check_location) of a place where results are written.
    ///
    /// # Errors
    /// The same, and of a place that is only read from.
    pub fn check_output(&self, text: &str) -> Result<Location, LocationError> {
        let location = self.check_location(text)?;
        if location.is_read_only() {
            let detail = "results are not written to a hub; write them to s3, gs, az or file, and bring them \
                          there by retune push";
            return Err(LocationError::not_allowed(text, detail));
        }
        Ok(location)
    }

    /// The same place at the commit that its revision is now, so that all that is read from there belongs together;
    /// a place that is in no repository, or at a commit, as it is.
    ///
    /// # Errors
    /// When the hub does not answer, or refuses.
    pub async fn pin(&self, location: &Location) -> Result<Location, StorageError> {
        self.admit(location)?;
        let Some(moving) = location.moving_repository() else {
            return Ok(location.clone());
        };

        let at = StorageError::store_at(location);
        let hub = self.inner.clients.hub(moving.repository).map_err(&at)?;
        let commit = counted(Operation::Head, hub.commit(moving.name))
            .await
            .map_err(at)?;

        Ok(location.at_commit(commit))
    }

    /// The same operations for threads outside the runtime.
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking { storage: self }
    }

    /// Refuses what lies outside the roots.
    fn admit(&self, location: &Location) -> Result<(), StorageError> {
        self.inner.roots.check(location)?;
        Ok(())
    }
}
