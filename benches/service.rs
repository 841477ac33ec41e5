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
//! of a service whose pages 500 browsers look at every two seconds. `-- pages` measures these alone.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use retune::{
    artifacts::tensors,
    contract::ids::WorkerId,
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::{Outcome, Verdict},
    service::{
        database::{Database, transfers::Enqueue},
        domain::{access::DEFAULT_TENANT, leases::RetryPolicy},
        private_cluster::PrivateCluster,
        registry::{attempts, submit},
    },
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;

const AT_ONCE: usize = 8;
const ROWS: usize = 4000;
/// Submitted one after the other to idle workers.
const LATENCIES: usize = 200;
/// Queued while polls are counted.
const BACKLOG: usize = 600;
const POLLING: Duration = Duration::from_secs(5);
/// Transfers that the pages are made over.
const LISTED: usize = 10_000;
/// Requests of each page.
const LOOKS: usize = 30;
/// Browsers with a page open, and for how long.
const BROWSERS: usize = 500;
const BROWSING: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::Builder::new().prefix("rt").tempdir()?;
    // Root's PostgreSQL runs as another user, who must be able to enter.
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let cluster = PrivateCluster::open(&folder.path().join("data"), "")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let measured = runtime.block_on(async {
        let url = cluster.url();
        if !std::env::args().any(|argument| argument == "pages") {
            queue(&url).await?;
            service(folder.path(), &url).await?;
        }
        pages(folder.path(), &url).await
    });
    drop(runtime);
    cluster.close()?;
    measured
}

async fn queue(url: &str) -> Result<(), Failure> {
    let database = Database::connect_to(url, AT_ONCE as u32).await?;
    database.migrate().await?;
    let begun = Instant::now();
    shared(&database, async |database, n| {
        for _ in 0..n {
            submit::enqueue(&database, row()).await?;
        }
        Ok(())
    })
    .await?;
    println!(
        "rows queued                    {:8.0} /s",
        rate(ROWS, begun)
    );
    let begun = Instant::now();
    shared(&database, async |database, _| {
        let worker = WorkerId::generate();
        let second = Duration::from_secs(1);
        let policy = RetryPolicy {
            lease: second * 30,
            backoff: second,
            max_wait: second * 3600,
            give_up: second * 3600,
        };
        while let Some(lease) = attempts::claim(&database, worker, policy).await? {
            let outcome = Outcome {
                uri: "file:///out/".into(),
                manifest_sha256: "0".repeat(64),
                bytes: 1000,
                verdict: Verdict::Published,
                recommendation: None,
                metrics: json!({}),
            };
            if !attempts::succeed(&database, &lease, &outcome).await? {
                return Err("a lease was lost".into());
            }
        }
        Ok(())
    })
    .await?;
    println!(
        "rows claimed and finished      {:8.0} /s",
        rate(ROWS, begun)
    );
    database.pool.close().await;
    Ok(())
}

