//! The private server is watched for as long as `serve` lives, and started again when it dies.
//!
//! Nobody else would: it is our child, or an orphan that we joined. A server that dies again and again
//! is given up, so that the supervisor of `serve` and its owner hear of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task, time};
use tokio_util::sync::CancellationToken;

use super::{ClusterError, PrivateCluster};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that lived so long has earned a quick restart.
const STABLE: Duration = Duration::from_secs(30);
/// Restarts in a row, half a minute of pauses in all.
const MOST_RESTARTS: u32 = 8;

/// Keeps the server running until `shutdown`, which is cancelled when the server is given up.
///
/// # Errors
/// Why the last restart failed, or [`ClusterError::DiesAgain`].
pub async fn keep(
    cluster: Arc<PrivateCluster>,
    shutdown: CancellationToken,
) -> Result<(), ClusterError> {
    let mut restarts = Restarts::default();
    let mut begun = Instant::now();
    let mut every = time::interval(LOOK_EVERY);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        if cluster.is_alive() {
            continue;
        }

        let Some(pause) = restarts.next(begun.elapsed()) else {
            shutdown.cancel();
            return Err(ClusterError::DiesAgain {
                times: MOST_RESTARTS,
                log: cluster.log(),
            });
        };
        tracing::error!(log = %cluster.log().display(), "the private PostgreSQL has ended; starting it again");
        if shutdown
            .run_until_cancelled(time::sleep(pause))
            .await
            .is_none()
        {
            break;
        }
        let server = Arc::clone(&cluster);
        // Awaited to its end, whatever else ends: whoever closes the cluster must be its only holder.
        match task::spawn_blocking(move || server.revive()).await {
            Ok(Ok(())) => tracing::info!("the private PostgreSQL runs again"),
            Ok(Err(error)) => tracing::error!(%error, "the private PostgreSQL does not start"),
            Err(error) => tracing::error!(%error, "the private PostgreSQL was not started"),
        }
        begun = Instant::now();
    }

    Ok(())
}

#[derive(Debug, Default)]
struct Restarts {
    in_a_row: u32,
}

impl Restarts {
    /// How long to wait before the next start of a server that lived so long; `None` when it was started
    /// often enough.
    fn next(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= STABLE {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        let pause = FIRST_PAUSE * 2_u32.pow(self.in_a_row.min(16) - 1);
        (self.in_a_row <= MOST_RESTARTS).then(|| pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dies_again_and_again_is_given_up_and_one_that_lived_begins_anew() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> = std::iter::from_fn(|| restarts.next(Duration::ZERO)).collect();
        assert_eq!(pauses.len(), 8);
        assert_eq!(pauses[..2], [FIRST_PAUSE, 2 * FIRST_PAUSE]);
        assert_eq!(pauses[7], LONGEST_PAUSE);
        assert_eq!(restarts.next(STABLE), Some(FIRST_PAUSE));
    }
}
