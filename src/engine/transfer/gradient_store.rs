//! Where gradient pairs are kept while π is solved over them: in memory, or wherever the caller
//! has room for two parameter sets per timestep. A run may find the pairs of an interrupted one.

use std::fmt;

use crate::tensors::Checkpoint;

/// Which model a gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `∇L(θ_B)`
    Target,
    /// `∇L(θ_A)`
    Source,
}

/// Which gradient of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GradientKey {
    /// The step whose pair it belongs to, from 1.
    pub step: usize,
    pub side: Side,
}

/// Who may ask for what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// This run alone; the next value of the same key replaces it.
    ThisRun,
    /// A later run with the same inputs too.
    LaterRuns,
}

/// A place for gradients.
pub trait GradientStore: fmt::Debug + Sync {
    /// The gradient that an earlier run with the same inputs put here for later runs.
    fn get(&self, key: GradientKey) -> Option<Checkpoint>;

    /// Keeps a gradient and gives it back, lazy where memory is short.
    fn put(&self, key: GradientKey, gradient: Checkpoint, retention: Retention) -> Checkpoint;
}

/// Keeps everything in memory, for this run alone.
#[derive(Clone, Copy, Debug)]
pub struct InMemory;

impl GradientStore for InMemory {
    fn get(&self, _: GradientKey) -> Option<Checkpoint> {
        None
    }

    fn put(&self, _: GradientKey, gradient: Checkpoint, _: Retention) -> Checkpoint {
        gradient
    }
}
