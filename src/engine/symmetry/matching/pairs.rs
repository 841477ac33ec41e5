//! The pairs of tensor sets, and the objective over them.

use crate::{
    network::Role,
    symmetry::{
        fit::{Fit, Kind, Known, Moved, Products},
        groups::{Member, Symmetry},
        permutation::Permutation,
        similarity::Pair,
    },
    tensors::{Checkpoint, HostTensor},
};

/// Pairs `(target_t, source_t)` of the graph's learned tensors.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    symmetry: &'a Symmetry,
    all: Vec<Pair>,
    /// Of the pairs, in order.
    known: Vec<Known>,
}

/// One tensor of a pair.
struct Matched<'p> {
    name: &'p str,
    target: &'p HostTensor,
    source: &'p HostTensor,
}

impl<'a> Pairs<'a> {
    pub fn new(symmetry: &'a Symmetry) -> Self {
        Self {
            symmetry,
            all: Vec::new(),
            known: Vec::new(),
        }
    }

    pub fn push(&mut self, kind: Kind, target: Checkpoint, source: Checkpoint) {
        let [target, source] = [target, source].map(|side| self.symmetry.matched(side));
        let pair = Pair { target, source };
        self.known.push(Known::of(kind, &pair));
        self.all.push(pair);
    }

    pub fn clear(&mut self) {
        self.all.clear();
        self.known.clear();
    }

    pub fn as_slice(&self) -> &[Pair] {
        &self.all
    }

    /// `⟨target_t, π source_t⟩`, tensor by tensor.
    pub fn products(&self, permutation: &Permutation) -> Products {
        self.all
            .iter()
            .zip(&self.known)
            .map(|(pair, known)| self.products_of(pair, known, permutation))
            .collect()
    }

    fn products_of(&self, pair: &Pair, known: &Known, permutation: &Permutation) -> Vec<f64> {
        known
            .sums
            .iter()
            .map(|(name, _)| {
                let source = &pair.source[permutation.source(self.symmetry, name)];
                permutation.inner(self.symmetry, name, source, &pair.target[name])
            })
            .collect()
    }

    /// `Σ_t ‖target_t‖ ‖source_t‖`
    pub fn bound(&self) -> f64 {
        self.known.iter().map(Known::bound).sum()
    }

    /// How well the pairs of a kind match, given their products; `None` where there is no such pair.
    pub fn fit(&self, kind: Kind, products: &Products, permutation: &Permutation) -> Option<Fit> {
        Fit::of(
            kind,
            self.symmetry,
            &self.known,
            Moved {
                products,
                permutation,
            },
        )
    }

    /// The objective over the tensors of one group.
    pub fn objective_of(&self, group: usize, permutation: &Permutation) -> f64 {
        self.all
            .iter()
            .flat_map(|pair| self.matched(group, pair, permutation))
            .map(
                |Matched {
                     name,
                     target,
                     source,
                 }| { permutation.inner(self.symmetry, name, source, target) },
            )
            .sum()
    }

    /// A group's learned tensors in a pair, each once.
    fn matched<'p>(
        &'p self,
        group: usize,
        pair: &'p Pair,
        permutation: &Permutation,
    ) -> Vec<Matched<'p>> {
        let mut names: Vec<&str> = self
            .learned(group)
            .map(|member| member.tensor.as_str())
            .collect();
        names.dedup();

        names
            .into_iter()
            .filter_map(|name| {
                let source = permutation.source(self.symmetry, name);
                let (target, source) = (pair.target.get(name)?, pair.source.get(source)?);
                Some(Matched {
                    name,
                    target,
                    source,
                })
            })
            .collect()
    }

    /// Groups that share a tensor with this one, itself included where it stands on both axes.
    pub fn neighbours(&self, group: usize) -> impl Iterator<Item = usize> + use<'a> {
        let symmetry = self.symmetry;
        self.learned(group).flat_map(move |member| {
            let others = symmetry.axes(&member.tensor);
            others
                .filter(move |(m, _)| m.axis != member.axis)
                .map(|(_, group)| group)
        })
    }

    fn learned(&self, group: usize) -> impl Iterator<Item = &'a Member> + use<'a> {
        self.symmetry.groups[group]
            .members
            .iter()
            .filter(|m| m.role == Role::Learned)
    }
}
