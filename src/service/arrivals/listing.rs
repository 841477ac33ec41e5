//! One listing of an address's folder: every folder in it is announced.

use super::{Looker, look::cut};
use crate::{
    service::{
        database::{
            arrivals,
            inbound_tokens::listings::{self, Claimed},
        },
        domain::{leases::Lease, registry::arrivals::Announcement},
    },
    storage::StorageError,
};

/// Why a listing failed.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Looker {
    /// Lists, announces and records. Where that cannot be written, the lease runs out.
    pub(super) async fn list(&self, lease: Lease<Claimed>) {
        let recorded = match self.announce_all(&lease).await {
            Ok(()) => listings::succeed(&self.database, &lease).await,
            Err(ListError::Storage(error)) => {
                let (reason, policy) = (
                    cut(error.to_string()),
                    self.settings.arrivals.retry_policy(),
                );
                listings::fail(&self.database, &lease, &reason, policy).await
            }
            Err(ListError::Database(error)) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::warn!(%error, address = %lease.inbound.id, "a folder was not listed");
        }
    }

    async fn announce_all(&self, claimed: &Claimed) -> Result<(), ListError> {
        // The roots may have been narrowed since.
        let storage = self.storage.of(claimed.inbound.tenant.0);
        let prefix = storage
            .check_location(&claimed.inbound.prefix)
            .map_err(StorageError::from)?;
        let folders = storage.list(&prefix).await?.folders;
        let announcements: Vec<_> = folders
            .iter()
            .filter_map(|folder| Announcement::of(&folder.to_string(), folder.name().to_owned()))
            .collect();

        arrivals::announce(
            &self.database,
            &claimed.inbound,
            &announcements,
            claimed.announced,
        )
        .await?;

        Ok(())
    }
}
