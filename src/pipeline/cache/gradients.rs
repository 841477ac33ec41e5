//! Gradient pairs on this machine's disk: FGMT's steps survive a killed worker, and models of which
//! two gradients a timestep do not fit into memory are matched from files. Of GMT, which draws its pairs
//! anew at every step, it is the end of each step that survives. Of `functional` it is every layer: a fit
//! goes on behind the last one, and the result of a large model is read from these files.
//!
//! A folder a job and method, under the cache, named by everything that the pairs depend on: the
//! inputs' digests, the specification, this program, device and threads. A gradient is a file and,
//! written after it, its digest; what does not agree with its digest is not there. The folder goes
//! when the method has its candidate, and stays for the next attempt where the job is interrupted
//! or killed; what nobody came back for goes after a week.

mod fits;

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::{checksummed, resume};
use crate::{
    artifacts::tensors,
    contract::spec::Methods,
    engine::{
        tensors::Checkpoint,
        transfer::{
            Method,
            gradient_store::{GradientKey, GradientStore, Retention, Side},
            methods::functional,
            resume_point::{ResumePoint, StepKey, StepState},
        },
    },
    pipeline::{
        device::device_name,
        inputs::Inputs,
        job::{Job, Progress, Stop},
    },
    storage::{sha256_of, sha256_of_file},
};

/// Changes whenever the same inputs may give other gradients or another order of drawing.
const VERSION: u32 = 2;
/// Bytes of gradients that a method holds in memory; more of them lie on the disk.
pub const MAX_BYTES_IN_MEMORY: usize = 512 << 20;
/// After which what nobody came back for goes.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// The gradients of one method of one job.
pub struct DiskGradients<'a> {
    progress: &'a dyn Progress,
    folder: PathBuf,
    /// Of the folder.
    retention: Retention,
    in_memory: bool,
    fits_in_memory: bool,
    found: AtomicUsize,
    found_layers: AtomicUsize,
}

impl<'a> DiskGradients<'a> {
    /// Those of `method`, in the cache where there is one and else in the scratch folder.
    pub fn of(inputs: &Inputs, job: &Job<'a>, method: Method) -> Self {
        let parameters: usize = inputs
            .signature
            .values()
            .map(|t| t.shape.iter().product::<usize>())
            .sum();
        let bytes = 4 * parameters * 2 * inputs.trajectory.timesteps();
        let (folder, retention) = if let Some(cache) = job.cache {
            let all = cache.join("steps");
            forget_old(&all);
            (all.join(key(inputs, job, method)), Retention::LaterRuns)
        } else {
            let scratch = job.scratch.join(job.id.to_string());
            (scratch.join(method.name()), Retention::ThisRun)
        };

        Self {
            progress: job.progress,
            folder,
            retention,
            in_memory: bytes <= MAX_BYTES_IN_MEMORY,
            fits_in_memory: !functional::is_large(parameters),
            found: AtomicUsize::new(0),
            found_layers: AtomicUsize::new(0),
        }
    }

    /// Gradients that an earlier attempt had left, or what had been made of them.
    pub fn found(&self) -> usize {
        self.found.load(Ordering::Relaxed)
    }

    /// Layers of fits that an earlier attempt had left.
    pub fn found_layers(&self) -> usize {
        self.found_layers.load(Ordering::Relaxed)
    }

    /// Removes the folder: the method has what it wanted.
    pub fn done(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %self.folder.display(), "could not remove");
        }
    }

    fn path(&self, key: GradientKey) -> PathBuf {
        let GradientKey { step, side } = key;
        let side = match side {
            Side::Target => "target",
            Side::Source => "source",
        };
        self.folder.join(format!("{step:05}-{side}.safetensors"))
    }

    fn end_of(&self, StepKey { step }: StepKey) -> PathBuf {
        self.folder.join(format!("{step:05}-reached.json"))
    }

    /// A later run may find what is put here.
    fn outlives_run(&self) -> bool {
        self.retention == Retention::LaterRuns
    }

    fn read(&self, path: &Path) -> io::Result<Checkpoint> {
        let expected = fs::read_to_string(digest_of(path))?;
        if sha256_of_file(path)? != expected.trim() {
            return Err(io::Error::other("its digest is another"));
        }

        let gradient = tensors::open_own(path)?;
        Ok(if self.in_memory {
            gradient.held()
        } else {
            gradient
        })
    }

    fn write(&self, path: &Path, gradient: &Checkpoint) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Not to be found until it is whole.
        let _ = fs::remove_file(digest_of(path));
        let incoming = path.with_extension(format!("{}.incoming", std::process::id()));
        write_tensors(&incoming, gradient)?;
        let digest = sha256_of_file(&incoming)?;
        fs::rename(&incoming, path)?;
        fs::write(digest_of(path), digest)
    }
}

