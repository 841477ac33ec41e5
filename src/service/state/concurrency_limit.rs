//! A limit on requests that keep a thread, a disk or a connection busy for as long as a model is large,
//! whatever becomes of who asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use crate::contract::ids::TenantId;

/// Requests of one tenant at once.
const MAX_PER_TENANT: usize = 4;
/// Requests of all tenants together.
const MAX_REQUESTS: usize = 16;
/// How long a request waits for a permit: a burst of small models passes, and one of large models is told
/// to come again instead of holding connections.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A FIFO semaphore. A tenant's own permits are taken first, so that a tenant that has them all keeps no
/// other out.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    all: Arc<Semaphore>,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<Semaphore>>>>,
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
}

impl ConcurrencyLimit {
    /// A permit for this tenant; `None` where all stay taken.
    pub async fn acquire(&self, tenant: TenantId) -> Option<Permit> {
        let acquiring = async {
            let own = self.of(tenant).acquire_owned().await.ok()?;
            let common = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Permit {
                _own: own,
                _common: common,
            })
        };
        time::timeout(ACQUIRE_TIMEOUT, acquiring).await.ok()?
    }

    /// The tenant's own permits. Those of tenants that have none taken are forgotten.
    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, own| Arc::strong_count(own) > 1);
        let own = tenants.entry(tenant);
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(MAX_PER_TENANT))))
    }
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_REQUESTS)),
            tenants: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn at_once(limit: &ConcurrencyLimit, tenant: u128) -> Option<Permit> {
        limit
            .acquire(TenantId(Uuid::from_u128(tenant)))
            .now_or_never()
            .flatten()
    }

    #[tokio::test]
    async fn a_permit_is_free_again_when_it_is_dropped() {
        let limit = ConcurrencyLimit::default();
        let mut permits: Vec<_> = (0..MAX_PER_TENANT)
            .map(|_| at_once(&limit, 1).unwrap())
            .collect();
        assert!(at_once(&limit, 1).is_none());
        permits.pop();
        assert!(at_once(&limit, 1).is_some());
    }

    #[tokio::test]
    async fn a_tenant_that_has_taken_its_permits_keeps_no_other_out() {
        let limit = ConcurrencyLimit::default();
        let taken: Vec<_> = (0..MAX_PER_TENANT)
            .map(|_| at_once(&limit, 1).unwrap())
            .collect();
        assert!(at_once(&limit, 1).is_none());
        assert!(at_once(&limit, 2).is_some());
        drop(taken);
        assert!(at_once(&limit, 3).is_some());
        assert!(
            limit.tenants.lock().unwrap().len() <= 1,
            "nothing is kept of who is gone"
        );
    }
}
