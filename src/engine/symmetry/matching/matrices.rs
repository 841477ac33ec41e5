//! The matrices `A_g`, kept from one visit of a group to the next as far as there is room.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    execution::Executor,
    symmetry::{
        groups::Symmetry,
        permutation::Permutation,
        similarity::{Pair, Similarity, Task},
    },
};

/// Bytes of matrices that are kept from one visit of a group to the next; a matrix beyond them is
/// built anew at each.
pub const MATRIX_CACHE_BYTES: usize = 256 << 20;

/// `A_g` of every group, over all members and over those that anchor the group.
#[derive(Debug)]
pub(super) struct Matrices<'a> {
    symmetry: &'a Symmetry,
    executor: Executor,
    pub whole: Cache,
    anchored: Cache,
}

/// A matrix for each group.
#[derive(Debug)]
pub(super) struct Cache {
    pub by_group: Vec<Similarity>,
    /// Groups whose matrix is kept.
    fits: Vec<bool>,
}

impl Cache {
    fn new(symmetry: &Symmetry, bytes: usize) -> Self {
        // The matrices of an expert's hidden units are made for one pair of experts at a time.
        let of_experts: BTreeSet<usize> = symmetry
            .experts
            .iter()
            .flat_map(|experts| experts.hidden.iter().copied())
            .collect();
        let fits = symmetry
            .groups
            .iter()
            .enumerate()
            .scan(0, |sum, (position, group)| {
                *sum += if of_experts.contains(&position) {
                    0
                } else {
                    4 * group.units.pow(2)
                };
                Some(*sum <= bytes)
            });
        let by_group = symmetry.groups.iter().map(|_| Similarity::default());

        Self {
            by_group: by_group.collect(),
            fits: fits.collect(),
        }
    }

    fn clear(&mut self) {
        self.by_group.iter_mut().for_each(Similarity::clear);
    }
}

/// An expert of the target and one of the source.
#[derive(Clone, Copy, Debug)]
pub struct ExpertPair {
    /// The group of the target's hidden units.
    pub hidden: usize,
    /// The source's expert, by its number.
    pub source: usize,
}

impl<'a> Matrices<'a> {
    pub fn new(symmetry: &'a Symmetry, executor: Executor) -> Self {
        Self {
            symmetry,
            executor,
            whole: Cache::new(symmetry, MATRIX_CACHE_BYTES),
            anchored: Cache::new(symmetry, MATRIX_CACHE_BYTES / 2),
        }
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.whole.clear();
        self.anchored.clear();
    }

    /// `A_g` of the hidden units of two experts.
    pub fn between_experts(
        &self,
        experts: ExpertPair,
        permutation: &Permutation,
        pairs: &[Pair],
        solved: Option<&[bool]>,
    ) -> Arc<Vec<f32>> {
        let ExpertPair { hidden, source } = experts;
        Similarity::between_experts(&self.task(hidden, solved), permutation, pairs, source)
    }

    /// A group, of whose members those take part that `solved` groups anchor; `None`: all.
    pub fn task<'t>(&'t self, group: usize, solved: Option<&'t [bool]>) -> Task<'t> {
        Task {
            symmetry: self.symmetry,
            group,
            executor: &self.executor,
            solved,
        }
    }

    /// `A_g` over all members, up to date, `[units, units]` row-major.
    pub fn of_all_members(
        &mut self,
        group: usize,
        permutation: &Permutation,
        pairs: &[Pair],
    ) -> Arc<Vec<f32>> {
        let Self {
            symmetry,
            executor,
            whole,
            anchored,
        } = self;
        let task = Task {
            symmetry,
            group,
            executor,
            solved: None,
        };
        // The anchored start's matrix lacks members, but may be nearer in what it has.
        let (kept, start) = (&mut whole.by_group[group], &mut anchored.by_group[group]);
        let left = start.outstanding(&task, permutation, pairs);

        if left < kept.outstanding(&task, permutation, pairs) {
            // A single pair is what weight matching has, which starts once.
            *kept = if pairs.len() == 1 {
                std::mem::take(start)
            } else {
                start.clone()
            };
        }

        whole.updated(&task, permutation, pairs)
    }

    /// `A_g` over the members that `solved` groups anchor.
    pub fn of_anchored_members(
        &mut self,
        group: usize,
        permutation: &Permutation,
        pairs: &[Pair],
        solved: &[bool],
    ) -> Arc<Vec<f32>> {
        let Self {
            symmetry,
            executor,
            anchored,
            ..
        } = self;
        let task = Task {
            symmetry,
            group,
            executor,
            solved: Some(solved),
        };
        anchored.updated(&task, permutation, pairs)
    }
}

impl Cache {
    fn updated(&mut self, task: &Task, permutation: &Permutation, pairs: &[Pair]) -> Arc<Vec<f32>> {
        let similarity = &mut self.by_group[task.group];
        similarity.update(task, permutation, pairs);
        let values = similarity.values(task.symmetry.groups[task.group].units);
        if !self.fits[task.group] {
            similarity.clear();
        }
        values
    }
}
