//! Experts: whole tensors change places, as their router's outputs do, and inside each its hidden units.
//!
//! Target expert `j` is made of source expert `σ[j]`, `σ` of the group [`Experts::order`]; its hidden unit
//! `u` of that expert's unit `τ_j[u]`, `τ_j` of the target expert's own group. The orders of a layer form a
//! wreath product: which τ of a permutation comes first depends on its σ.

use std::collections::BTreeSet;

use super::{
    Symmetry,
    spaces::{ExpertSpaces, Space, Spaces},
};
use crate::network::{Instruction, Layer, Program, program::layer};

/// A layer whose experts may change places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experts {
    /// The group of their order; the router's outputs are its members.
    pub order: usize,
    /// The group of each expert's hidden units; none where there is a single unit.
    pub hidden: Vec<usize>,
    /// The tensors of each expert, in the same order for all.
    pub tensors: Vec<Vec<String>>,
}

impl Experts {
    /// Its groups, in order.
    pub fn groups(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = self.hidden.iter().copied().chain([self.order]).collect();
        groups.sort_unstable();
        groups
    }
}

/// Where an expert's tensor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In [`Symmetry::experts`].
    layer: usize,
    expert: usize,
    /// Among the expert's tensors.
    tensor: usize,
}

impl Symmetry {
    /// The tensor of another expert that does what this one does; `None` where no expert that moves has it.
    pub(in crate::symmetry) fn counterpart(&self, name: &str, expert: usize) -> Option<&str> {
        let place = self.places.get(name)?;
        Some(&self.experts[place.layer].tensors[expert][place.tensor])
    }

    /// The group of its experts' order, and which of them has a tensor; `None` where it follows no order.
    pub(in crate::symmetry) fn ordered(&self, name: &str) -> Option<(usize, usize)> {
        let place = self.places.get(name)?;
        Some((self.experts[place.layer].order, place.expert))
    }

    /// The same with what experts may change places.
    pub(super) fn with_experts(mut self, experts: Vec<Experts>) -> Self {
        for (layer, one) in experts.iter().enumerate() {
            for (expert, names) in one.tensors.iter().enumerate() {
                self.places
                    .extend(names.iter().enumerate().map(|(tensor, name)| {
                        (
                            name.clone(),
                            Place {
                                layer,
                                expert,
                                tensor,
                            },
                        )
                    }));
            }
        }
        Self { experts, ..self }
    }
}

impl Spaces {
    /// Opens the spaces of a layer of experts, given that of its router's logits.
    pub(super) fn experts(
        &mut self,
        node: &Instruction,
        layer: &layer::Experts,
        logits: Option<Space>,
    ) {
        let size = layer.hidden();
        let hidden = layer
            .experts
            .iter()
            .map(|_| Space {
                class: self.open(size),
                size,
            })
            .collect();
        let mut tensors = vec![Vec::new(); layer.experts.len()];

        for param in &node.params {
            if let Some(expert) = param.expert {
                tensors[expert].push(param.name.clone());
            }
        }

        let order = logits.map_or_else(|| self.open(layer.experts.len()), |space| space.class);
        self.of_experts.push(ExpertSpaces {
            order,
            hidden,
            tensors,
            is_ordered: true,
        });
    }

    /// The spaces inside a node: the hidden ones of its experts, or that of its heads, one entry each.
    pub(super) fn hidden(&self, node: &Instruction) -> Vec<Space> {
        match &node.layer {
            Layer::Experts(_) => {
                let last = self.of_experts.last();
                last.map(|experts| experts.hidden.clone())
                    .unwrap_or_default()
            }
            Layer::Attention(_) => {
                let last = self.heads.last();
                last.map(|one| Space {
                    class: one.classes[0],
                    size: one.heads,
                })
                .into_iter()
                .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Fixes the order of experts that share their router's outputs with others, or a tensor with another node.
    pub(super) fn settle_experts(&mut self, program: &Program) {
        let shared = shared_tensors(program);
        for position in 0..self.of_experts.len() {
            let ExpertSpaces {
                order,
                hidden,
                tensors,
                ..
            } = &self.of_experts[position];
            let root = self.find(*order);
            let alone = self
                .of_experts
                .iter()
                .filter(|other| self.find(other.order) == root);
            let is_ordered = self.units[root] == hidden.len()
                && !self.parts.contains_key(&root)
                && alone.count() == 1
                && !tensors
                    .iter()
                    .flatten()
                    .any(|name| shared.contains(name.as_str()));
            if !is_ordered {
                self.of_experts[position].is_ordered = false;
                self.fixed[root] = true;
            }
        }
    }
}

/// Tensors that more than one node reads.
fn shared_tensors(program: &Program) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    program
        .params()
        .map(|param| param.name.as_str())
        .filter(|name| !seen.insert(*name))
        .collect()
}
