//! Where a killed run left off, for the run after it.

use std::fmt;

use super::evidence::Evidence;
use crate::symmetry::assignment::Prices;

/// The key of a state of which a run has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnePerRun;

/// A place for the state from which a later run with the same inputs goes on.
pub trait ResumePoint<T, K = OnePerRun>: fmt::Debug + Sync {
    /// The state that an earlier run saved.
    fn load(&self, key: K) -> Option<T>;

    /// Saves a state for a later run; the last one under a key counts.
    fn save(&self, key: K, state: &T);
}

/// Every run begins anew.
#[derive(Clone, Copy, Debug)]
pub struct NoResume;

impl<T, K> ResumePoint<T, K> for NoResume {
    fn load(&self, _: K) -> Option<T> {
        None
    }

    fn save(&self, _: K, _: &T) {}
}

/// Which step of gradient matching, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepKey {
    pub step: usize,
}

/// The state at the end of a step of gradient matching, from which the next one goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
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
