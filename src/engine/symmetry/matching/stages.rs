//! How far a descent has come, for runs that may be broken off.

use serde::{Deserialize, Serialize};

use crate::symmetry::{assignment::Certificate, groups::Symmetry, permutation::Permutation};

/// A sweep that moves nothing ends the descent; so does this many.
pub(super) const SWEEP_LIMIT: usize = 100;

/// How far a descent has come, between two visits of groups: a later run can go on from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub(super) permutation: Permutation,
    /// Groups that an anchored first sweep has solved; `None` when it is over.
    pub(super) anchoring: Option<Vec<bool>>,
    /// Sweeps begun, and blocks of the last one that are behind.
    pub(super) sweeps: usize,
    pub(super) done: usize,
    /// Blocks to be visited.
    pub(super) dirty: Vec<bool>,
    pub(super) certificates: Vec<Option<Certificate>>,
}

impl Stage {
    /// Before the first sweep from a π.
    pub(super) fn sweeping(symmetry: &Symmetry, permutation: Permutation) -> Self {
        Self {
            permutation,
            anchoring: None,
            sweeps: 0,
            done: 0,
            dirty: vec![true; symmetry.blocks().len()],
            certificates: vec![None; symmetry.groups.len()],
        }
    }

    /// Before an anchored first sweep.
    pub(super) fn anchoring(symmetry: &Symmetry) -> Self {
        let anchoring = Some(vec![false; symmetry.groups.len()]);
        Self {
            anchoring,
            ..Self::sweeping(symmetry, Permutation::identity(symmetry))
        }
    }

    /// Whether it is a stage of this symmetry, wherever it was read from.
    pub(super) fn fits(&self, symmetry: &Symmetry) -> bool {
        let groups = symmetry.groups.len();
        self.permutation.fits(symmetry)
            && self
                .anchoring
                .as_ref()
                .is_none_or(|solved| solved.len() == groups)
            && self.certificates.len() == groups
            && self.dirty.len() == symmetry.blocks().len()
            && self.sweeps <= SWEEP_LIMIT
            && self.done
                <= if self.sweeps == 0 {
                    0
                } else {
                    self.dirty.len()
                }
    }
}

/// How a descent that may be broken off is followed.
pub struct Stages<'a, E> {
    /// Where an earlier one was broken off; what does not fit the symmetry counts for nothing.
    pub from: Option<Stage>,
    /// Hears of every stage, and ends the descent by refusing.
    pub on_stage: &'a dyn Fn(&Stage) -> Result<(), E>,
}
