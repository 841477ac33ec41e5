//! What a transfer uses of this machine: time, memory, scratch space.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Instant,
};

use nix::sys::resource::{UsageWho, getrusage};
use uuid::Uuid;

use super::Failure;

/// Power drawn by one busy core, for the estimate of energy: a server processor's rated power over
/// its cores.
pub const WATTS_PER_CORE: f64 = 5.0;

/// Seconds since the process first asked.
pub fn now() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Time and processor time since a transfer's start.
#[derive(Debug)]
pub struct Meter {
    wall: f64,
    cpu: f64,
}

impl Meter {
    pub fn start() -> Self {
        Self { wall: now(), cpu: cpu_seconds() }
    }

    pub fn wall_seconds(&self) -> f64 {
        now() - self.wall
    }

    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.cpu
    }
}

fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 * 1e-6)
            .sum()
    })
}

/// The most memory this process has held at any time, in bytes.
pub fn peak_memory() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok().map(|kibibytes| kibibytes * 1024)
}

/// A folder of one transfer's own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create(parent: &Path, id: Uuid) -> Result<Self, Failure> {
        let path = parent.join(id.to_string());
        fs::create_dir_all(&path).map_err(|error| Failure::Internal {
            code: "no_scratch",
            detail: format!("{}: {error}; set worker.scratch_dir", path.display()),
        })?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "could not empty the scratch folder");
        }
    }
}
