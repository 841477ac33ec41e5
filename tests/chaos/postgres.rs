//! A PostgreSQL of the run's own, which can be restarted, starved and robbed of its connections.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use retune::service::private_cluster::PrivateCluster;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::Failure;

/// Enough for the processes of a run, few enough to take them all.
const CONNECTIONS: u32 = 60;
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Postgres {
    folder: PathBuf,
    pub url: String,
    cluster: Mutex<Option<PrivateCluster>>,
}

impl Postgres {
    /// Makes and starts a server under `folder`. Blocks.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let cluster = PrivateCluster::open(folder, "")?;
        let url = cluster.url();
        Ok(Self {
            folder: folder.to_owned(),
            url,
            cluster: Mutex::new(Some(cluster)),
        })
    }

    /// With few connections, from the next start on.
    pub async fn limit(&self) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        let limit = format!("ALTER SYSTEM SET max_connections = {CONNECTIONS}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(limit))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// The harness's own connections, which no fault takes aim at.
    pub fn pool(&self) -> Result<PgPool, Failure> {
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .acquire_timeout(Duration::from_secs(20));
        Ok(pool.connect_lazy_with(self.options()?))
    }

    fn options(&self) -> Result<PgConnectOptions, Failure> {
        Ok(PgConnectOptions::from_str(&self.url)?.application_name("chaos"))
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        Ok(PgConnection::connect_with(&self.options()?).await?)
    }

    /// Ends the server by a signal (SIGINT: fast, SIGQUIT: immediate, as a crash) and starts it
    /// again. Blocks.
    pub fn restart(&self, how: Signal) -> Result<(), Failure> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = self.pid()?;
        kill(pid, how)?;
        let begun = Instant::now();
        let file = self.pid_file();
        while file.exists() {
            if begun.elapsed() > PATIENCE {
                return Err("PostgreSQL does not stop".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Our child, or that of an earlier run.
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        *cluster = Some(PrivateCluster::open(&self.folder, "")?);
        Ok(())
    }

    /// Takes every free connection, and gives them back after `hold`. How many they were.
    pub async fn take_connections(&self, hold: Duration) -> Result<usize, Failure> {
        let mut held = Vec::new();
        while let Ok(connection) = self.connect().await {
            held.push(connection);
            if held.len() > CONNECTIONS as usize {
                return Err("the limit on connections is not in force".into());
            }
        }
        tokio::time::sleep(hold).await;
        let count = held.len();
        for connection in held {
            // A restart may have been quicker.
            let _ = connection.close().await;
        }
        Ok(count)
    }

    /// Locks the queue's table, so that every connection of every pool comes to wait for it.
    pub async fn lock_queue(&self, hold: Duration) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql("BEGIN; LOCK TABLE transfers IN ACCESS EXCLUSIVE MODE")
            .execute(&mut connection)
            .await?;
        tokio::time::sleep(hold).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Stops the server. Blocks.
    pub fn stop(&self) -> Result<(), Failure> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.take().map_or(Ok(()), PrivateCluster::close)?;
        Ok(())
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("postgres/data/postmaster.pid")
    }

    fn pid(&self) -> Result<Pid, Failure> {
        let text = fs::read_to_string(self.pid_file())?;
        let line = text.lines().next().ok_or("a process number")?;
        Ok(Pid::from_raw(line.trim().parse()?))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}
