//! The matrix `A_g` of a group: how well each source unit fits each target unit.
//!
//! `A_g[j, i] = Σ_t Σ_members M(target_t)[j] · M(π_{other axes} source_t)[i]`, where `M` moves the
//! member's units first and flattens the rest. It is a sum of products over `t`, not a product of
//! sums. Kept from solve to solve: a new pair adds its product only, and where a neighbouring
//! group's σ changed at units J, the old pairs are corrected by a product of inner size ∝ |J|.

mod block;
mod product;

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{
    groups::{Group, Member, Symmetry},
    permutation::Permutation,
};
use crate::{
    execution::{Executor, floats},
    network::Role,
    tensors::{Checkpoint, HostTensor},
};

pub use product::MAX_BLOCK_ELEMENTS;
use product::{Change, Product, Sides};

/// Two sets of tensors that a permutation should bring together.
#[derive(Clone, Debug)]
pub struct Pair {
    pub target: Checkpoint,
    pub source: Checkpoint,
}

/// `A_g` as far as it has been built.
#[derive(Clone, Debug, Default)]
pub struct Similarity {
    /// `[units, units]`, row: target unit, column: source unit.
    matrix: Option<Matrix>,
    /// One for each coupling of the group, usable or not.
    built: Vec<Built>,
}

/// A matrix, row-major, where its products are computed.
#[derive(Clone, Debug)]
enum Matrix {
    Host(Arc<Vec<f32>>),
    Device(Box<Tensor<2>>),
}

/// What of a member is in the matrix.
#[derive(Clone, Debug, Default)]
struct Built {
    /// The first so many pairs.
    pairs: usize,
    /// σ of the group on the member's other axis at that time.
    neighbour: Vec<u32>,
    /// The source's expert that the tensor was compared with, where experts change places.
    expert: Option<usize>,
}

/// Which tensor of the source a target's is compared with.
#[derive(Clone, Copy)]
enum Compared<'p> {
    /// The one that π puts in its place.
    Permuted(&'p Permutation),
    /// That of an expert.
    Expert(usize),
}

impl Compared<'_> {
    fn expert(self, symmetry: &Symmetry, name: &str) -> Option<usize> {
        match self {
            Self::Permuted(permutation) => permutation.source_expert(symmetry, name),
            Self::Expert(expert) => Some(expert),
        }
    }

    fn name<'n>(self, symmetry: &'n Symmetry, name: &'n str) -> &'n str {
        let expert = self.expert(symmetry, name);
        expert
            .and_then(|expert| symmetry.counterpart(name, expert))
            .unwrap_or(name)
    }
}

/// A member with one range of what lies on the other axis of its tensor.
struct Coupling<'a> {
    member: &'a Member,
    other: Option<Neighbour<'a>>,
}

/// What lies on another axis of a member's tensor.
#[derive(Clone, Copy)]
struct Neighbour<'a> {
    member: &'a Member,
    group: usize,
}

impl Similarity {
    /// Brings `A_g` up to date with the pairs and the neighbours' present σ.
    pub fn update(&mut self, task: &Task, permutation: &Permutation, pairs: &[Pair]) {
        if self.is_of_other_experts(&task.couplings(), task, permutation) {
            self.clear();
        }
        self.update_with(task, permutation, pairs, Compared::Permuted(permutation));
    }

    /// `A_g` of the hidden units of a target's expert and those of a source's, whose experts are in any order.
    pub fn between_experts(
        task: &Task,
        permutation: &Permutation,
        pairs: &[Pair],
        source: usize,
    ) -> Arc<Vec<f32>> {
        let mut similarity = Self::default();
        similarity.update_with(task, permutation, pairs, Compared::Expert(source));
        similarity.values(task.group().units)
    }

    fn update_with(
        &mut self,
        task: &Task,
        permutation: &Permutation,
        pairs: &[Pair],
        compared: Compared,
    ) {
        let couplings = task.couplings();
        self.built.resize(couplings.len(), Built::default());

        let mut product = Product::new(task, &mut self.matrix);
        for (t, pair) in pairs.iter().enumerate() {
            for (coupling, built) in couplings.iter().zip(&self.built) {
                if !task.is_usable(coupling) {
                    continue;
                }
                let source = compared.name(task.symmetry, &coupling.member.tensor);
                let Some(sides) = Sides::of(coupling.member, pair, source) else {
                    continue;
                };
                match coupling.other {
                    None if t < built.pairs => {}
                    None => product.add(coupling.member, sides),
                    Some(neighbour) => {
                        let sigma = permutation.sigma(neighbour.group);
                        let old = (t < built.pairs).then_some(built.neighbour.as_slice());
                        product.add_changed(
                            coupling.member,
                            sides,
                            &Change {
                                axis: neighbour.member,
                                sigma,
                                old,
                            },
                        );
                    }
                }
            }
        }

        product.accumulate();

        for (coupling, built) in couplings.iter().zip(&mut self.built) {
            if !task.is_usable(coupling) {
                continue;
            }
            built.pairs = pairs.len();
            built.expert = compared.expert(task.symmetry, &coupling.member.tensor);
            if let Some(neighbour) = coupling.other {
                built.neighbour = permutation.sigma(neighbour.group).to_vec();
            }
        }
    }

