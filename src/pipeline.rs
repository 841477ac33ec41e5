//! The phases of one transfer, from locations to a published result.
//!
//! `retune transfer` and the worker both call [`run`]; they differ in who listens to its
//! [`Progress`]. `run` blocks and computes; call it from a thread of its own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{spec::Spec, storage::Storage};

/// Where a running transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Fetching,
    Diagnosing,
    Aligning,
    Transferring,
    Evaluating,
    FineTuning,
    Publishing,
}

/// Whether the result was made available, or a report only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Published,
    Rejected,
}

/// What the evidence says the owner should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Recommendation {
    #[serde(rename = "copy")]
    Copy,
    #[serde(rename = "transfer")]
    Transfer,
    #[serde(rename = "transfer+fine_tune")]
    TransferAndFineTune,
    #[serde(rename = "retrain")]
    Retrain,
    #[serde(rename = "keep_old")]
    KeepOld,
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

/// A finished transfer, as the job row keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// `<output>/<transfer id>/`
    pub uri: String,
    pub manifest_sha256: String,
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    /// The winner's figures: `{"method", "accuracy", "loss", "split", …}`.
    pub metrics: serde_json::Value,
}

/// A transfer that ended without a result; nothing under `output` claims otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("stopped")]
    Stopped(Stop),
    /// The user's input is at fault: trying again gives the same.
    #[error("{detail}")]
    Input {
        /// Stable, snake_case: `missing_tensor`, `wrong_shape`, `not_finite` …
        code: &'static str,
        /// JSON pointer into the specification.
        pointer: Option<String>,
        detail: String,
    },
    /// The world is at fault (storage, memory, a bug): another attempt may succeed.
    #[error("{detail}")]
    Internal { code: &'static str, detail: String },
}

/// Runs one transfer to its end and publishes the result under `<spec.output>/<id>/`.
///
/// # Errors
/// See [`Failure`].
pub fn run(
    _id: Uuid,
    _spec: &Spec,
    _storage: &Storage,
    _progress: &dyn Progress,
) -> Result<Outcome, Failure> {
    Err(Failure::Internal { code: "not_built", detail: "the pipeline is not built yet".into() })
}

/// Checks a specification against its artifacts' headers and estimates its cost.
///
/// # Errors
/// As [`run`], for what headers can show.
pub fn plan(_spec: &Spec, _storage: &Storage) -> Result<serde_json::Value, Failure> {
    Err(Failure::Internal { code: "not_built", detail: "the pipeline is not built yet".into() })
}
