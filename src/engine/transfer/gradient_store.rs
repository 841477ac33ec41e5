//! Where gradient pairs are kept while π is solved over them: in memory, or wherever the caller
//! has room for two parameter sets per timestep. A later run finds the pairs of an interrupted one.
//! It also finds the end of a step, where the next step needs nothing else, and the stage of a weight
//! matching.

use std::fmt;

use super::evidence::Evidence;
use crate::{
    symmetry::{Stage, assignment::Prices},
    tensors::Checkpoint,
};

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

/// The end of a step, from which the next one goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// σ of every group.
    pub sigmas: Vec<Vec<u32>>,
    /// Of the random source.
    pub position: u128,
    pub evidence: Evidence,
    /// By group, as reports name them.
    pub certificates: Vec<Option<&'static str>>,
    /// By group, of the assignments solved last.
    pub prices: Vec<Prices>,
}

/// A place for gradients.
pub trait GradientStore: fmt::Debug + Sync {
    /// The gradient that an earlier run with the same inputs left to be found.
    fn find(&self, key: GradientKey) -> Option<Checkpoint>;

    /// Keeps a gradient and gives it back, lazy where memory is short. A `lasting` one may be found
    /// by a later run; any other is replaced by the next of its name.
    fn keep(&self, key: GradientKey, gradient: Checkpoint, lasting: bool) -> Checkpoint;

    /// The end of a step that an earlier run with the same inputs has reached.
    fn reached(&self, _step: usize) -> Option<Reached> {
        None
    }

    /// Lets a later run go on after this step.
    fn reach(&self, _step: usize, _reached: &Reached) {}

    /// Where an earlier run with the same inputs was in the descent that weight matching is.
    fn stage(&self) -> Option<Stage> {
        None
    }

    /// Lets a later run go on from there.
    fn pass(&self, _stage: &Stage) {}
}

/// Keeps everything in memory, for this run alone.
#[derive(Clone, Copy, Debug)]
pub struct InMemory;

impl GradientStore for InMemory {
    fn find(&self, _: GradientKey) -> Option<Checkpoint> {
        None
    }

    fn keep(&self, _: GradientKey, gradient: Checkpoint, _: bool) -> Checkpoint {
        gradient
    }
}
