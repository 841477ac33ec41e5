//! The weight-matching π of a pair of bases, solved once and kept for every tuning of that pair.
//!
//! An entry is a file under the cache, named by the digests of both bases' files, the groups that π
//! permutes and the version of the search. It holds π and the evidence for it, floats as their bits,
//! so that a job that finds it gives the bytes of one that does not. What does not agree with its
//! digest, or is no element of the group, is solved again and written anew.
//!
//! Whoever solves a pair holds a lock on an empty file of its own meanwhile, so that jobs that begin
//! together on one machine solve it once: the others wait for the entry. The system gives the lock
//! back when its process dies, and the file stays, because another may be waiting at it. How far the
//! search is stands beside the entry until that is there: after a kill it goes on at the last group.

mod entry;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::checksummed;
use crate::{
    artifacts::InputFile,
    engine::{
        symmetry::Stage,
        transfer::{
            Alignment, Method, Problem, ResumePoint, Stores, TransferError,
            methods::{self},
            resume_point::OnePerRun,
        },
    },
    pipeline::{
        device::device_name,
        failure::Failure,
        inputs::Inputs,
        job::{Job, Progress},
        meter,
    },
    storage::sha256_of,
};
use entry::Entry;

/// Changes whenever the same bases may give another π or other evidence.
const VERSION: u32 = 3;
const FORMAT: &str = "retune-matching/1";
/// How often one that waits looks whether the pair is still being solved.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long one waits at most, in seconds: a process that is stopped keeps its lock, and to solve a
/// pair twice is only a waste.
const MAX_WAIT_SECONDS: f64 = 600.0;

/// How a job came by the π of its bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Cached,
    Solved,
    /// Solved from where an attempt before it was broken off.
    Resumed,
}

/// An alignment, and how the job came by it; `None` where there is no cache.
pub struct Matched {
    pub alignment: Alignment,
    pub origin: Option<Origin>,
}

/// The weight-matching alignment, from the cache where it is there.
///
/// # Errors
/// What the search ends with; that the job is stopped.
pub fn weight_matching(inputs: &Inputs, job: &Job, problem: &Problem) -> Result<Matched, Failure> {
    let Some(cache) = job.cache else {
        return Ok(Matched {
            alignment: solve(problem)?,
            origin: None,
        });
    };

    let key = key(inputs);
    let path = cache.join("matching").join(format!("{key}.json"));
    if let Some(found) = look(&path, &key, problem) {
        return Ok(found);
    }

    // Held until the entry is written.
    let _turn = turn(
        job.progress,
        &cache.join("locks").join(format!("matching-{key}")),
    )?;
    if let Some(found) = look(&path, &key, problem) {
        return Ok(found);
    }

    let underway = Underway::new(path.with_extension("underway"));
    let alignment = solve(&Problem {
        stores: Stores {
            descent: &underway,
            ..problem.stores
        },
        ..*problem
    })?;
    let origin = Some(underway.origin());
    if let Err(error) = write(&path, key, &alignment, problem) {
        tracing::warn!(%error, file = %path.display(), "not written");
    }

    underway.done();
    Ok(Matched { alignment, origin })
}

fn solve(problem: &Problem) -> Result<Alignment, TransferError> {
    methods::align(Method::WeightMatching, problem, None, None)
}

/// Of the time that passes, the part that is spent on writing down how far a search is.
const WRITING_SHARE: f64 = 0.1;

/// The stage of a search, in a file.
#[derive(Debug)]
struct Underway {
    path: PathBuf,
    /// When it was written last, and how long that took: seconds.
    written: Mutex<(f64, f64)>,
    resumed: AtomicBool,
}

impl Underway {
    fn new(path: PathBuf) -> Self {
        let (written, resumed) = (Mutex::new((f64::NEG_INFINITY, 0.0)), AtomicBool::new(false));
        Self {
            path,
            written,
            resumed,
        }
    }

    fn origin(&self) -> Origin {
        if self.resumed.load(Ordering::Relaxed) {
            Origin::Resumed
        } else {
            Origin::Solved
        }
    }

    fn done(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.path.display(), "could not remove");
        }
    }
}

impl ResumePoint<Stage> for Underway {
    fn load(&self, _: OnePerRun) -> Option<Stage> {
        let found = checksummed::read(&self.path)
            .and_then(|text| Ok(text.as_deref().map(serde_json::from_str).transpose()?));
        let found: Option<Stage> = found.unwrap_or_else(|error| {
            tracing::warn!(%error, file = %self.path.display(), "not usable; begun again");
            None
        });
        self.resumed.store(found.is_some(), Ordering::Relaxed);
        found
    }

    fn save(&self, _: OnePerRun, stage: &Stage) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = meter::now();
        let (last, took) = *written;
        if begun - last < took / WRITING_SHARE {
            return;
        }

        let text = serde_json::to_string(stage).map_err(io::Error::other);
        if let Err(error) = text.and_then(|text| checksummed::write(&self.path, &text)) {
            tracing::warn!(%error, file = %self.path.display(), "not written");
        }

        let now = meter::now();
        *written = (now, now - begun);
    }
}

/// The entry, where it is there and sound.
fn look(path: &Path, key: &str, problem: &Problem) -> Option<Matched> {
    let found = read(path, key, problem).unwrap_or_else(|error| {
        tracing::warn!(%error, file = %path.display(), "not usable; solved again");
        None
    })?;
    Some(Matched {
        alignment: found,
        origin: Some(Origin::Cached),
    })
}

/// The lock of a pair, as soon as nobody on this machine is solving it. Where there can be none the pair
/// is solved all the same.
fn turn(progress: &dyn Progress, path: &Path) -> Result<Option<File>, Failure> {
    let begun = meter::now();
    let lock = match open_lock(path) {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "no lock; others may solve this pair too");
            return Ok(None);
        }
    };

    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if meter::now() - begun < MAX_WAIT_SECONDS => {}
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "not locked; others may solve this pair too");
                return Ok(None);
            }
        }
        // A job that was cancelled, or lost its lease, waits no longer.
        progress.go_on().map_err(Failure::Stopped)?;
        thread::sleep(POLL_INTERVAL);
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Everything that π depends on.
fn key(inputs: &Inputs) -> String {
    let all = [
        VERSION.to_string(),
        env!("CARGO_PKG_VERSION").to_owned(),
        digests(&inputs.target.inputs),
        digests(&inputs.source_base),
        format!("{:?}", inputs.symmetry),
        inputs.graph.learned().join(" "),
        format!("{:?}", inputs.shared_rows),
        device_name(),
    ];
    sha256_of(all.join("\n").as_bytes())
}

fn digests(files: &[InputFile]) -> String {
    let mut digests: Vec<&str> = files.iter().map(|file| file.sha256.as_str()).collect();
    digests.sort_unstable();
    digests.join(" ")
}

fn read(path: &Path, key: &str, problem: &Problem) -> io::Result<Option<Alignment>> {
    let Some(body) = checksummed::read(path)? else {
        return Ok(None);
    };
    let entry: Entry = serde_json::from_str(&body)?;
    if entry.format != FORMAT || entry.key != key {
        return Err(checksummed::broken("is about something else"));
    }

    let alignment = entry.alignment(problem);
    alignment
        .map(Some)
        .ok_or_else(|| checksummed::broken("holds no element of the group"))
}

fn write(path: &Path, key: String, alignment: &Alignment, problem: &Problem) -> io::Result<()> {
    let Some(entry) = Entry::of(key, alignment, problem) else {
        return Ok(());
    };
    checksummed::write(path, &serde_json::to_string(&entry)?)
}
