//! Where a descent starts.
//!
//! An *anchored* start solves each group once, from only those members whose other axes are fixed or
//! solved already. It finds deep residual streams that a start from the identity loses.

use std::sync::Arc;

use super::{
    Matcher,
    stages::{Stage, Stages},
};
use crate::{
    profiler::Work,
    symmetry::{assignment::NotFinite, permutation::Permutation},
};

impl Matcher<'_> {
    /// Whichever of those given and the anchored start scores highest.
    pub(super) fn best<E: From<NotFinite>>(
        &mut self,
        given: &[&Permutation],
        stages: Stages<E>,
    ) -> Result<Stage, E> {
        let [first, others @ ..] = given else {
            return self.anchored(stages);
        };
        if self.symmetry.is_separable() {
            return Ok(Stage::sweeping(self.symmetry, (*first).clone()));
        }

        let anchored = self.anchored(stages)?.permutation;
        let (mut best, mut highest) = (*first, self.objective(first));
        for start in others.iter().copied().chain([&anchored]) {
            let objective = self.objective(start);
            if objective > highest {
                (best, highest) = (start, objective);
            }
        }
        Ok(Stage::sweeping(self.symmetry, best.clone()))
    }

    /// The anchored start, in graph order: always the first group, or attention, that some usable
    /// member anchors.
    pub(super) fn anchored<E: From<NotFinite>>(&mut self, stages: Stages<E>) -> Result<Stage, E> {
        let Stages { from, on_stage } = stages;
        let mut at = from.unwrap_or_else(|| Stage::anchoring(self.symmetry));
        let mut solved = at.anchoring.take().unwrap_or_default();
        let mut waiting = self.symmetry.blocks();
        waiting.retain(|groups| !groups.iter().all(|&group| solved[group]));

        while !waiting.is_empty() {
            let Some(position) = waiting
                .iter()
                .position(|groups| self.is_anchored(groups, &solved))
            else {
                // Nothing anchors the rest: the first stays as it is and anchors others.
                waiting
                    .remove(0)
                    .into_iter()
                    .for_each(|group| solved[group] = true);
                continue;
            };

            let groups = waiting.remove(position);
            self.solve_anchored(&groups, &solved, &mut at.permutation)?;
            groups.into_iter().for_each(|group| solved[group] = true);
            at.anchoring = Some(solved.clone());
            on_stage(&at)?;
        }

        at.anchoring = None;
        Ok(at)
    }

    /// Whether some member of some of these groups is usable.
    fn is_anchored(&self, groups: &[usize], solved: &[bool]) -> bool {
        groups
            .iter()
            .any(|&group| self.matrices.task(group, Some(solved)).is_anchored())
    }

    /// Solves a group, or an attention's groups, from the members that are anchored.
    fn solve_anchored(
        &mut self,
        groups: &[usize],
        solved: &[bool],
        permutation: &mut Permutation,
    ) -> Result<(), NotFinite> {
        if let Some(experts) = self.experts_of(groups) {
            return self
                .visit_experts(experts, Some(solved), permutation)
                .map(drop);
        }
        let matrices: Vec<Arc<Vec<f32>>> = groups
            .iter()
            .map(|&group| self.anchored_matrix(group, permutation, solved))
            .collect();
        let &[group] = groups else {
            return self.arrange(&matrices, groups, permutation).map(drop);
        };

        let found = self.assign(group, &matrices[0], permutation.sigma(group))?;
        if found.gains_over(permutation.sigma(group), &matrices[0]) {
            permutation.set(group, found.sigma);
        }
        Ok(())
    }

    pub(super) fn anchored_matrix(
        &mut self,
        group: usize,
        permutation: &Permutation,
        solved: &[bool],
    ) -> Arc<Vec<f32>> {
        let Self {
            matrices,
            pairs,
            profiler,
            ..
        } = self;
        profiler.time(Work::Similarity, || {
            matrices.of_anchored_members(group, permutation, pairs.as_slice(), solved)
        })
    }
}
