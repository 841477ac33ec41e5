//! How well pairs of tensor sets match: figures over a kind of pairs, and over each group's tensors.
//!
//! They are made of sums over single tensors. What no permutation changes is summed once, when a pair
//! comes in; the products with a permuted source are those that a descent has formed anyway.

use serde::Serialize;

use super::{Permutation, Symmetry, similarity::Pair};
use crate::{network::Role, tensors::InnerProducts};

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

/// A permuted source: its products with the target, and what it was permuted by.
#[derive(Clone, Copy)]
pub(super) struct Moved<'m> {
    pub products: &'m Products,
    pub permutation: &'m Permutation,
}

/// What is known of a pair whatever the permutation.
#[derive(Debug)]
pub(super) struct Known {
    pub kind: Kind,
    /// By tensor: of the target and the source at identity.
    pub sums: Vec<(String, InnerProducts)>,
}

impl Known {
    pub fn of(kind: Kind, pair: &Pair) -> Self {
        let sums = pair.target.iter().filter_map(|(name, target)| {
            let source = pair.source.get(name)?;
            Some((name.to_owned(), target.inner_products(source)))
        });
        Self {
            kind,
            sums: sums.collect(),
        }
    }

    /// `‖source‖²` of a tensor.
    fn source_square(&self, name: &str) -> f64 {
        let found = self
            .sums
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.map_or(0.0, |at| self.sums[at].1.squares[1])
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
    /// `‖target‖²`
    target: f64,
    /// `‖source‖²`: of another expert afterwards, where experts change places.
    sources: [f64; 2],
}

impl GroupSums {
    fn add(&mut self, sums: &InnerProducts, product: f64, moved: f64) {
        let [target, source] = sums.squares;
        self.target += target;
        for side in 0..2 {
            self.products[side] += [sums.product, product][side];
            self.sources[side] += [source, moved][side];
        }
    }

    fn cosines(&self) -> [f64; 2] {
        [0, 1].map(|side| {
            let norm = f64::sqrt(self.target * self.sources[side]);
            if norm > 0.0 {
                self.products[side] / norm
            } else {
                0.0
            }
        })
    }
}

impl Fit {
    /// Over the pairs of a kind, with their products; `None` where there is no such pair.
    pub(super) fn of(
        kind: Kind,
        symmetry: &Symmetry,
        known: &[Known],
        moved: Moved,
    ) -> Option<Self> {
        let Moved {
            products,
            permutation,
        } = moved;
        let mut fit = Self::default();
        let mut groups = vec![GroupSums::default(); symmetry.groups.len()];
        let mut some = false;

        for (known, products) in known.iter().zip(products).filter(|(k, _)| k.kind == kind) {
            some = true;
            fit.bound += known.bound();
            fit.objective += products.iter().sum::<f64>();
            fit.objective_at_identity += known.sums.iter().map(|(_, s)| s.product).sum::<f64>();
            for ((name, sums), &product) in known.sums.iter().zip(products) {
                let source = permutation.source(symmetry, name);
                let square = if source == name {
                    sums.squares[1]
                } else {
                    known.source_square(source)
                };
                for group in groups_of(symmetry, name) {
                    groups[group].add(sums, product, square);
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
    let axes = symmetry
        .axes(name)
        .filter(|(member, _)| member.role == Role::Learned);
    let inside = symmetry.grouped(name).map(|weight| weight.inputs);
    let mut groups: Vec<usize> = axes.map(|(_, group)| group).chain(inside).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
