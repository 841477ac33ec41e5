//! Room for requests that keep a thread, a disk or a connection busy for as long as a model is large,
//! whatever becomes of who asked.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// As many at once as `serve` looks at announced models.
const MOST: usize = 4;
/// How long one waits for a place: a burst of small models passes, and one of large models is told to come
/// again instead of holding connections.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many places, given to those who wait in their order.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// A place until it is dropped; `None` where all stay taken.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let place = time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        place.ok()?.ok()
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_when_it_is_dropped() {
        let room = Room::default();
        let at_once = || room.enter().now_or_never().flatten();
        let mut places: Vec<_> = (0..MOST).map(|_| at_once().unwrap()).collect();
        assert!(at_once().is_none());
        places.pop();
        assert!(at_once().is_some());
    }
}
