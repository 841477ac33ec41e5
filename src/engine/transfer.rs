//! Learning transfer: the tuning of one base model, carried over to another.
//!
//! Notation of Chijiwa, "Transferring Learning Trajectories of Neural Networks" (ICLR 2024):
//! `θ_A⁰` is the old base, `θ_A^t` the stored trajectory, `θ_B⁰` the new base, `π` a permutation of
//! hidden units, `T` the number of timesteps.
//!
//! 1. [`Trajectory`]: the points `θ_A^t`, on the segment to the tuned model or stored (section 3.2).
//! 2. [`methods`]: each finds a permutation `π_s` for every step `s` ([`Alignment`]).
//! 3. [`Problem::carried`]: `θ_B⁰ + α π_s (θ_A^s − θ_A⁰)`, the candidate at step `s`.
//! 4. [`candidate`]: the best step and the best α by a [`race`] on validation samples; [`ladder`]: which
//!    method next, by the [`diagnosis`] of the bases and what validation has said so far, and which is the
//!    best.
//!
//! Nothing here reads the test split, a clock or a store.

mod alignment;
pub mod by_group;
pub mod candidate;
pub mod compatibility;
pub mod diagnosis;
mod error;
mod evidence;
pub mod functional;
pub mod gradient_store;
pub mod ladder;
pub mod maps;
pub mod methods;
pub mod options;
mod problem;
mod products;
pub mod race;
pub mod resume_point;
pub mod schedule;
pub mod shared_vocabulary;
mod stores;
pub mod ties;
mod trajectory;
mod transport;
pub mod widths;

pub use alignment::Alignment;
pub use candidate::{Candidate, Score};
pub use error::TransferError;
pub use evidence::{AlphasByGroup, Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask};
pub use functional::FunctionalTrial;
pub use gradient_store::{GradientStore, InMemory};
pub use options::{Alpha, Head, Method, Schedule, Step};
pub use problem::{Problem, RACE_STATISTICS, STATISTICS_SAMPLES, WEIGHT_ANCHOR};
pub use resume_point::{NoResume, ResumePoint};
pub use stores::Stores;
pub use trajectory::Trajectory;
pub use transport::Transport;
