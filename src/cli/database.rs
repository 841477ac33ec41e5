//! The database of a command: the one that the settings name, or the private one.

use std::{future::Future, process::ExitCode, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::small_runtime;
use crate::{
    config::Settings,
    service::{
        database::Database,
        private_cluster::{self, ClusterError, PrivateCluster},
    },
};

/// The database that the settings name; the private one, started where it must be, if they name
/// none. Runs before any runtime: it blocks.
///
/// # Errors
/// See [`ClusterError`].
pub fn name_database(settings: &mut Settings) -> anyhow::Result<Option<PrivateCluster>> {
    if !settings.database.url.is_empty() {
        return Ok(None);
    }
    let cluster = PrivateCluster::open(&settings.data_dir(), &settings.database.pg_bin)?;
    settings.database.url = cluster.url();
    Ok(Some(cluster))
}

/// Watches over the private database, if there is one, until `shutdown`. Call within a runtime.
pub fn keep(
    cluster: Option<Arc<PrivateCluster>>,
    shutdown: CancellationToken,
) -> JoinHandle<Result<(), ClusterError>> {
    tokio::spawn(async move {
        match cluster {
            Some(cluster) => private_cluster::keep(cluster, shutdown).await,
            None => Ok(()),
        }
    })
}

/// Ends our use of the private database; what went wrong before that matters more.
pub fn close(cluster: Option<PrivateCluster>) {
    if let Some(Err(error)) = cluster.map(PrivateCluster::close) {
        tracing::warn!(%error, "the private database was not stopped");
    }
}

/// Does `work` on the migrated database and leaves the private one as it was found.
///
/// # Errors
/// From the database or from `work`.
pub fn on_database<F, W>(mut settings: Settings, work: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Database) -> W,
    W: Future<Output = anyhow::Result<ExitCode>>,
{
    let cluster = name_database(&mut settings)?;
    let done = small_runtime()?.block_on(async {
        let database = Database::connect(&settings).await?;
        database.migrate().await?;
        let done = work(database.clone()).await;
        database.pool.close().await;
        done
    });
    close(cluster);
    done
}
