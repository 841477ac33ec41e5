//! Many workers at one queue: idle, over a backlog of empty jobs, and at one job after the other.
//!
//! Each worker is the service's own loop ([`queue::drive`]) with its own listening connection and its sign of life; its
//! job ends as soon as it is claimed. Ten share a pool, as the processes of a machine do not; the database sees
//! their connections all the same. Its load is the processor time of its processes.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use retune::{
    contract::ids::WorkerId,
    pipeline::{Outcome, Verdict},
    service::{
        database::{
            Database,
            transfers::leases::Claimed,
            workers::{self, Introduction},
        },
        domain::{
            fleet::Fleet,
            leases::{Lease, RetryPolicy, Waiting},
        },
        queue::{self, Queue},
        registry::{attempts, submit},
    },
};
use serde_json::json;
use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{Failure, queue::row};

const WORKERS: [usize; 3] = [10, 100, 1000];
/// Workers that share a pool, and its connections beside those that listen.
const TOGETHER: usize = 10;
const SPARE: usize = 2;
const IDLE: Duration = Duration::from_secs(20);
const BACKLOG: usize = 2000;
/// Jobs that come one after the other, and how often.
const ONE_BY_ONE: usize = 100;
const EVERY: Duration = Duration::from_millis(100);
/// As the service has them by default.
const POLL: Duration = Duration::from_secs(2);
const SEEN_EVERY: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(30);

/// A worker whose jobs are empty.
#[derive(Clone)]
struct Idler {
    database: Database,
    id: WorkerId,
    done: Arc<AtomicUsize>,
    fleet: Fleet,
}

impl Queue for Idler {
    type Entry = Claimed;

    const CHANNEL: &'static str = "transfer_queued";

    const NAME: &'static str = "work";

    fn database(&self) -> &Database {
        &self.database
    }

    fn listens(&self) -> bool {
        self.fleet.listens()
    }

    fn own_channel(&self) -> Option<String> {
        Some(workers::channel(self.id))
    }

    fn limit(&self) -> usize {
        1
    }

    fn poll(&self) -> Duration {
        POLL
    }

    fn shutdown_grace(&self) -> Option<Duration> {
        None
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
        let policy = RetryPolicy {
            lease: LEASE,
            backoff: Duration::from_secs(1),
            max_wait: Duration::from_hours(1),
            give_up: Duration::from_hours(1),
        };
        let claimed = attempts::claim(&self.database, self.id, policy).await?;
        Ok(claimed.into_iter().collect())
    }

    async fn say_waiting(&self, listens: bool) -> Result<Waiting, sqlx::Error> {
        workers::say_waiting(&self.database, self.id, listens).await
    }

    async fn work(self, lease: Lease<Claimed>, _shutdown: CancellationToken) {
        let outcome = Outcome {
            uri: "file:///out/".into(),
            manifest_sha256: "0".repeat(64),
            bytes: 1000,
            verdict: Verdict::Published,
            recommendation: None,
            metrics: json!({}),
        };
        match attempts::succeed(&self.database, &lease, &outcome).await {
            Ok(true) => drop(self.done.fetch_add(1, Ordering::Relaxed)),
            other => eprintln!("a job did not end: {other:?}"),
        }
    }
}

/// Lets the server have a connection for every worker; it takes effect when it starts again.
pub(crate) async fn make_room(url: &str) -> Result<(), Failure> {
    let database = Database::connect_to(url, 1).await?;
    let most = WORKERS[WORKERS.len() - 1] / TOGETHER * (TOGETHER + SPARE) + 100;
    let statement = sqlx::AssertSqlSafe(format!("ALTER SYSTEM SET max_connections = {most}"));
    sqlx::query(statement).execute(&database.pool).await?;
    database.pool.close().await;
    Ok(())
}

/// Measures each number of workers.
pub(crate) async fn scale(url: &str, home: &Path) -> Result<(), Failure> {
    println!("workers    idle load    backlog    one by one: claimed p50 / p99, load of a job");
    for count in WORKERS {
        let crew = Crew::start(url, count).await?;
        let measured = crew.measure(home).await;
        crew.stop().await;
        println!("{count:7}    {}", measured?);
    }
    Ok(())
}

