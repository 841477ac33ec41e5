//! What the commands that run on this machine share: no service, no database, no allowed roots.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::{self, Runtime};

use super::{bar::Bar, stores, watch::word};
use crate::{
    artifacts::Access,
    config::Settings,
    contract::{
        codes::FailureCode,
        spec::{Spec, SpecError},
    },
    pipeline::{Failure, Phase, Progress, Stop},
    storage::Storage,
};

/// Stores without roots, with the runtime that serves them.
pub struct Local {
    pub storage: Storage,
    pub scratch: PathBuf,
    pub cache: Option<PathBuf>,
    runtime: Runtime,
}

impl Local {
    /// # Errors
    /// When the system refuses a thread.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let storage = stores::open_local(settings, runtime.handle().clone())?;
        let scratch = match &settings.worker.scratch_dir {
            unset if unset.is_empty() => std::env::temp_dir().join("retune"),
            set => PathBuf::from(set),
        };

        Ok(Self {
            storage,
            scratch,
            cache: settings.cache_dir(),
            runtime,
        })
    }

    /// Calls `stop` on the first Ctrl-C.
    pub fn on_interrupt(&self, stop: impl FnOnce() + Send + 'static) {
        self.runtime.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop();
            }
        });
    }

    /// Runs `read` with access to the stores and a scratch folder.
    ///
    /// # Errors
    /// When there is no scratch folder, or from `read`.
    pub fn with_access<T>(
        &self,
        read: impl FnOnce(Access) -> Result<T, Failure>,
    ) -> anyhow::Result<Result<T, Failure>> {
        fs::create_dir_all(&self.scratch).with_context(|| self.scratch.display().to_string())?;
        Ok(read(Access {
            storage: &self.storage,
            scratch: &self.scratch,
            go_on: &|| true,
        }))
    }
}

/// Reads a specification from a file or, for `-`, from stdin.
///
/// # Errors
/// What is wrong with the file or the specification.
pub fn read_spec(path: &Path) -> anyhow::Result<Spec> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("stdin")?;
    } else {
        text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    }

    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(Spec::from_json(&value)?)
}

/// Says what is wrong with a specification, as JSON where that is wanted.
///
/// # Errors
/// Without `json`, and for anything but a specification's own faults: the error itself.
pub fn refused(error: anyhow::Error, json: bool) -> anyhow::Result<ExitCode> {
    let Some(refusal) = error.downcast_ref::<SpecError>().filter(|_| json) else {
        return Err(error);
    };
    let pointer = refusal.faults.first().map(|fault| &fault.pointer);
    let said = serde_json::json!({"error": {
        "code": refusal.code.name(),
        "pointer": pointer,
        "detail": refusal.to_string(),
        "errors": refusal.faults,
    }});
    outln!("{said}");
    Ok(ExitCode::from(2))
}

/// Says what went wrong; 2 where the input is at fault, 1 where the job failed.
pub fn failed(failure: &Failure, json: bool) -> ExitCode {
    let (code, pointer, exit) = match failure {
        Failure::Input { code, pointer, .. } => (*code, pointer.clone(), 2),
        Failure::Internal { code, .. } => (*code, None, 1),
        Failure::Stopped(_) => (FailureCode::Stopped, None, 1),
    };
    if json {
        let detail = failure.to_string();
        outln!(
            "{}",
            serde_json::json!({"error": {"code": code.name(), "pointer": pointer, "detail": detail}})
        );
    } else {
        let place = pointer
            .filter(|p| !p.is_empty())
            .map(|p| format!("{p}: "))
            .unwrap_or_default();
        tellln!("retune: {place}{failure} [{code}]");
    }
    ExitCode::from(exit)
}

/// Draws a transfer's progress on a terminal and ends it on Ctrl-C.
pub struct Watcher {
    bar: Option<Bar>,
    stopped: AtomicBool,
}

impl Watcher {
    pub fn new() -> Self {
        Self {
            bar: Bar::open(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Ends the transfer at its next step.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Watcher {
    fn phase(&self, phase: Phase) {
        if let Some(bar) = &self.bar {
            bar.say(word(&phase));
            bar.uncounted();
        }
    }

    fn advance(&self, done: u64, total: u64, _unit: &'static str) {
        if let Some(bar) = &self.bar {
            bar.count(done, total);
        }
    }

    fn go_on(&self) -> Result<(), Stop> {
        if self.stopped.load(Ordering::Relaxed) {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }
}
