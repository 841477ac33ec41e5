//! The service under load: rows through the queue, claims, polls, memory.
//!
//! ```text
//! cargo bench --bench service          # or: make bench-service
//! ```
//!
//! Queue figures are of the rows alone, eight at a time against a private PostgreSQL of the bench's own.
//! The rest is a real `retune serve` with two workers and transfers of a tiny network: claim latency is
//! the database's time from `created_at` to `started_at`, polls are `GET /v1/transfers/{id}` on eight
//! connections of one client on the same cores, memory is PSS without PostgreSQL.
//!
//! Last, the pages of the dashboard over ten thousand transfers, one request after the other, and the memory
//! of a service whose pages 500 browsers look at every two seconds. `-- pages` measures these alone, `-- scale` what
//! many workers are to the database.

mod load;
mod pages;
mod queue;
mod scale;
mod served;

use std::{error::Error, fs, time::Instant};

use retune::service::private_cluster::PrivateCluster;

const AT_ONCE: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::Builder::new().prefix("rt").tempdir()?;
    // Root's PostgreSQL runs as another user, who must be able to enter.
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let data = folder.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut cluster = PrivateCluster::open(&data, "")?;
    if has_argument("scale") {
        runtime.block_on(scale::make_room(&cluster.url()))?;
        cluster.close()?;
        cluster = PrivateCluster::open(&data, "")?;
    }

    let url = cluster.url();
    let measured = runtime.block_on(async {
        if has_argument("scale") {
            return scale::scale(&url, &data).await;
        }
        if !has_argument("pages") {
            queue::queue(&url).await?;
            load::service(folder.path(), &url).await?;
        }
        pages::pages(folder.path(), &url).await
    });
    drop(runtime);
    cluster.close()?;
    measured
}

fn has_argument(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}
