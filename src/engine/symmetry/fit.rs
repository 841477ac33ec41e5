//! How well pairs of tensor sets match: figures over a kind of pairs, and over each group's tensors.
//!
//! They are made of sums over single tensors. What no permutation changes is summed once, when a pair
//! comes in; the products with a permuted source are those that a descent has formed anyway.

use serde::Serialize;

use super::{Symmetry, similarity::Pair};
use crate::network::Role;

/// What a pair is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is to be matched.
    Matched,
    /// It settles what the others leave open; its figures are its own.
    Anchor,
}

/// How well the pairs of a kind match.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fit {
    /// `Σ⟨target, π source⟩`
    pub objective: f64,
    /// The same at the identity.
    pub objective_at_identity: f64,
    /// `Σ‖target‖‖source‖`; objective / bound is a mean cosine.
    pub bound: f64,
    /// For each group the cosine of target and source over its learned tensors, all pairs taken
    /// together; 0 where either side vanishes.
    pub cosines_at_identity: Vec<f64>,
    /// The same of target and permuted source.
    pub cosines: Vec<f64>,
}

/// `⟨target, π source⟩` of each pair, tensor by tensor in the order of [`Known::sums`].
pub(super) type Products = Vec<Vec<f64>>;

/// What is known of a pair whatever the permutation.
#[derive(Debug)]
pub(super) struct Known {
    pub kind: Kind,
    pub sums: Vec<(String, Sums)>,
}

/// Sums over one tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// `⟨target, source⟩`
    pub at_identity: f64,
    /// `‖target‖²` and `‖source‖²`.
    pub squares: [f64; 2],
}

impl Known {
    pub fn of(kind: Kind, pair: &Pair) -> Self {
        let sums = pair.target.iter().filter_map(|(name, target)| {
            let source = pair.source.get(name)?;
            let squares = [target.inner(target), source.inner(source)];
            Some((name.to_owned(), Sums { at_identity: source.inner(target), squares }))
        });
        Self { kind, sums: sums.collect() }
    }

    /// `‖target‖ ‖source‖`
    pub fn bound(&self) -> f64 {
        let [target, source] =
            [0, 1].map(|side| self.sums.iter().map(|(_, s)| s.squares[side]).sum::<f64>());
        target.sqrt() * source.sqrt()
    }
}

/// Sums over the tensors of one group, before and after.
#[derive(Clone, Copy, Default)]
struct GroupSums {
    products: [f64; 2],
    squares: [f64; 2],
}

impl GroupSums {
    fn add(&mut self, sums: &Sums, product: f64) {
        for side in 0..2 {
            self.products[side] += [sums.at_identity, product][side];
            self.squares[side] += sums.squares[side];
        }
    }

    fn cosines(&self) -> [f64; 2] {
        let norm = f64::sqrt(self.squares[0] * self.squares[1]);
        self.products.map(|product| if norm > 0.0 { product / norm } else { 0.0 })
    }
}

impl Fit {
    /// Over the pairs of a kind, with their products; `None` where there is no such pair.
    pub(super) fn of(
        kind: Kind,
        symmetry: &Symmetry,
        known: &[Known],
        products: &Products,
    ) -> Option<Self> {
        let mut fit = Self::default();
        let mut groups = vec![GroupSums::default(); symmetry.groups.len()];
        let mut some = false;

        for (known, products) in known.iter().zip(products).filter(|(k, _)| k.kind == kind) {
            some = true;
            fit.bound += known.bound();
            fit.objective += products.iter().sum::<f64>();
            fit.objective_at_identity += known.sums.iter().map(|(_, s)| s.at_identity).sum::<f64>();
            for ((name, sums), &product) in known.sums.iter().zip(products) {
                for group in groups_of(symmetry, name) {
                    groups[group].add(sums, product);
                }
            }
        }

        let cosines = groups.iter().map(GroupSums::cosines);
        (fit.cosines_at_identity, fit.cosines) = cosines.map(|[a, b]| (a, b)).unzip();
        some.then_some(fit)
    }
}

/// The groups that a learned tensor belongs to, each once.
fn groups_of(symmetry: &Symmetry, name: &str) -> Vec<usize> {
    let axes = symmetry.axes(name).filter(|(member, _)| member.role == Role::Learned);
    let mut groups: Vec<usize> = axes.map(|(_, group)| group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
