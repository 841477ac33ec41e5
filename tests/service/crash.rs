//! Real worker processes that are killed, stopped, told to end or told to cancel in the middle of a
//! real transfer: one result, one `transfer.succeeded`, and nothing from a worker that lost its
//! lease. Leases are short here; the periods scale.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use retune::{
    contract::ids::TransferId,
    pipeline::Phase,
    service::{
        database::{transfers::Enqueue, workers},
        domain::{
            access::DEFAULT_TENANT,
            transfers::{Status, Transfer},
        },
        registry::transitions,
    },
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Process, TestDatabase, enqueue, models, reachable_folder, retune, within};

pub const LEASE: Duration = Duration::from_secs(4);

pub struct Case {
    pub test: TestDatabase,
    folder: tempfile::TempDir,
}

impl Case {
    pub async fn fresh() -> Self {
        let (folder, path) = reachable_folder();
        for name in ["old", "tuned", "new"] {
            write_model(&path.join(name), 64, name.len() as u64 * 31);
        }
        fs::write(path.join("train.safetensors"), models::samples(512)).unwrap();
        Self {
            test: TestDatabase::fresh().await,
            folder,
        }
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}/{name}", self.folder.path().display())
    }

    /// A transfer that takes some seconds, most of them in `aligning`, a look a timestep.
    pub async fn queued(&self, timesteps: u32) -> TransferId {
        self.queued_with("gmt", timesteps).await
    }

    pub async fn queued_with(&self, method: &str, timesteps: u32) -> TransferId {
        let spec = json!({
            "source": {"base": self.uri("old/"), "trajectory": self.uri("tuned/")},
            "target": {"base": self.uri("new/")},
            "data": {"train": self.uri("train.safetensors")},
            "methods": [method],
            "options": {"timesteps": timesteps, "batch_size": 256, "alpha": 1.0, "step": "last"},
            "output": self.uri("out/"),
        });
        self.test
            .submit(Enqueue {
                spec,
                max_attempts: 5,
                ..enqueue()
            })
            .await
            .id
    }

    fn worker(&self) -> Process {
        Process::start(&mut self.command())
    }

    pub fn command(&self) -> Command {
        let mut command: Command = retune();
        command
            .args(["work", "--data-dir"])
            .arg(self.folder.path().join("state"))
            .env("DATABASE_URL", &self.test.url)
            .env("RETUNE_STORAGE_ROOTS", self.uri(""))
            .env("RETUNE_WORKER_LEASE_SECONDS", LEASE.as_secs().to_string())
            .env("RETUNE_WORKER_BEAT_SECONDS", "0.5")
            .env("RETUNE_WORKER_POLL_SECONDS", "0.2");
        command
    }

    pub async fn aligning(&self, id: TransferId, attempt: i32) -> Transfer {
        let wanted = |transfer: &Transfer| {
            assert!(!transfer.status.is_final(), "too early: {transfer:#?}");
            transfer.attempt >= attempt && transfer.phase == Some(Phase::Aligning)
        };
        self.test.until(id, wanted).await
    }

    /// The transfer ended well, once, and what lies in the store is what the row says.
    pub async fn succeeded_once(&self, id: TransferId) {
        let ended = self
            .test
            .until(id, |transfer| transfer.status.is_final())
            .await;
        assert_eq!(ended.status, Status::Succeeded, "{ended:#?}");
        let kinds = self.test.event_kinds(id).await;
        let successes = kinds
            .iter()
            .filter(|kind| *kind == "transfer.succeeded")
            .count();
        assert_eq!(
            (successes, kinds.last().unwrap().as_str()),
            (1, "transfer.succeeded")
        );
        let manifest = fs::read(self.result(id).join("manifest.json")).unwrap();
        let digest = hex::encode(Sha256::digest(&manifest));
        assert_eq!(ended.result.unwrap().manifest_sha256, digest);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert!(manifest.is_object());
    }

    fn result(&self, id: TransferId) -> std::path::PathBuf {
        self.folder.path().join("out").join(id.to_string())
    }
}

fn write_model(folder: &Path, width: usize, seed: u64) {
    let files = models::model(width, seed);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), files.config).unwrap();
    fs::write(folder.join("model.safetensors"), files.weights).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_succeeded_by_another() {
    let case = Case::fresh().await;
    let id = case.queued(100).await;
    let mut first = case.worker();
    case.aligning(id, 1).await;
    first.signal(Signal::SIGKILL);
    first.ended().await;
    let killed = Instant::now();
    assert!(!case.result(id).join("manifest.json").exists());

    let _second = case.worker();
    case.test.until(id, |transfer| transfer.attempt >= 2).await;
    // With a lease of 30 s this is the promised 45.
    assert!(
        killed.elapsed() < LEASE + Duration::from_secs(15),
        "{:?}",
        killed.elapsed()
    );
    case.succeeded_once(id).await;
}

/// Files of gradients, whole ones, under a worker's cache.
fn gradients(cache: &Path) -> usize {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let of_jobs = entries(&cache.join("steps")).flat_map(|job| entries(&job.path()));
    of_jobs
        .filter(|file| file.path().extension().is_some_and(|e| e == "sha256"))
        .count()
}

/// Entries of fitted layers under a worker's cache.
fn fitted_layers(cache: &Path) -> usize {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let of_jobs = entries(&cache.join("steps")).flat_map(|job| entries(&job.path()));
    let names = of_jobs.filter_map(|file| file.file_name().into_string().ok());
    names
        .filter(|name| {
            name.starts_with("fit-") && Path::new(name).extension() == Some("json".as_ref())
        })
        .count()
}

