//! One transfer to be run, and who listens to it.

use std::path::Path;

use uuid::Uuid;

use crate::{
    artifacts::signature::Signer,
    contract::{outcome::Phase, spec::Spec},
    storage::Storage,
};

/// One transfer to be run.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub id: Uuid,
    pub spec: &'a Spec,
    pub storage: &'a Storage,
    /// A folder for copies of remote inputs; what is put there is removed in the end.
    pub scratch: &'a Path,
    /// A folder of this machine's for what other jobs and attempts can use; `None`: nothing is
    /// kept.
    pub cache: Option<&'a Path>,
    /// Bytes that the job's plan may hold; `None`: any number.
    pub memory: Option<u64>,
    /// Who signs the result; `None`: nobody.
    pub signer: Option<&'a Signer>,
    pub progress: &'a dyn Progress,
}

/// Hears of a transfer's progress and may stop it. Called often; must not block.
pub trait Progress: Send + Sync {
    fn phase(&self, phase: Phase);
    /// `done` of `total` units (`"timesteps"`, `"epochs"`, `"files"` …) of the current phase.
    fn advance(&self, done: u64, total: u64, unit: &'static str);
    /// Asked before every timestep, epoch and file.
    ///
    /// # Errors
    /// [`Stop`] when the transfer should end without a result.
    fn go_on(&self) -> Result<(), Stop>;
}

/// Why a transfer was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A user cancelled it.
    Cancelled,
    /// This worker may no longer write: it lost its lease or is shutting down.
    HandedBack,
}
