//! What integration tests stand on: a PostgreSQL shared by the run, a database for each test, real
//! `retune` processes, and waiting for what must happen without ever sleeping.

pub mod files;
pub mod gate;
pub mod kept;
pub mod receiver;
pub mod s3_server;
pub mod weed;

use std::{
    future::Future,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use retune::{
    contract::ids::TransferId,
    service::{
        database::{
            Database,
            changes::Changes,
            events,
            leases::Terms,
            transfers::{self, Enqueue},
        },
        domain::{access::DEFAULT_TENANT, transfers::Transfer},
        private_cluster::PrivateCluster,
    },
};
use serde_json::{Value, json};
use tokio::time;
use uuid::Uuid;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// The run's PostgreSQL; the last test that uses it stops it.
struct Cluster(Option<PrivateCluster>);

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.take()
            && let Err(error) = cluster.close()
        {
            eprintln!("{error}");
        }
    }
}

static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

fn cluster() -> Arc<Cluster> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    // Kept between runs, which makes the next start quick. Below the temporary folder, because
    // root's server runs as another user, who must be able to enter.
    let name = format!("retune-tests-{}", nix::unistd::geteuid());
    let opened = PrivateCluster::open(&std::env::temp_dir().join(name), "").expect("a PostgreSQL");
    let opened = Arc::new(Cluster(Some(opened)));
    *shared = Arc::downgrade(&opened);
    opened
}

/// A migrated database of the test's own.
pub struct TestDatabase {
    pub database: Database,
    pub url: String,
    pub changes: Changes,
    _cluster: Arc<Cluster>,
}

impl TestDatabase {
    pub async fn fresh() -> Self {
        let cluster = tokio::task::spawn_blocking(cluster).await.expect("no panic");
        let server = cluster.0.as_ref().expect("open until dropped").url();
        let name = format!("t_{}", Uuid::now_v7().simple());
        let admin = Database::connect_to(&server, 1).await.expect("the server answers");
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&admin.pool)
            .await
            .expect("a new database");
        forget_old(&admin).await;
        admin.pool.close().await;
        let url = server.replace("/postgres?", &format!("/{name}?"));
        let database = Database::connect_to(&url, 8).await.expect("the new database answers");
        database.migrate().await.expect("the schema");
        let changes = Changes::listen(&database);
        Self { database, url, changes, _cluster: cluster }
    }

    /// A transfer of the default tenant, queued.
    pub async fn queued(&self, max_attempts: i32) -> Transfer {
        self.submit(Enqueue { max_attempts, ..enqueue() }).await
    }

    pub async fn submit(&self, new: Enqueue) -> Transfer {
        transfers::enqueue(&self.database, new).await.expect("queued").transfer
    }

    pub async fn get(&self, id: TransferId) -> Transfer {
        let found = transfers::get(&self.database, DEFAULT_TENANT, id).await;
        found.expect("the database answers").expect("the transfer exists")
    }

    /// The kinds of a transfer's events, in order.
    pub async fn event_kinds(&self, id: TransferId) -> Vec<String> {
        let events = events::list(&self.database, DEFAULT_TENANT, id, 0, 1000).await;
        events.expect("the database answers").into_iter().map(|event| event.kind).collect()
    }

    /// Waits until the transfer is as `wanted`, looking again whenever something changed.
    pub async fn until(&self, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                let transfer = self.get(id).await;
                if wanted(&transfer) {
                    return transfer;
                }
                // Lagging behind also means that something changed.
                let _ = changes.recv().await;
            }
        };
        let Ok(transfer) = time::timeout(PATIENCE, waiting).await else {
            panic!("waited in vain; the transfer is {:#?}", self.get(id).await);
        };
        transfer
    }
}

/// Drops databases of runs an hour ago and more.
async fn forget_old(admin: &Database) {
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    let since = hour_ago.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let oldest = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, since, 0));
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database WHERE datname LIKE 't\\_%' AND datname < $1",
    )
    .bind(format!("t_{}", oldest.simple()))
    .fetch_all(&admin.pool)
    .await
    .unwrap_or_default();
    for name in names {
        // One still in use stays.
        let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"));
        let _ = sqlx::raw_sql(drop).execute(&admin.pool).await;
    }
}

/// What [`TestDatabase::queued`] submits.
pub fn enqueue() -> Enqueue {
    Enqueue {
        tenant: DEFAULT_TENANT,
        spec: spec("file:///a/", "file:///b/"),
        metadata: json!({}),
        idempotency: None,
        max_attempts: 3,
    }
}

pub fn spec(source: &str, target: &str) -> Value {
    json!({
        "source": {"base": source, "trajectory": "file:///t/"},
        "target": {"base": target},
        "methods": ["identity"],
        "output": "file:///out/"
    })
}

/// Leases that outlive a test.
pub const LONG: Terms = Terms { lease: PATIENCE, backoff: PATIENCE };
/// Leases that have run out as soon as they are given.
pub const OVER: Terms = Terms { lease: Duration::ZERO, backoff: PATIENCE };

/// The program under test, without any of our own settings.
pub fn retune() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retune"));
    for (name, _) in std::env::vars() {
        if name.starts_with("RETUNE_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // Tests do not find what others have left.
    command.env("RETUNE_WORKER_CACHE_DIR", "none");
    command
}

/// A process that ends with the test.
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// The next line on stdout; empty at the end.
    pub async fn line(&mut self) -> String {
        let mut stdout = self.stdout.take().expect("read by one at a time");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("stdout is text");
            (stdout, line)
        });
        let (stdout, line) =
            time::timeout(PATIENCE, reading).await.expect("a line in time").expect("no panic");
        self.stdout = Some(stdout);
        line.trim_end().to_owned()
    }

    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).expect("the process lives");
    }

    /// Waits for the end; the exit code, if it was not a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        within("the process ends", || {
            let status = self.child.try_wait().expect("our child");
            async move { status }
        })
        .await
        .code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Stopped processes too take this signal. It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer. For what nothing announces: the end of processes, mostly.
pub async fn within<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    let mut pace = time::interval(Duration::from_millis(20));
    while begun.elapsed() < PATIENCE {
        if let Some(answer) = ask().await {
            return answer;
        }
        pace.tick().await;
    }
    panic!("waited in vain: {what}");
}

/// A running `retune serve` on a port of its own.
pub struct Served {
    pub process: Process,
    /// `http://127.0.0.1:…`
    pub url: String,
}

impl Served {
    /// Starts `command` (`retune serve …`) and waits for its line.
    pub async fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let line = process.line().await;
        let url = line.strip_prefix("retune listening on ").expect(&line).to_owned();
        Self { process, url }
    }
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: i32) -> Vec<i32> {
    let stat = |entry: std::fs::DirEntry| {
        let child: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // pid (name, perhaps with spaces) state parent …
        let mut after = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (after.next()?, after.next()?.parse::<i32>().ok()?);
        (parent == pid && state != "Z").then_some(child)
    };
    std::fs::read_dir("/proc").expect("proc").flatten().filter_map(stat).collect()
}

/// A folder of the test's own that root's PostgreSQL can reach.
pub fn reachable_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("rt").tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("our own folder");
    let path = folder.path().to_owned();
    (folder, path)
}

/// An HTTP client; the TLS provider must be there even for plain http.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
