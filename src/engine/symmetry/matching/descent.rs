//! Coordinate descent over the groups.
//!
//! Git Re-Basin (Ainsworth, Hayase and Srinivasa, ICLR 2023), section 3.2 and algorithm 1, for a sum
//! over pairs `t` as in Chijiwa (ICLR 2024, section 3), and over any graph:
//!
//! ```text
//! maximise Σ_t ⟨target_t, π source_t⟩          over π = (σ_g), one order of units for each group g
//! repeat
//!     for every group g in random order
//!         A_g ← Σ_t Σ_members M(target_t) M(π_{other axes} source_t)ᵀ
//!         σ_g ← argmax_σ Σ_j A_g[j, σ(j)]      a linear assignment problem
//! until no σ_g changes
//! ```
//!
//! Ours: σ is replaced only for a gain above rounding. A group whose neighbours did not move is not
//! visited again. An attention's groups are solved together, and so are those of a layer's experts
//! ([`experts`](super::experts)) and the channels of a convolution in groups ([`grouped`](super::grouped)); and a group that stands on both axes of
//! a tensor makes the objective quadratic in σ, so that its step is checked.

use std::sync::Arc;

use rand::{Rng, seq::SliceRandom};

use super::{
    Matcher,
    stages::{SWEEP_LIMIT, Stage},
};
use crate::{
    profiler::Work,
    symmetry::{
        assignment::{self, Assignment, Certificate, NotFinite},
        permutation::Permutation,
    },
};

/// A gain below this share of `Σ_j max_i |A[j, i]|` is rounding.
pub(super) const RELATIVE_GAIN: f64 = 1e-7;

