//! Room for requests that keep a thread, a disk or a connection busy for as long as a model is large,
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

/// Of one tenant at once.
const MOST_PER_TENANT: usize = 4;
/// Of all tenants together.
const MOST: usize = 16;
/// How long one waits for a place: a burst of small models passes, and one of large models is told to come
/// again instead of holding connections.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many places, given to those who wait in their order; a tenant's own are taken first, so that one that
/// fills them keeps no other out.
#[derive(Clone, Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<Semaphore>>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
}

impl Room {
    /// A place for this tenant; `None` where all stay taken.
    pub async fn enter(&self, tenant: TenantId) -> Option<Place> {
        let entering = async {
            let own = self.of(tenant).acquire_owned().await.ok()?;
            let common = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Place { _own: own, _common: common })
        };
        time::timeout(PATIENCE, entering).await.ok()?
    }

    /// The tenant's own places. Those of tenants that have none taken are forgotten.
    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, own| Arc::strong_count(own) > 1);
        let own = tenants.entry(tenant);
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(MOST_PER_TENANT))))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST)), tenants: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn at_once(room: &Room, tenant: u128) -> Option<Place> {
        room.enter(TenantId(Uuid::from_u128(tenant))).now_or_never().flatten()
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_it_is_dropped() {
        let room = Room::default();
        let mut places: Vec<_> = (0..MOST_PER_TENANT).map(|_| at_once(&room, 1).unwrap()).collect();
        assert!(at_once(&room, 1).is_none());
        places.pop();
        assert!(at_once(&room, 1).is_some());
    }

    #[tokio::test]
    async fn a_tenant_that_has_taken_its_places_keeps_no_other_out() {
        let room = Room::default();
        let taken: Vec<_> = (0..MOST_PER_TENANT).map(|_| at_once(&room, 1).unwrap()).collect();
        assert!(at_once(&room, 1).is_none());
        assert!(at_once(&room, 2).is_some());
        drop(taken);
        assert!(at_once(&room, 3).is_some());
        assert!(room.tenants.lock().unwrap().len() <= 1, "nothing is kept of who is gone");
    }
}