impl GradientStore for DiskGradients<'_> {
    fn get(&self, key: GradientKey) -> Option<Checkpoint> {
        let path = self.path(key);
        if !self.outlives_run() || !digest_of(&path).exists() {
            return None;
        }

        match self.read(&path) {
            Ok(gradient) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                Some(gradient)
            }
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "not usable; computed again");
                None
            }
        }
    }

    fn put(&self, key: GradientKey, gradient: Checkpoint, retention: Retention) -> Checkpoint {
        let outlives_run = retention == Retention::LaterRuns && self.outlives_run();
        if self.in_memory && !outlives_run {
            return gradient;
        }
        let path = self.path(key);
        let written = self.write(&path, &gradient).and_then(|()| {
            if self.in_memory {
                Ok(None)
            } else {
                tensors::open_own(&path).map(Some)
            }
        });

        match written {
            Ok(Some(on_disk)) => on_disk,
            Ok(None) => gradient,
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "not written; kept in memory");
                gradient
            }
        }
    }
}

impl ResumePoint<StepState, StepKey> for DiskGradients<'_> {
    fn load(&self, key: StepKey) -> Option<StepState> {
        let path = self.end_of(key);
        if !self.outlives_run() {
            return None;
        }

        let found = checksummed::read(&path).and_then(|text| match text {
            Some(text) => resume::from_text(&text)
                .map(Some)
                .ok_or_else(|| checksummed::broken("is about other groups")),
            None => Ok(None),
        });
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, file = %path.display(), "not usable; computed again");
            None
        })?;

        // The gradients of both sides of all its pairs.
        self.found.fetch_add(2 * key.step, Ordering::Relaxed);
        Some(found)
    }

    fn save(&self, key: StepKey, state: &StepState) {
        if !self.outlives_run() {
            return;
        }
        let path = self.end_of(key);
        let text = resume::to_text(state).map_err(io::Error::other);
        let written = text.and_then(|text| checksummed::write(&path, &text));
        if let Err(error) = written {
            tracing::warn!(%error, file = %path.display(), "not written");
        }
    }
}

impl fmt::Debug for DiskGradients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskGradients").field(&self.folder).finish()
    }
}

impl Drop for DiskGradients<'_> {
    fn drop(&mut self) {
        if !self.outlives_run() || self.progress.go_on() == Err(Stop::Cancelled) {
            self.done();
        }
    }
}

fn write_tensors(path: &Path, tensors: &Checkpoint) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    tensors::to_pieces(tensors)
        .pieces
        .try_for_each(|piece| file.write_all(&piece))?;
    file.flush()
}

fn digest_of(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

/// Everything that a gradient depends on.
fn key(inputs: &Inputs, job: &Job, method: Method) -> String {
    let spec = job.spec;
    let mut digests: Vec<&str> = inputs
        .files
        .iter()
        .map(|file| file.sha256.as_str())
        .collect();
    digests.sort_unstable();
    let all = json!({
        "version": VERSION,
        "software": env!("CARGO_PKG_VERSION"),
        "inputs": digests,
        "source": spec.source,
        "target": spec.target,
        "data": spec.data,
        "options": spec.options,
        "method": method,
        // It starts from what the diagnosis has found.
        "auto": matches!(spec.methods, Methods::Auto),
        "device": device_name(),
        "threads": rayon::current_num_threads(),
    });
    sha256_of(all.to_string().as_bytes())
}

fn forget_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|data| data.modified());
        let age = modified
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > MAX_AGE)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, folder = %entry.path().display(), "could not remove");
        }
    }
}
