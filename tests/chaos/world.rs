//! Everything that a run needs: database, storage, processes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::sync::{Mutex, Semaphore};

use super::{
    Failure, case,
    client::Book,
    fleet::{Fleet, Role, Settings},
    postgres::Postgres,
    store::Store,
};
use crate::support::free_ports;

const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub postgres: Arc<Postgres>,
    pub pool: PgPool,
    pub store: Store,
    pub fleet: Fleet,
    /// Of the `serve` processes.
    pub urls: Vec<String>,
    pub lease: Duration,
    /// What clients sent and were answered.
    pub book: Book,
    /// Whether faults may bring jobs of their own: no key is asked for.
    pub takes_guests: bool,
    /// Files that jobs read on this machine.
    pub inputs: PathBuf,
    /// Faults of the database come one at a time.
    pub database_turn: Mutex<()>,
    /// How many workers may be stopped at once.
    pub stops: Semaphore,
    folder: PathBuf,
}

/// How large a world is.
#[derive(Clone, Debug)]
pub struct Size {
    pub seed: u64,
    pub lease: Duration,
    /// `serve` processes, and the workers of each.
    pub serves: usize,
    pub own_workers: usize,
    /// `work` processes.
    pub works: usize,
    /// Whether faults bring jobs of their own.
    pub guests: bool,
    /// More settings for them, as the environment has them.
    pub more: Vec<(&'static str, String)>,
}

impl World {
    /// Everything up in `folder`, and every `serve` ready.
    pub async fn open(folder: &Path, size: &Size) -> Result<Self, Failure> {
        // The TLS provider must be there even for plain http.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let database = folder.join("database");
        let postgres = tokio::task::spawn_blocking(move || Postgres::start(&database)).await??;
        postgres.limit().await?;
        let postgres = Arc::new(postgres);
        let again = Arc::clone(&postgres);
        tokio::task::spawn_blocking(move || again.restart(nix::sys::signal::Signal::SIGINT))
            .await??;
        let store = Store::start(&folder.join("objects"), size.seed).await?;
        for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
            case::put_model(&store, name, case::model(seed)).await?;
        }
        if size.guests {
            case::put_model(&store, "large-old", case::large_model(case::LARGE_OLD)).await?;
            case::put_model(&store, "large-tuned", case::large_model(case::LARGE_TUNED)).await?;
        }
        case::put_data(&store).await?;
        let inputs = folder.join("inputs");
        fs::create_dir(&inputs)?;
        let settings = Settings {
            folder: folder.to_owned(),
            database_url: postgres.url.clone(),
            endpoint: store.endpoint.clone(),
            roots: format!("s3://bucket/,file://{}/", inputs.display()),
            lease: size.lease,
            max_attempts: 100,
            more: size.more.clone(),
        };
        let ports = free_ports(size.serves)?;
        let serves = ports.iter().map(|&port| Role::Serve {
            port,
            workers: size.own_workers,
        });
        let roles: Vec<Role> = serves
            .chain(std::iter::repeat_n(Role::Work, size.works))
            .collect();
        let world = Self {
            pool: postgres.pool()?,
            postgres,
            store,
            fleet: Fleet::start(settings, &roles)?,
            urls: ports
                .iter()
                .map(|port| format!("http://127.0.0.1:{port}"))
                .collect(),
            lease: size.lease,
            book: Book::default(),
            takes_guests: size.guests,
            inputs,
            database_turn: Mutex::new(()),
            stops: Semaphore::new((size.works / 3).max(1)),
            folder: folder.to_owned(),
        };
        world.ready().await?;
        Ok(world)
    }

    /// Ends process after process by SIGTERM, each when the successor of the one before is up; how
    /// they ended.
    pub async fn roll(&self) -> Result<Vec<ExitStatus>, Failure> {
        let mut ends = Vec::new();
        for member in self.fleet.of(|_| true) {
            ends.push(self.fleet.restart(member).await?);
            self.ready().await?;
        }
        Ok(ends)
    }

    /// Until every `serve` says that it is ready.
    async fn ready(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        for url in &self.urls {
            while !is_ready(url).await {
                if begun.elapsed() > PATIENCE {
                    return Err(format!("{url} is not ready; see {}", self.folder.display()).into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

async fn is_ready(url: &str) -> bool {
    let answer = reqwest::get(format!("{url}/readyz")).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