    /// How much an update has to multiply: columns of a product, over all pairs.
    pub fn outstanding(&self, task: &Task, permutation: &Permutation, pairs: &[Pair]) -> usize {
        let none = Built::default();
        let couplings = task.couplings();
        let is_kept = !self.is_of_other_experts(&couplings, task, permutation);

        couplings
            .into_iter()
            .enumerate()
            .filter(|(_, coupling)| task.is_usable(coupling))
            .map(|(at, coupling)| {
                let built = self.built.get(at).filter(|_| is_kept).unwrap_or(&none);
                let tensor = pairs
                    .first()
                    .and_then(|pair| pair.target.get(&coupling.member.tensor));
                let all = tensor.map_or(0, HostTensor::len) / task.group().units;
                let (units, moved) = coupling.moved(built, permutation);
                all * (pairs.len() - built.pairs) + all / units * moved * built.pairs
            })
            .sum()
    }

    /// Whether some tensor was compared with that of another expert than now takes its place.
    fn is_of_other_experts(
        &self,
        couplings: &[Coupling],
        task: &Task,
        permutation: &Permutation,
    ) -> bool {
        let Task { symmetry, .. } = task;
        let built = couplings
            .iter()
            .zip(&self.built)
            .filter(|(_, built)| built.pairs > 0);
        built.into_iter().any(|(coupling, built)| {
            built.expert != permutation.source_expert(symmetry, &coupling.member.tensor)
        })
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The matrix, row-major. One that no member contributed to is zero: no unit fits better than
    /// another.
    ///
    /// # Panics
    /// When the device has failed.
    pub fn values(&self, units: usize) -> Arc<Vec<f32>> {
        match &self.matrix {
            Some(Matrix::Host(values)) => values.clone(),
            Some(Matrix::Device(tensor)) => Arc::new(floats((**tensor).clone())),
            None => Arc::new(vec![0.0; units * units]),
        }
    }
}

impl Coupling<'_> {
    /// Units on the other axis, and how many of them have moved since it was built.
    fn moved(&self, built: &Built, permutation: &Permutation) -> (usize, usize) {
        let Some(neighbour) = self.other else {
            return (1, 0);
        };

        let sigma = permutation.sigma(neighbour.group);
        let old = built.neighbour.as_slice();

        (
            sigma.len(),
            if old.is_empty() {
                0
            } else {
                changed(sigma, old).len()
            },
        )
    }
}

/// A group of a symmetry, and what multiplies its matrices.
pub struct Task<'a> {
    pub symmetry: &'a Symmetry,
    pub group: usize,
    pub executor: &'a Executor,
    /// Only members whose other axes are fixed or belong to these groups take part; `None`: all.
    pub solved: Option<&'a [bool]>,
}

impl<'a> Task<'a> {
    fn group(&self) -> &'a Group {
        &self.symmetry.groups[self.group]
    }

    /// The learned members with their other axes. Statistics have no say, nor has what units share.
    fn couplings(&self) -> Vec<Coupling<'a>> {
        let mut couplings = Vec::new();
        let members = self.group().members.iter();
        let members = members.filter(|m| m.role == Role::Learned && m.share == 1);
        // What two spaces of one convolution have in common is looked at with both of them.
        for member in members.filter(|m| self.symmetry.grouped(&m.tensor).is_none()) {
            let axes = self.symmetry.axes(&member.tensor);
            let others: Vec<Coupling> = axes
                .filter(|(other, _)| other.axis != member.axis)
                .map(|(other, group)| Neighbour {
                    member: other,
                    group,
                })
                .map(|other| Coupling {
                    member,
                    other: Some(other),
                })
                .collect();
            if others.is_empty() {
                couplings.push(Coupling {
                    member,
                    other: None,
                });
            }
            couplings.extend(others);
        }

        couplings
    }

    fn is_usable(&self, coupling: &Coupling) -> bool {
        match (self.solved, coupling.other) {
            (Some(solved), Some(other)) => solved[other.group],
            _ => true,
        }
    }

    /// Whether any member takes part.
    pub fn is_anchored(&self) -> bool {
        self.couplings()
            .iter()
            .any(|coupling| self.is_usable(coupling))
    }

    /// Whether some tensor has this group on both its axes: the objective is then quadratic in σ.
    pub fn is_quadratic(&self) -> bool {
        let couplings = self.couplings();
        couplings
            .iter()
            .any(|one| one.other.is_some_and(|other| other.group == self.group))
    }
}

/// The units at which two σ differ.
fn changed(sigma: &[u32], old: &[u32]) -> Vec<u32> {
    (0u32..)
        .zip(sigma.iter().zip(old))
        .filter(|(_, (a, b))| a != b)
        .map(|(u, _)| u)
        .collect()
}
