//! What a method found.

use super::{
    evidence::{Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask},
    problem::Problem,
    transport::Transport,
};
use crate::symmetry::Permutation;

/// What a method found: a transport for each step, and the evidence for it.
#[derive(Clone, Debug, Default)]
pub struct Alignment {
    /// `π_1 … π_T`, or what a method has in their place.
    pub transports: Vec<Transport>,
    /// One per solved step; none for a method that solves nothing.
    pub evidence: Vec<Evidence>,
    /// By group, at the last step; empty for a method that solves nothing.
    pub groups: Vec<GroupEvidence>,
    /// Of gradfix.
    pub mask: Option<Mask>,
    /// Of bico and theseus.
    pub maps: Option<MapEvidence>,
    pub functional: Option<FunctionalEvidence>,
}

impl Alignment {
    /// The same permutation at every step.
    pub fn constant(problem: &Problem, permutation: &Permutation) -> Self {
        let transport = Transport::from(permutation.clone());
        let transports = vec![transport; problem.trajectory.timesteps()];
        Self {
            transports,
            ..Self::default()
        }
    }

    /// Whether both carry every step alike, as far as a look at them tells.
    pub fn is_same(&self, other: &Self) -> bool {
        let mut pairs = self.transports.iter().zip(&other.transports);
        self.transports.len() == other.transports.len()
            && !self.transports.is_empty()
            && pairs.all(|(one, other)| one.is_same(other))
    }
}
