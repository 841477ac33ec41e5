//! How many workers there are, and what each of them may therefore ask of the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// A notification costs the database some forty microseconds for every connection that listens, to whatever
/// (`make bench-service ARGS=scale`). Beyond so many workers they look by themselves, and hardly later: together they
/// look often.
const MOST_LISTENERS: u32 = 50;

/// All workers together tell of their progress about so far apart.
const TELLS_APART: Duration = Duration::from_millis(20);

/// The number of workers, as this process heard it last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fleet(Arc<AtomicU32>);

impl Fleet {
    /// Takes note of how many there are.
    pub fn heard(&self, workers: u32) {
        self.0.store(workers, Ordering::Relaxed);
    }

    /// Whether a worker listens to notifications.
    pub fn listens(&self) -> bool {
        self.size() <= MOST_LISTENERS
    }

    /// The least time between two messages of a worker that only tell of its progress.
    pub fn tells_every(&self) -> Duration {
        TELLS_APART
            .saturating_mul(self.size())
            .max(Duration::from_secs(1))
    }

    fn size(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_workers_listen_no_more_and_tell_more_rarely() {
        let fleet = Fleet::default();
        for (workers, listens, seconds) in [
            (0, true, 1),
            (50, true, 1),
            (51, false, 1),
            (1000, false, 20),
        ] {
            fleet.heard(workers);
            let found = (fleet.listens(), fleet.tells_every().as_secs());
            assert_eq!(found, (listens, seconds), "{workers}");
        }
    }
}
