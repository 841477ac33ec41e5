//! The phases of one transfer, from locations to a published result.
//!
//! `inputs` → `context` → `diagnose` → `select`, which has `align` find the permutations → `relation` →
//! `choose` → `baselines` → `train` → `retraining` → `verdict` → `publish`; `run` is that sequence. What is handed on is in
//! `comparison`, what outlives a job in `cache`. `plan` foretells the same from headers, and `inspect`
//! answers two small questions about one model.
//!
//! `retune transfer` and the worker both call [`run()`]; they differ in who listens to its [`Progress`].
//! `run` blocks and computes; call it from a thread of its own, outside any runtime.

mod align;
mod baselines;
mod cache;
mod choose;
mod comparison;
mod context;
mod device;
mod diagnose;
mod external;
mod failure;
mod inputs;
mod inspect;
mod job;
mod memory;
mod meter;
mod output;
mod plan;
mod publish;
mod relation;
mod retraining;
mod run;
mod select;
mod touch_up;
mod train;
mod translate;
mod verdict;

pub use crate::artifacts::signature::Signer;
pub use crate::contract::outcome::{Outcome, Phase, Recommendation, Verdict};
pub use device::{
    DeviceSettings, check_device, checked_device, choose_device, device_name, learner,
};
pub use external::{Staged, conclude, run_to_staging};
pub use failure::Failure;
pub use inspect::{evaluate, groups};
pub use job::{Job, Progress, Stop};
pub use memory::limit as memory_limit;
pub use plan::plan;
pub use run::run;
