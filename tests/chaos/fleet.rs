//! The service's own processes: started, started again whenever they end, killed, stopped.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{task::JoinHandle, time};

use super::{Failure, lock};

const LOOK: Duration = Duration::from_millis(50);
/// A process told to end hands its work back within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a process ends with after a panic of its main thread.
const PANICKED: i32 = 101;

/// A copy of the program: the run outlasts a build.
const PROGRAM: &str = "retune";

/// What the processes are told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub folder: PathBuf,
    pub database_url: String,
    pub endpoint: String,
    /// Where jobs may read and write.
    pub roots: String,
    pub lease: Duration,
    pub max_attempts: u32,
    /// More settings, as the environment has them.
    pub more: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `retune serve` on this port, with so many workers.
    Serve { port: u16, workers: usize },
    /// `retune work`.
    Work,
}

struct Member {
    role: Role,
    child: Child,
    /// Its end was our doing.
    expected: bool,
    /// How its predecessor ended.
    last: Option<ExitStatus>,
}

/// The processes of a run, each with a number.
pub struct Fleet {
    members: Arc<Mutex<Vec<Member>>>,
    /// Ends that were nobody's doing.
    ends: Arc<Mutex<Vec<(Role, ExitStatus)>>>,
    supervisor: JoinHandle<()>,
}

impl Fleet {
    pub fn start(settings: Settings, roles: &[Role]) -> Result<Self, Failure> {
        std::fs::copy(env!("CARGO_BIN_EXE_retune"), settings.folder.join(PROGRAM))?;
        let start = |role: &Role| {
            let child = spawn(&settings, *role)?;
            Ok(Member {
                role: *role,
                child,
                expected: false,
                last: None,
            })
        };
        let members: Result<Vec<_>, std::io::Error> = roles.iter().map(start).collect();
        let members = Arc::new(Mutex::new(members?));
        let ends = Arc::new(Mutex::new(Vec::new()));
        let supervisor = tokio::spawn(supervise(settings, Arc::clone(&members), Arc::clone(&ends)));
        Ok(Self {
            members,
            ends,
            supervisor,
        })
    }

    /// The numbers of the members of a kind.
    pub fn of(&self, wanted: impl Fn(Role) -> bool) -> Vec<usize> {
        let members = lock(&self.members);
        (0..members.len())
            .filter(|i| wanted(members[*i].role))
            .collect()
    }

    pub fn pid(&self, member: usize) -> i32 {
        pid(&lock(&self.members)[member].child).as_raw()
    }

    /// Whoever is killed is started again at once.
    pub fn kill(&self, member: usize) {
        let mut members = lock(&self.members);
        members[member].expected = true;
        // It may have ended just now.
        let _ = members[member].child.kill();
    }

    /// Ends one by SIGTERM and waits for its successor; how it ended.
    pub async fn restart(&self, member: usize) -> Result<ExitStatus, Failure> {
        let old = {
            let mut members = lock(&self.members);
            members[member].expected = true;
            members[member].last = None;
            pid(&members[member].child)
        };
        kill(old, Signal::SIGTERM)?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = lock(&self.members)[member].last {
                return Ok(status);
            }
            time::sleep(LOOK).await;
        }
        Err(format!("process {old} does not end").into())
    }

    /// Ends everyone by SIGTERM; each must end well and in time.
    pub async fn stop(self) -> Result<Vec<(Role, ExitStatus)>, Failure> {
        self.supervisor.abort();
        let mut members = std::mem::take(&mut *lock(&self.members));
        for member in &members {
            let _ = kill(pid(&member.child), Signal::SIGTERM);
        }
        for member in &mut members {
            let status = ended(&mut member.child).await;
            let status = status.ok_or_else(|| format!("{:?} does not end", member.role))?;
            if !member.expected && !status.success() {
                lock(&self.ends).push((member.role, status));
            }
        }
        Ok(std::mem::take(&mut *lock(&self.ends)))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.supervisor.abort();
        for member in &mut *lock(&self.members) {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

/// Whether an end is a defect. One that finds no database when it starts ends with 1, and its
/// supervisor tries again.
pub fn is_defect(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code == PANICKED)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

async fn ended(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        time::sleep(LOOK).await;
    }
    None
}

/// As systemd would: whoever ended is started again.
async fn supervise(
    settings: Settings,
    members: Arc<Mutex<Vec<Member>>>,
    ends: Arc<Mutex<Vec<(Role, ExitStatus)>>>,
) {
    loop {
        time::sleep(LOOK).await;
        for member in &mut *lock(&members) {
            let Ok(Some(status)) = member.child.try_wait() else {
                continue;
            };
            if !std::mem::take(&mut member.expected) {
                lock(&ends).push((member.role, status));
            }
            member.last = Some(status);
            match spawn(&settings, member.role) {
                Ok(child) => member.child = child,
                Err(error) => eprintln!("{:?} could not be started: {error}", member.role),
            }
        }
    }
}

/// A disk that is full raises no signal; the limit that stands for it would.
const WITHOUT_SIGNAL: &str = r#"trap "" XFSZ; exec "$0" "$@""#;

fn spawn(settings: &Settings, role: Role) -> std::io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    for (name, _) in std::env::vars() {
        if name.starts_with("RETUNE_") || name.starts_with("AWS_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command
        .args(["-c", WITHOUT_SIGNAL])
        .arg(settings.folder.join(PROGRAM));
    let log = match role {
        Role::Serve { port, workers } => {
            command.args([
                "serve",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--workers",
            ]);
            command.arg(workers.to_string());
            "serve.log"
        }
        Role::Work => {
            command.arg("work");
            "work.log"
        }
    };
    let lease = settings.lease.as_secs_f64();
    command
        .arg("--data-dir")
        .arg(settings.folder.join("state"))
        .env("DATABASE_URL", &settings.database_url)
        .env("RETUNE_STORAGE_ROOTS", &settings.roots)
        .env("RETUNE_STORAGE_S3_ENDPOINT", &settings.endpoint)
        .env("RETUNE_STORAGE_S3_ALLOW_HTTP", "true")
        .env("AWS_SKIP_SIGNATURE", "true")
        .env("RETUNE_WORKER_LEASE_SECONDS", lease.to_string())
        .env("RETUNE_WORKER_BEAT_SECONDS", (lease / 3.0).to_string())
        .env("RETUNE_WORKER_POLL_SECONDS", (lease / 15.0).to_string())
        .env("RETUNE_WORKER_SWEEP_SECONDS", (lease / 3.0).to_string())
        // Doubled for each further attempt, of which there may be fifteen here and three elsewhere.
        .env("RETUNE_WORKER_BACKOFF_SECONDS", "0.002")
        .env(
            "RETUNE_WORKER_MAX_ATTEMPTS",
            settings.max_attempts.to_string(),
        )
        .envs(settings.more.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_file(&settings.folder.join(log))?)
        .spawn()
}

fn log_file(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}