struct Crew {
    databases: Vec<Database>,
    done: Arc<AtomicUsize>,
    running: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Crew {
    async fn start(url: &str, count: usize) -> Result<Self, Failure> {
        let mut crew = Self {
            databases: Vec::new(),
            done: Arc::default(),
            running: JoinSet::new(),
            shutdown: CancellationToken::new(),
        };
        for first in (0..count).step_by(TOGETHER) {
            let together = TOGETHER.min(count - first);
            let database = Database::connect_to(url, (together + SPARE) as u32).await?;
            if first == 0 {
                database.migrate().await?;
            }
            for _ in 0..together {
                let idler = Idler {
                    database: database.clone(),
                    id: WorkerId::generate(),
                    done: Arc::clone(&crew.done),
                    fleet: Fleet::default(),
                };
                crew.running
                    .spawn(stay_known(idler.clone(), crew.shutdown.clone()));
                crew.running
                    .spawn(queue::drive(idler, crew.shutdown.clone()));
            }
            crew.databases.push(database);
        }
        Ok(crew)
    }

    async fn measure(&self, home: &Path) -> Result<String, Failure> {
        // All have connected, and looked for work once.
        time::sleep(2 * POLL).await;
        let (before, begun) = (processor_seconds(home)?, Instant::now());
        time::sleep(IDLE).await;
        let idle = (processor_seconds(home)? - before) / begun.elapsed().as_secs_f64();

        let (begun, start) = (Instant::now(), self.done.load(Ordering::Relaxed));
        for _ in 0..BACKLOG {
            submit::enqueue(&self.databases[0], row()).await?;
        }
        self.until(start + BACKLOG).await;
        let rate = BACKLOG as f64 / begun.elapsed().as_secs_f64();

        let before = processor_seconds(home)?;
        let mut waited = Vec::with_capacity(ONE_BY_ONE);
        for _ in 0..ONE_BY_ONE {
            let (begun, start) = (Instant::now(), self.done.load(Ordering::Relaxed));
            submit::enqueue(&self.databases[0], row()).await?;
            self.until(start + 1).await;
            waited.push(begun.elapsed().as_secs_f64() * 1e3);
            time::sleep(EVERY).await;
        }
        let load = (processor_seconds(home)? - before) * 1e3 / ONE_BY_ONE as f64;
        waited.sort_by(f64::total_cmp);
        Ok(format!(
            "{:6.1} %    {rate:5.0} /s    {:.1} / {:.1} ms, {load:.1} ms",
            100.0 * idle,
            waited[ONE_BY_ONE / 2],
            waited[ONE_BY_ONE - 1]
        ))
    }

    /// Until so many jobs have ended.
    async fn until(&self, count: usize) {
        while self.done.load(Ordering::Relaxed) < count {
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while self.running.join_next().await.is_some() {}
        for database in self.databases {
            database.pool.close().await;
        }
    }
}

/// Signs in as often as a worker does.
async fn stay_known(idler: Idler, shutdown: CancellationToken) {
    let own = Introduction {
        host: "bench".into(),
        pid: 1,
        device: "cpu".into(),
    };
    let mut every = time::interval(SEEN_EVERY);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        match workers::seen(&idler.database, idler.id, &own).await {
            Ok(workers) => idler.fleet.heard(workers),
            Err(error) => eprintln!("a worker could not sign in: {error}"),
        }
    }
}

/// Of all processes of the server whose data lie below `home`. Its backends live as long as their connections.
fn processor_seconds(home: &Path) -> Result<f64, Failure> {
    let pid = fs::read_to_string(home.join("postgres/data/postmaster.pid"))?;
    let postmaster = pid.lines().next().ok_or("the server has a process")?.trim();
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let ticks = children
        .split_whitespace()
        .chain([postmaster])
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
        });
    // The unit of /proc on Linux.
    Ok(ticks.sum::<f64>() / 100.0)
}