impl Matcher<'_> {
    /// Sweeps over the groups until a sweep moves nothing.
    pub(super) fn descend<E: From<NotFinite>>(
        &mut self,
        mut at: Stage,
        rng: &mut impl Rng,
        on_stage: &dyn Fn(&Stage) -> Result<(), E>,
    ) -> Result<Stage, E> {
        let blocks = self.symmetry.blocks();
        // A descent that goes on draws the orders of earlier sweeps again.
        let mut order = Vec::new();
        for _ in 0..at.sweeps {
            order = shuffled(blocks.len(), rng);
        }

        loop {
            if at.done == order.len() {
                if at.sweeps == SWEEP_LIMIT || !at.dirty.contains(&true) {
                    return Ok(at);
                }
                order = shuffled(blocks.len(), rng);
                (at.sweeps, at.done) = (at.sweeps + 1, 0);
            }

            let block = order[at.done];
            at.done += 1;
            if std::mem::take(&mut at.dirty[block]) {
                self.visit_block(&blocks, block, &mut at)?;
                on_stage(&at)?;
            }
        }
    }

    /// Solves a group, or an attention's groups, with the others held. Blocks that share a tensor
    /// with one that moved are to be visited again.
    fn visit_block(
        &mut self,
        blocks: &[Vec<usize>],
        block: usize,
        at: &mut Stage,
    ) -> Result<(), NotFinite> {
        let groups = &blocks[block];
        let moved = if let Some(experts) = self.experts_of(groups) {
            self.visit_experts(experts, None, &mut at.permutation)?
        } else if let &[group] = groups.as_slice() {
            let visit = self.visit(group, &mut at.permutation)?;
            at.certificates[group] = visit.certificate;
            visit.moved
        } else {
            self.visit_attention(groups, &mut at.permutation)?
        };

        if moved {
            for neighbour in groups
                .iter()
                .flat_map(|&group| self.pairs.neighbours(group))
            {
                if let Some(block) = blocks.iter().position(|block| block.contains(&neighbour)) {
                    at.dirty[block] = true;
                }
            }
        }
        Ok(())
    }

    /// Solves one group with the others held.
    fn visit(&mut self, group: usize, permutation: &mut Permutation) -> Result<Visit, NotFinite> {
        let matrix = self.matrix(group, permutation);
        let quadratic = self.matrices.task(group, None).is_quadratic();
        let found = self.assign(group, &matrix, permutation.sigma(group))?;
        let gains = found.gains_over(permutation.sigma(group), &matrix);
        let certificate = (!quadratic).then_some(found.certificate);
        if !gains {
            return Ok(Visit {
                moved: false,
                certificate,
            });
        }

        let before = permutation.clone();
        permutation.set(group, found.sigma);
        if quadratic {
            let after = self.pairs.objective_of(group, permutation);
            if after <= self.pairs.objective_of(group, &before) {
                *permutation = before;
                return Ok(Visit {
                    moved: false,
                    certificate: None,
                });
            }
        }
        Ok(Visit {
            moved: true,
            certificate,
        })
    }

    /// Solves the groups of attentions with one order of heads together, with the others held; whether they moved.
    fn visit_attention(
        &mut self,
        groups: &[usize],
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let matrices: Vec<Arc<Vec<f32>>> = groups
            .iter()
            .map(|&group| self.matrix(group, permutation))
            .collect();
        self.arrange(&matrices, groups, permutation)
    }

    /// Puts the groups of such attentions in the best order for these matrices, if that gains anything.
    pub(super) fn arrange(
        &self,
        matrices: &[Arc<Vec<f32>>],
        groups: &[usize],
        permutation: &mut Permutation,
    ) -> Result<bool, NotFinite> {
        let mut tied = self.symmetry.tied_heads();
        let Some(attentions) = tied.find(|tied| tied.groups() == groups) else {
            return Ok(false);
        };
        if let Some(moved) = self.profiler.time(Work::Assignment, || {
            self.arrange_grouped(attentions, matrices, permutation)
        }) {
            return moved;
        }
        let current: Vec<&[u32]> = groups
            .iter()
            .map(|&group| permutation.sigma(group))
            .collect();
        let found = self
            .profiler
            .time(Work::Assignment, || attentions.solve(matrices, &current))?;

        let (mut gain, mut scale) = (0.0, 0.0);
        for (matrix, (group, sigma)) in matrices.iter().zip(&found) {
            gain += value(matrix, sigma) - value(matrix, permutation.sigma(*group));
            scale += largest(matrix, sigma.len());
        }
        if gain <= RELATIVE_GAIN * scale {
            return Ok(false);
        }

        found
            .into_iter()
            .for_each(|(group, sigma)| permutation.set(group, sigma));
        Ok(true)
    }

    /// `A_g`, up to date.
    pub(super) fn matrix(&mut self, group: usize, permutation: &Permutation) -> Arc<Vec<f32>> {
        let Self {
            matrices,
            pairs,
            profiler,
            ..
        } = self;
        profiler.time(Work::Similarity, || {
            matrices.of_all_members(group, permutation, pairs.as_slice())
        })
    }

    /// The best σ for a group's matrix, from its present one.
    pub(super) fn assign(
        &mut self,
        group: usize,
        matrix: &[f32],
        current: &[u32],
    ) -> Result<Assignment, NotFinite> {
        let prices = &mut self.prices[group];
        self.profiler.time(Work::Assignment, || {
            assignment::solve(matrix, current.len(), Some(current), Some(prices))
        })
    }
}

/// What a visit did to a group.
struct Visit {
    moved: bool,
    /// None where the objective is quadratic in σ.
    certificate: Option<Certificate>,
}

impl Assignment {
    /// Whether it beats the present σ by more than rounding.
    pub(super) fn gains_over(&self, current: &[u32], matrix: &[f32]) -> bool {
        let gain = self.value - value(matrix, current);
        gain > RELATIVE_GAIN * largest(matrix, current.len())
    }
}

fn shuffled(blocks: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..blocks).collect();
    order.shuffle(rng);
    order
}

/// `Σ_j A[j, σ[j]]`
pub(super) fn value(matrix: &[f32], sigma: &[u32]) -> f64 {
    let rows = matrix.chunks(sigma.len()).zip(sigma);
    rows.map(|(row, &column)| f64::from(row[column as usize]))
        .sum()
}

/// `Σ_j max_i |A[j, i]|`
fn largest(matrix: &[f32], units: usize) -> f64 {
    matrix
        .chunks(units)
        .map(|row| f64::from(row.iter().fold(0.0f32, |max, v| max.max(v.abs()))))
        .sum()
}