/// Runs `task` as often as are at once, each for its share of the rows.
async fn shared<F>(database: &Database, task: impl Fn(Database, usize) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn(task(database.clone(), ROWS / AT_ONCE));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn row() -> Enqueue {
    let spec = json!({"source": {"base": "file:///a/", "trajectory": "file:///t/"},
        "target": {"base": "file:///b/"}, "methods": ["identity"], "output": "file:///out/"});
    let (metadata, max_attempts) = (json!({}), 3);
    Enqueue {
        tenant: DEFAULT_TENANT,
        spec,
        metadata,
        idempotency: None,
        max_attempts,
    }
}

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

/// A running `retune serve`, killed when dropped.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(folder: &Path, database: &str, workers: usize) -> Result<Self, Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_retune"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workers",
                &workers.to_string(),
            ])
            .arg("--data-dir")
            .arg(folder.join("state"))
            .env("DATABASE_URL", database)
            .env(
                "RETUNE_STORAGE_ROOTS",
                format!("file://{}/", folder.display()),
            )
            .env("RETUNE_WORKER_CACHE_DIR", "none")
            // All browsers are of one address here.
            .env("RETUNE_HTTP_CONNECTIONS_PER_ADDRESS", "1000")
            .env("RETUNE_HTTP_RATE_LIMIT", "100000")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line
            .trim()
            .strip_prefix("retune listening on ")
            .ok_or("it listens")?
            .to_owned();
        Ok(Self { child, url })
    }

    /// PSS in MB of the service and of its workers.
    fn memory(&self) -> Result<f64, Failure> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let all = children
            .split_whitespace()
            .map(str::to_owned)
            .chain([own.to_string()]);
        let pss = |pid: String| -> Option<f64> {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Ok(all.filter_map(pss).sum::<f64>() / 1024.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn service(folder: &Path, database: &str) -> Result<(), Failure> {
    let spec = job(folder)?;
    let served = Served::start(folder, database, 2)?;
    let http = reqwest::Client::new();
    let transfers = format!("{}/v1/transfers", served.url);
    let submit = async || -> Result<String, Failure> {
        let answer = http
            .post(&transfers)
            .json(&spec)
            .send()
            .await?
            .error_for_status()?;
        let body: Value = answer.json().await?;
        Ok(body["id"].as_str().ok_or("an id")?.to_owned())
    };
    let finished = async |id: &str| -> Result<Value, Failure> {
        loop {
            let wait = http.get(format!("{transfers}/{id}?wait=30")).send().await?;
            let body: Value = wait.error_for_status()?.json().await?;
            match body["status"].as_str() {
                Some("succeeded") => return Ok(body),
                Some("queued" | "running") => {}
                _ => return Err(format!("it ended otherwise: {body}").into()),
            }
        }
    };
    // Idle: started, and nothing asked but its health.
    http.get(format!("{}/readyz", served.url))
        .send()
        .await?
        .error_for_status()?;
    println!("idle, two workers              {:8.0} MB", served.memory()?);
    let mut latencies = Vec::with_capacity(LATENCIES);
    for _ in 0..LATENCIES {
        let done = finished(&submit().await?).await?;
        let at = |key: &str| -> Result<OffsetDateTime, Failure> {
            Ok(OffsetDateTime::parse(
                done[key].as_str().ok_or("a time")?,
                &Rfc3339,
            )?)
        };
        latencies.push((at("started_at")? - at("created_at")?).as_seconds_f64() * 1e3);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((LATENCIES - 1) as f64 * share) as usize];
    println!(
        "claim latency, p50 / p99       {:8.1} / {:.1} ms",
        at(0.5),
        at(0.99)
    );

    let begun = Instant::now();
    let mut last = String::new();
    for _ in 0..BACKLOG {
        last = submit().await?;
    }
    println!(
        "submitted over HTTP, one client{:8.0} /s",
        rate(BACKLOG, begun)
    );
    let polls = polls(&http, &format!("{transfers}/{last}")).await?;
    println!("status polls while jobs run    {polls:8.0} /s");
    println!("busy, two workers              {:8.0} MB", served.memory()?);
    finished(&last).await?;
    println!(
        "tiny transfers, submit to end  {:8.0} /s",
        rate(BACKLOG, begun)
    );
    Ok(())
}

/// Milliseconds of each page, then the memory under many browsers. Nobody works, so that nothing else is measured.
async fn pages(folder: &Path, url: &str) -> Result<(), Failure> {
    let database = Database::connect_to(url, AT_ONCE as u32).await?;
    database.migrate().await?;
    for _ in 0..LISTED {
        submit::enqueue(&database, row()).await?;
    }
    database.pool.close().await;

    let served = Served::start(folder, url, 0)?;
    let http = reqwest::Client::new();
    let listed = http
        .get(format!("{}/v1/transfers?limit=1", served.url))
        .send()
        .await?;
    let listed: Value = listed.error_for_status()?.json().await?;
    let one = format!(
        "/transfers/{}",
        listed["data"][0]["id"].as_str().ok_or("an id")?
    );
    for page in [
        "/",
        "/transfers",
        "/transfers?status=queued",
        "/transfers?search=nothing",
        one.as_str(),
        "/retunes",
    ] {
        let mut times = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            let begun = Instant::now();
            http.get(format!("{}{page}", served.url))
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let shown = page.split_at(page.len().min(28)).0;
        println!(
            "page {shown:28} {:5.1} ms, slowest {:.1}",
            times[LOOKS / 2],
            times[LOOKS - 1]
        );
    }

    let before = served.memory()?;
    let mut browsers = JoinSet::new();
    for _ in 0..BROWSERS {
        let address = format!("{}{one}", served.url);
        browsers.spawn(async move {
            // Each has a connection of its own.
            let (http, begun) = (reqwest::Client::new(), Instant::now());
            while begun.elapsed() < BROWSING {
                http.get(&address)
                    .send()
                    .await?
                    .error_for_status()?
                    .bytes()
                    .await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    tokio::time::sleep(BROWSING).await;
    println!(
        "{BROWSERS} open pages                 {:8.0} MB, {before:.0} before",
        served.memory()?
    );
    while let Some(done) = browsers.join_next().await {
        done??;
    }
    Ok(())
}

/// Answers in a second on eight connections.
async fn polls(http: &reqwest::Client, url: &str) -> Result<f64, Failure> {
    let (count, go_on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, url) = (http.clone(), url.to_owned());
        let (count, go_on) = (Arc::clone(&count), Arc::clone(&go_on));
        tasks.spawn(async move {
            while go_on.load(Ordering::Relaxed) {
                http.get(&url)
                    .send()
                    .await?
                    .error_for_status()?
                    .bytes()
                    .await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    tokio::time::sleep(POLLING).await;
    go_on.store(false, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Three tiny models, and a job that needs no data.
fn job(folder: &Path) -> Result<Value, Failure> {
    let config = json!({"model_type": "graph", "input": {"kind": "features", "shape": [4]},
        "nodes": [{"op": "linear", "param": "fc1"}, {"op": "relu"}, {"op": "linear", "param": "fc2"}]});
    for (shift, name) in ["old", "tuned", "new"].into_iter().enumerate() {
        let tensor = |tensor: &str, shape: &[usize]| {
            let count: usize = shape.iter().product();
            let value = |i: usize| ((i * 7 + shift * 3) % 11) as f32 / 11.0 - 0.5;
            (
                tensor.to_owned(),
                HostTensor::from_f32(shape.to_vec(), (0..count).map(value).collect()),
            )
        };
        let model: Checkpoint = [
            tensor("fc1.weight", &[8, 4]),
            tensor("fc1.bias", &[8]),
            tensor("fc2.weight", &[3, 8]),
            tensor("fc2.bias", &[3]),
        ]
        .into_iter()
        .collect();
        fs::create_dir_all(folder.join(name))?;
        fs::write(folder.join(name).join("config.json"), config.to_string())?;
        fs::write(
            folder.join(name).join("model.safetensors"),
            tensors::to_bytes(&model),
        )?;
    }
    let at = |name: &str| format!("file://{}/{name}/", folder.display());
    Ok(
        json!({"source": {"base": at("old"), "trajectory": at("tuned")},
        "target": {"base": at("new")}, "methods": ["weight_matching"], "output": at("out")}),
    )
}
