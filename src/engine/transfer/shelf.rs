//! Where gradient pairs are kept while π is solved over them: in memory, or wherever the caller
//! has room for two parameter sets a timestep. What an interrupted run left there is found again.

use std::fmt;

use crate::engine::network::Checkpoint;

/// Which model a gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `∇L(θ_B)`
    Target,
    /// `∇L(θ_A)`
    Source,
}

/// A place for gradients, by the step whose pair they belong to (from 1).
pub trait Shelf: fmt::Debug + Sync {
    /// The gradient that an earlier run with the same inputs left to be found.
    fn find(&self, at: (usize, Side)) -> Option<Checkpoint>;

    /// Keeps a gradient and gives it back, lazy where memory is short. A `lasting` one may be found
    /// by a later run; any other is replaced by the next of its name.
    fn keep(&self, at: (usize, Side), gradient: Checkpoint, lasting: bool) -> Checkpoint;
}

/// Keeps everything in memory, for this run alone.
#[derive(Clone, Copy, Debug)]
pub struct InMemory;

impl Shelf for InMemory {
    fn find(&self, _: (usize, Side)) -> Option<Checkpoint> {
        None
    }

    fn keep(&self, _: (usize, Side), gradient: Checkpoint, _: bool) -> Checkpoint {
        gradient
    }
}
