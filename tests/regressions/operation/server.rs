//! A PostgreSQL server of the test's own that has never seen this program, and its own tools.

use std::path::{Path, PathBuf};

use retune::service::{database::Database, private_cluster::PrivateCluster};
use sqlx::AssertSqlSafe;
use tokio::process::Command;

use crate::support::reachable_folder;

/// The superuser, by another name than the private cluster's, so that nothing of a dump fits by chance.
pub const BOSS: &str = "boss";

pub struct Server {
    cluster: Option<PrivateCluster>,
    pub folder: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A private cluster as the program makes it, with the user `app`.
    pub async fn private() -> Self {
        let (guard, folder) = reachable_folder();
        let data_dir = folder.clone();
        let opened = tokio::task::spawn_blocking(move || PrivateCluster::open(&data_dir, "")).await;
        let cluster = opened.expect("no panic").expect("a PostgreSQL");
        Self {
            cluster: Some(cluster),
            folder,
            _folder: guard,
        }
    }

    /// A server of somebody else: no role of it is called as one of ours.
    pub async fn foreign() -> Self {
        let server = Self::private().await;
        let app = server.url("app", "postgres");
        run(&app, &format!("CREATE ROLE {BOSS} SUPERUSER LOGIN")).await;
        run(
            &server.url(BOSS, "postgres"),
            "ALTER ROLE app RENAME TO nobody_known",
        )
        .await;
        server
    }

    pub fn url(&self, user: &str, database: &str) -> String {
        let url = self.cluster.as_ref().expect("open until dropped").url();
        url.replace(
            "postgres://app@localhost/postgres",
            &format!("postgres://{user}@localhost/{database}"),
        )
    }

    /// An empty database of this owner.
    pub async fn database(&self, name: &str, owner: &str) -> String {
        run(
            &self.url(BOSS, "postgres"),
            &format!("CREATE DATABASE {name} OWNER {owner}"),
        )
        .await;
        self.url(owner, name)
    }

    /// `pg_dump` as anybody would call it.
    pub async fn dump(&self, user: &str, database: &str) -> PathBuf {
        let file = self.folder.join(format!("{database}.sql"));
        let mut command = self.tool("pg_dump", user, database);
        let done = command
            .arg("-f")
            .arg(&file)
            .output()
            .await
            .expect("pg_dump runs");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        file
    }

    /// `psql -f`, which goes on after an error as it always does; what it complained of.
    pub async fn restore(&self, user: &str, database: &str, file: &Path) -> String {
        let mut command = self.tool("psql", user, database);
        let done = command
            .arg("-q")
            .arg("-f")
            .arg(file)
            .output()
            .await
            .expect("psql runs");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    /// The folder of its socket.
    pub fn sockets(&self) -> &Path {
        self.cluster.as_ref().expect("open until dropped").sockets()
    }

    /// One of its own programs, about to ask it as this user.
    pub fn tool(&self, name: &str, user: &str, database: &str) -> Command {
        let mut command = Command::new(newest(name));
        command
            .arg("-h")
            .arg(self.sockets())
            .args(["-U", user, "-d", database]);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.cluster.take().map(PrivateCluster::close) {
            eprintln!("{error}");
        }
    }
}

/// Runs statements on a connection of their own.
pub async fn run(url: &str, statements: &str) {
    let database = Database::connect_to(url, 1)
        .await
        .expect("the server answers");
    let ran = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&database.pool)
        .await;
    ran.unwrap_or_else(|error| panic!("{statements}: {error}"));
    database.pool.close().await;
}

/// A program of PostgreSQL, where its server's programs are.
fn newest(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.is_file())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}
