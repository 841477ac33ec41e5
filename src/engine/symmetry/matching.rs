//! Maximises `Σ_t ⟨target_t, π source_t⟩` over a graph's permutation group.
//!
//! π is orthogonal, so the maximum is also the least-squares match
//! `min_π Σ_t ‖target_t − π source_t‖²` of Chijiwa (ICLR 2024, section 3) and, with one pair of
//! parameters, the weight matching of Git Re-Basin (ICLR 2023, section 3.2).
//!
//! - `pairs`: the pairs of tensor sets and the objective.
//! - `matrices`: `A_g` of every group, kept from one visit to the next.
//! - `descent`: coordinate descent, one group at a time.
//! - `experts`: the order of a layer's experts, and of the units of each.
//! - `grouped`: the order of a convolution's groups, and of the channels inside each.
//! - `anchored`: where a descent starts.
//! - `stages`: how a descent that may be broken off is followed and resumed.

mod anchored;
mod descent;
mod experts;
mod grouped;
mod matrices;
mod pairs;
mod stages;

use rand::Rng;

use super::{
    assignment::{Certificate, NotFinite, Prices},
    fit::{Fit, Kind, Products},
    groups::Symmetry,
    permutation::Permutation,
};
use crate::{
    execution::Executor,
    profiler::{Profiler, Work},
    tensors::Checkpoint,
};
use matrices::Matrices;
use pairs::Pairs;

pub use experts::MATCHED_EXPERTS;
pub use matrices::MATRIX_CACHE_BYTES;
pub use stages::{Stage, Stages};

/// Where a descent starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    From(&'a Permutation),
    Anchored,
    /// Whichever of those given and the anchored start scores highest.
    Best(&'a [&'a Permutation]),
}

/// The end of a descent.
#[derive(Clone, Debug)]
pub struct Solution {
    pub permutation: Permutation,
    /// `Σ_t ⟨target_t, π source_t⟩` over all learned tensors of all pairs, in f64.
    pub objective: f64,
    products: Products,
    pub sweeps: usize,
    /// For each group the proof that its σ is optimal *given the others*; none where the objective
    /// is quadratic in σ. Jointly the solution may still be improved.
    pub certificates: Vec<Option<Certificate>>,
}

/// Pairs of tensor sets, and what has been computed from them.
#[derive(Debug)]
pub struct Matcher<'a> {
    symmetry: &'a Symmetry,
    profiler: &'a Profiler,
    pairs: Pairs<'a>,
    matrices: Matrices<'a>,
    prices: Vec<Prices>,
}

impl<'a> Matcher<'a> {
    /// Matrix products run where the executor runs.
    pub fn new(symmetry: &'a Symmetry, executor: &Executor, profiler: &'a Profiler) -> Self {
        Self {
            symmetry,
            profiler,
            pairs: Pairs::new(symmetry),
            matrices: Matrices::new(symmetry, executor.clone()),
            prices: vec![Prices::default(); symmetry.groups.len()],
        }
    }

    /// Adds a pair; both name the graph's learned tensors (others are ignored).
    pub fn push(&mut self, kind: Kind, target: Checkpoint, source: Checkpoint) {
        let Self {
            pairs, profiler, ..
        } = self;
        profiler.time(Work::Similarity, || pairs.push(kind, target, source));
    }

    /// Forgets the pairs, but not what helps to solve for similar ones.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.matrices.clear();
    }

    /// What helps to solve for similar pairs: prices of every group's units.
    pub fn prices(&self) -> &[Prices] {
        &self.prices
    }

    /// Takes the prices of another matcher of this symmetry.
    ///
    /// # Panics
    /// When they are of another number of groups.
    pub fn start_from(&mut self, prices: Vec<Prices>) {
        assert_eq!(
            prices.len(),
            self.symmetry.groups.len(),
            "prices of every group"
        );
        self.prices = prices;
    }

    /// Descends from `start` until a sweep moves nothing.
    ///
    /// # Errors
    /// When a pair holds values that are not finite.
    pub fn solve(&mut self, start: Start, rng: &mut impl Rng) -> Result<Solution, NotFinite> {
        self.solve_in_stages(
            start,
            rng,
            Stages {
                from: None,
                on_stage: &|_| Ok(()),
            },
        )
    }

    /// As [`Matcher::solve`], for descents that may be broken off: hears of every group or attention
    /// that has been visited, and goes on from where an earlier descent of these pairs, from this
    /// start and in this order, was then. The end is that of one descent, up to the rounding of
    /// matrices that are built anew.
    ///
    /// # Errors
    /// When a pair holds values that are not finite, and what `on_stage` refuses with.
    pub fn solve_in_stages<E: From<NotFinite>>(
        &mut self,
        start: Start,
        rng: &mut impl Rng,
        stages: Stages<E>,
    ) -> Result<Solution, E> {
        let Stages { from, on_stage } = stages;
        let from = from.filter(|stage| stage.fits(self.symmetry));
        let at = match (from, start) {
            (Some(stage), _) if stage.anchoring.is_none() => stage,
            (_, Start::From(permutation)) => Stage::sweeping(self.symmetry, permutation.clone()),
            (from, Start::Anchored) => self.anchored(Stages { from, on_stage })?,
            (from, Start::Best(given)) => self.best(given, Stages { from, on_stage })?,
        };

        let Stage {
            permutation,
            sweeps,
            certificates,
            ..
        } = self.descend(at, rng, on_stage)?;

        let products = self.products(&permutation);
        let objective = products.iter().flatten().sum();
        Ok(Solution {
            permutation,
            objective,
            products,
            sweeps,
            certificates,
        })
    }

    /// `Σ_t ⟨target_t, π source_t⟩` over the learned tensors.
    pub fn objective(&self, permutation: &Permutation) -> f64 {
        self.products(permutation).iter().flatten().sum()
    }

    /// `Σ_t ‖target_t‖ ‖source_t‖`: what the objective would be if every pair were parallel.
    pub fn bound(&self) -> f64 {
        self.pairs.bound()
    }

    /// How well the pairs of a kind match by a solution for the present pairs; `None` where there is
    /// no such pair.
    pub fn fit(&self, kind: Kind, solution: &Solution) -> Option<Fit> {
        self.pairs
            .fit(kind, &solution.products, &solution.permutation)
    }

    fn products(&self, permutation: &Permutation) -> Products {
        self.profiler
            .time(Work::Similarity, || self.pairs.products(permutation))
    }
}

#[cfg(test)]
mod tests;