/// A method whose worker is killed in the middle of it.
struct Killed {
    method: &'static str,
    timesteps: u32,
    /// What it keeps under a worker's cache, and how much of it is there when the worker is killed.
    kept: fn(&Path) -> usize,
    enough: usize,
    /// In the report's `timing`: what was found there.
    figure: &'static str,
}

/// What a successor found, and what the killed worker had left.
struct Resumed {
    found: u64,
    left: u64,
}

impl Killed {
    /// Kills the first worker; the second gives what an undisturbed one gives: the report and these files.
    async fn goes_on(&self, files: &[&str]) -> Resumed {
        let case = Case::fresh().await;
        for name in ["old", "tuned", "new"] {
            write_model(&case.folder.path().join(name), 2048, name.len() as u64 * 31);
        }
        let cache = case.folder.path().join("cache");
        let worker = || {
            let mut command = case.command();
            Process::start(command.env("RETUNE_WORKER_CACHE_DIR", &cache))
        };
        let id = case.queued_with(self.method, self.timesteps).await;
        let mut first = worker();
        within("enough is kept", async || {
            ((self.kept)(&cache) >= self.enough).then_some(())
        })
        .await;
        first.signal(Signal::SIGKILL);
        first.ended().await;
        assert!(!case.result(id).join("manifest.json").exists());
        let left = (self.kept)(&cache) as u64;

        let _second = worker();
        case.succeeded_once(id).await;
        assert_eq!((self.kept)(&cache), 0, "they are removed in the end");
        let again = case.queued_with(self.method, self.timesteps).await;
        case.succeeded_once(again).await;

        let report = |id| -> Value {
            serde_json::from_slice(&fs::read(case.result(id).join("report.json")).unwrap()).unwrap()
        };
        let (mut resumed, mut whole) = (report(id), report(again));
        let found = resumed["timing"][self.figure].as_u64().unwrap();
        assert_eq!(whole["timing"][self.figure], 0);
        for report in [&mut resumed, &mut whole] {
            report.as_object_mut().unwrap().remove("timing");
        }
        assert_eq!(resumed, whole);
        for name in files {
            let read = |id| fs::read(case.result(id).join(name)).unwrap();
            assert!(read(id) == read(again), "{name}");
        }
        Resumed { found, left }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_fgmt_goes_on_where_it_was() {
    let fgmt = Killed {
        method: "fgmt",
        timesteps: 60,
        kept: gradients,
        enough: 20,
        figure: "resumed_gradients",
    };
    let Resumed { found, left } = fgmt
        .goes_on(&["model.safetensors", "permutation.safetensors"])
        .await;
    assert!(found >= left && found < 120, "{found} of {left} left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_functional_goes_on_behind_its_last_layer() {
    let functional = Killed {
        method: "functional",
        timesteps: 1,
        kept: fitted_layers,
        enough: 1,
        figure: "resumed_layers",
    };
    let Resumed { found, left } = functional.goes_on(&["model.safetensors"]).await;
    assert!(found >= 1 && found <= left, "{found} of {left} left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stopped_past_its_lease_cannot_publish() {
    let case = Case::fresh().await;
    let id = case.queued(100).await;
    let first = case.worker();
    case.aligning(id, 1).await;
    first.signal(Signal::SIGSTOP);

    let second = case.worker();
    // Both are in the middle of it when the first goes on; the second is then held so that the
    // first has all the time it could need to publish.
    case.aligning(id, 2).await;
    second.signal(Signal::SIGSTOP);
    first.signal(Signal::SIGCONT);
    let next = case.queued(1).await;
    within(
        "the first worker has dropped it and taken the next",
        async || {
            let known = workers::list(&case.test.database).await.unwrap();
            let first = known.into_iter().find(|worker| worker.pid == first.id())?;
            let over = case.test.get(next).await.status.is_final();
            (over || first.transfer == Some(next)).then_some(())
        },
    )
    .await;
    assert!(
        !case.result(id).join("manifest.json").exists(),
        "published without a lease"
    );
    second.signal(Signal::SIGCONT);
    case.succeeded_once(id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_log_cannot_be_written_works_on() {
    let case = Case::fresh().await;
    let id = case.queued(1).await;
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut worker = Process::start(case.command().stderr(full));
    case.succeeded_once(id).await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_told_to_end_hands_its_transfer_back_at_no_cost() {
    let case = Case::fresh().await;
    let id = case.queued(100).await;
    let mut first = case.worker();
    case.aligning(id, 1).await;
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().await, Some(0));
    let waiting = case.test.get(id).await;
    assert_eq!((waiting.status, waiting.attempt), (Status::Queued, 0));
    let _second = case.worker();
    case.succeeded_once(id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_transfer_stops_soon_and_leaves_no_result() {
    let case = Case::fresh().await;
    let id = case.queued(300).await;
    let _worker = case.worker();
    case.aligning(id, 1).await;
    let asked = Instant::now();
    transitions::request_cancel(&case.test.database, DEFAULT_TENANT, id)
        .await
        .unwrap();
    let ended = case
        .test
        .until(id, |transfer| transfer.status.is_final())
        .await;
    assert_eq!(ended.status, Status::Cancelled);
    assert!(asked.elapsed() < LEASE, "{:?}", asked.elapsed());
    let left = fs::read_dir(case.result(id)).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-written");
}
