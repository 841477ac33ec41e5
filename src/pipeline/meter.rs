//! What a transfer uses of this machine: time, memory, scratch space.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use nix::sys::resource::{UsageWho, getrusage};
use uuid::Uuid;

use super::{
    failure::Failure,
    job::{Progress, Stop},
};
use crate::contract::{codes::FailureCode, outcome::Phase};

/// Power drawn by one busy core, for the estimate of energy: a server processor's rated power over
/// its cores.
pub const WATTS_PER_CORE: f64 = 5.0;

/// Seconds since the process first asked.
pub fn now() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Time on the clock, and of all processors together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    pub wall: f64,
    pub cpu: f64,
}

impl Seconds {
    /// A reading, of which only differences mean something.
    pub fn read() -> Self {
        Self {
            wall: now(),
            cpu: cpu_seconds(),
        }
    }

    /// From this reading on.
    pub fn passed(self) -> Self {
        let now = Self::read();
        Self {
            wall: now.wall - self.wall,
            cpu: now.cpu - self.cpu,
        }
    }

    /// By [`WATTS_PER_CORE`].
    pub fn joules(self) -> f64 {
        self.cpu * WATTS_PER_CORE
    }
}

impl std::ops::Add for Seconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// What a transfer has used since its start, phase by phase: it hears of them before whoever listens
/// to its progress does.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    start: Seconds,
    /// Whether the mark of the most memory was taken back at the start.
    of_this_job: bool,
    phases: Mutex<Phases>,
}

#[derive(Default)]
struct Phases {
    /// In the order in which they were entered first.
    past: Vec<(Phase, Seconds)>,
    now: Option<(Phase, Seconds)>,
}

impl Phases {
    fn enter(&mut self, next: Option<Phase>) {
        if let Some((phase, since)) = self.now.take() {
            let passed = since.passed();
            match self.past.iter_mut().find(|(past, _)| *past == phase) {
                Some((_, seconds)) => *seconds = *seconds + passed,
                None => self.past.push((phase, passed)),
            }
        }
        self.now = next.map(|phase| (phase, Seconds::read()));
    }
}

impl<'a> Meter<'a> {
    pub fn start(progress: &'a dyn Progress) -> Self {
        let (start, phases) = (Seconds::read(), Mutex::default());
        Self {
            progress,
            start,
            of_this_job: forget_most_memory(),
            phases,
        }
    }

    pub fn passed(&self) -> Seconds {
        self.start.passed()
    }

    /// What each phase so far has taken, all its parts together.
    pub fn phases(&self) -> Vec<(Phase, Seconds)> {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let now = phases.now.map(|(phase, _)| phase);
        phases.enter(now);
        phases.past.clone()
    }

    /// The most memory held since the start, in bytes; where the system does not tell, since the
    /// process began, with `false`.
    pub fn most_memory(&self) -> (Option<u64>, bool) {
        match most_memory().filter(|_| self.of_this_job) {
            Some(bytes) => (Some(bytes), true),
            None => (most_of_the_process(), false),
        }
    }
}

impl Progress for Meter<'_> {
    fn phase(&self, phase: Phase) {
        self.phases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .enter(Some(phase));
        self.progress.phase(phase);
    }

    fn advance(&self, done: u64, total: u64, unit: &'static str) {
        self.progress.advance(done, total, unit);
    }

    fn go_on(&self) -> Result<(), Stop> {
        self.progress.go_on()
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

/// Sets the mark of the most memory held back to what is held now: a process runs many jobs. Linux
/// alone has this; whether it was done.
fn forget_most_memory() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The mark, in bytes.
fn most_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The most memory this process has held at any time, in bytes.
fn most_of_the_process() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss())
        .ok()
        .map(|kibibytes| kibibytes * 1024)
}

/// A folder of one transfer's own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create(parent: &Path, id: Uuid) -> Result<Self, Failure> {
        let path = parent.join(id.to_string());
        fs::create_dir_all(&path).map_err(|error| Failure::Internal {
            code: FailureCode::NoScratch,
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

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    struct Nobody;

    impl Progress for Nobody {
        fn phase(&self, _: Phase) {}

        fn advance(&self, _: u64, _: u64, _: &'static str) {}

        fn go_on(&self) -> Result<(), Stop> {
            Ok(())
        }
    }

    #[test]
    fn a_phase_that_is_entered_again_is_one() {
        let meter = Meter::start(&Nobody);
        for phase in [Phase::Aligning, Phase::Transferring, Phase::Aligning] {
            meter.phase(phase);
            thread::sleep(Duration::from_millis(5));
        }
        let phases = meter.phases();
        let names: Vec<Phase> = phases.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(names, [Phase::Aligning, Phase::Transferring]);
        assert!(
            phases[0].1.wall > 0.009 && phases[1].1.wall > 0.004,
            "{phases:?}"
        );
        let all = phases
            .iter()
            .fold(Seconds::default(), |sum, (_, seconds)| sum + *seconds);
        assert!(all.wall <= meter.passed().wall);
    }

    /// A worker's job is not told the memory of the job before it.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_most_memory_is_that_of_this_job() {
        const BYTES: usize = 512 << 20;
        let mut before = memmap2::MmapMut::map_anon(BYTES).unwrap();
        before.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let held = most_memory().unwrap();
        assert!(held >= BYTES as u64);
        drop(before);
        let meter = Meter::start(&Nobody);
        let (most, of_this_job) = meter.most_memory();
        assert!(
            of_this_job && most.unwrap() < held - BYTES as u64 / 2,
            "{most:?} after {held}"
        );
    }
}
