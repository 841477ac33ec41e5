//! An element of a graph's permutation group.
//!
//! Convention, everywhere: `permuted[j] = source[σ[j]]`, the same gather on every axis that
//! follows the group.

use std::sync::Arc;

use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

mod blocks;

use super::{
    gather::{Offsets, along, gather, strides},
    groups::{Member, Symmetry},
};
use crate::symmetry::permuted_tensor::PermutedRows;
use crate::tensors::{CHUNK, Checkpoint, HostTensor};

/// One order of units for each group of a [`Symmetry`], in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permutation {
    sigmas: Vec<Vec<u32>>,
}

impl Permutation {
    pub fn identity(symmetry: &Symmetry) -> Self {
        Self {
            sigmas: symmetry
                .groups
                .iter()
                .map(|g| (0..g.units as u32).collect())
                .collect(),
        }
    }

    /// Uniformly random.
    pub fn random(symmetry: &Symmetry, rng: &mut impl Rng) -> Self {
        let mut permutation = Self::identity(symmetry);
        permutation
            .sigmas
            .iter_mut()
            .for_each(|sigma| sigma.shuffle(rng));
        for tied in symmetry.tied_heads() {
            for (group, sigma) in tied.random(rng) {
                permutation.set(group, sigma);
            }
        }

        permutation
    }

    /// The element with these σ, one per group; `None` where they are no bijections of the groups'
    /// units, or tear an attention's heads apart.
    pub fn from_sigmas(symmetry: &Symmetry, sigmas: Vec<Vec<u32>>) -> Option<Self> {
        Some(Self { sigmas }).filter(|permutation| permutation.fits(symmetry))
    }

    /// Whether it is an element of this symmetry's group.
    pub(super) fn fits(&self, symmetry: &Symmetry) -> bool {
        self.sigmas.len() == symmetry.groups.len()
            && self
                .sigmas
                .iter()
                .zip(&symmetry.groups)
                .all(|(s, g)| s.len() == g.units && is_bijection(s))
            && symmetry.tied_heads().all(|tied| tied.admits(&self.sigmas))
    }

    /// σ of a group: unit `j` of the result is unit `σ[j]` of the source.
    pub fn sigma(&self, group: usize) -> &[u32] {
        &self.sigmas[group]
    }

    /// Replaces σ of a group.
    ///
    /// # Panics
    /// When `sigma` has another length; debug builds check that it is a bijection.
    pub fn set(&mut self, group: usize, sigma: Vec<u32>) {
        assert_eq!(sigma.len(), self.sigmas[group].len(), "one entry a unit");
        debug_assert!(is_bijection(&sigma));
        self.sigmas[group] = sigma;
    }

    /// `self ∘ first`: applying the result is applying `first`, then `self`.
    #[must_use]
    pub fn compose(&self, symmetry: &Symmetry, first: &Self) -> Self {
        let outer = self.sigmas.iter().enumerate();
        let composed = outer.map(|(group, outer)| {
            let inner = &first.sigmas[self.source_group(symmetry, group)];
            outer.iter().map(|&j| inner[j as usize]).collect()
        });
        Self {
            sigmas: composed.collect(),
        }
    }

    #[must_use]
    pub fn inverse(&self, symmetry: &Symmetry) -> Self {
        let mut sigmas = vec![Vec::new(); self.sigmas.len()];
        for (group, sigma) in self.sigmas.iter().enumerate() {
            sigmas[self.source_group(symmetry, group)] = inverted(sigma);
        }
        Self { sigmas }
    }

    /// Where the units of a group come from: the hidden units of an expert from another's where experts
    /// change places, else the same group.
    fn source_group(&self, symmetry: &Symmetry, group: usize) -> usize {
        let place = symmetry.experts.iter().find_map(|experts| {
            let expert = experts.hidden.iter().position(|hidden| *hidden == group)?;
            Some((experts, expert))
        });
        place.map_or(group, |(experts, expert)| {
            experts.hidden[self.sigmas[experts.order][expert] as usize]
        })
    }

    /// The tensor of the source that a tensor is made from: another expert's where experts change places,
    /// else the one of its own name.
    pub fn source<'n>(&self, symmetry: &'n Symmetry, name: &'n str) -> &'n str {
        let from = self.source_expert(symmetry, name);
        from.and_then(|expert| symmetry.counterpart(name, expert))
            .unwrap_or(name)
    }

    /// The source's expert that a tensor comes from.
    pub(super) fn source_expert(&self, symmetry: &Symmetry, name: &str) -> Option<usize> {
        let (order, expert) = symmetry.ordered(name)?;
        Some(self.sigmas[order][expert] as usize)
    }

    /// Share of units that stay where they are, over all groups; 1 where there are none.
    pub fn fixed_points(&self) -> f64 {
        let units: usize = self.sigmas.iter().map(Vec::len).sum();
        let fixed: usize = self
            .sigmas
            .iter()
            .map(|s| (0u32..).zip(s).filter(|(j, i)| j == *i).count())
            .sum();

        if units == 0 {
            1.0
        } else {
            fixed as f64 / units as f64
        }
    }

    /// `π θ`: every tensor with its axes reordered, statistics included; the rest is shared.
    #[must_use]
    pub fn apply(&self, symmetry: &Symmetry, source: &Checkpoint) -> Checkpoint {
        source
            .iter()
            .map(|(name, _)| {
                let tensor = &source[self.source(symmetry, name)];
                (name.to_owned(), self.apply_to(symmetry, name, tensor))
            })
            .collect()
    }

    /// One tensor of the result, made from that of [`Permutation::source`]; lazy where that is.
    #[must_use]
    pub fn apply_to(&self, symmetry: &Symmetry, name: &str, tensor: &HostTensor) -> HostTensor {
        if let Some(weight) = symmetry.grouped(name) {
            return self.by_blocks(symmetry, name, weight, tensor);
        }
        if tensor.is_lazy() {
            return self.seen(symmetry, name, tensor);
        }
        let Some(axes) = self.axes(symmetry, name, tensor) else {
            return tensor.clone();
        };
        let values = gather(&tensor.f32(), &axes);
        HostTensor::from_f32_as(tensor.dtype(), tensor.shape().to_vec(), values)
    }

    /// `⟨target, π source⟩` on one tensor, in f64; the source is that of [`Permutation::source`].
    pub fn inner(
        &self,
        symmetry: &Symmetry,
        name: &str,
        source: &HostTensor,
        target: &HostTensor,
    ) -> f64 {
        self.seen(symmetry, name, source).inner(target)
    }

    /// `π` on one tensor, lazy where it is large and its rows are neither very short nor longer than
    /// what is looked at at a time: to be looked at once.
    fn seen(&self, symmetry: &Symmetry, name: &str, tensor: &HostTensor) -> HostTensor {
        if let Some(weight) = symmetry.grouped(name) {
            return self.by_blocks(symmetry, name, weight, tensor);
        }
        let Some(axes) = self.axes(symmetry, name, tensor) else {
            return tensor.clone();
        };

        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let row = tensor.len() / tensor.shape().first().copied().unwrap_or(1).max(1);
        if tensor.len() > CHUNK && PermutedRows::suit(tensor) && (tensor.is_lazy() || row <= CHUNK)
        {
            return HostTensor::lazy(
                dtype,
                shape,
                Arc::new(PermutedRows::new(tensor.clone(), axes)),
            );
        }
        HostTensor::from_f32_as(dtype, shape, gather(&tensor.f32(), &axes))
    }

    /// Offsets along a tensor's axes, in the order of π; `None` where nothing moves.
    fn axes(&self, symmetry: &Symmetry, name: &str, tensor: &HostTensor) -> Option<Vec<Offsets>> {
        let strides = strides(tensor.shape());
        let mut axes: Vec<Offsets> = tensor
            .shape()
            .iter()
            .zip(&strides)
            .map(|(&n, &stride)| along(n, stride))
            .collect();
        let mut moved = false;

        for (member, group) in symmetry.axes(name) {
            let sigma = &self.sigmas[group];
            moved |= (0u32..).zip(sigma).any(|(j, &i)| i != j);
            reorder(&mut axes[member.axis], member, sigma);
        }

        moved.then_some(axes)
    }

    /// The source's entry that each of an axis' entries receives.
    ///
    /// # Panics
    /// When the axis does not have that many entries.
    pub fn sources(
        &self,
        symmetry: &Symmetry,
        name: &str,
        axis: usize,
        entries: usize,
    ) -> Vec<usize> {
        let mut sources = along(entries, 1);
        for (member, group) in symmetry
            .axes(name)
            .filter(|(member, _)| member.axis == axis)
        {
            reorder(&mut sources, member, &self.sigmas[group]);
        }
        sources
    }

    /// One vector per group, one entry per channel of the tensor that opens it, repeats of a
    /// flatten unexpanded: `(group name, p)` with `p[i] = j`: the target's `i` receives the
    /// source's `j`.
    pub fn named<'a>(
        &'a self,
        symmetry: &'a Symmetry,
    ) -> impl Iterator<Item = (&'a str, Vec<usize>)> {
        symmetry
            .groups
            .iter()
            .zip(&self.sigmas)
            .map(|(group, sigma)| {
                let block = group.members.first().map_or(1, |m| m.repeat);
                let channels = sigma
                    .iter()
                    .flat_map(|&i| (0..block).map(move |r| i as usize * block + r));
                (group.name.as_str(), channels.collect())
            })
    }
}

fn inverted(sigma: &[u32]) -> Vec<u32> {
    let mut inverse = vec![0; sigma.len()];
    (0u32..)
        .zip(sigma)
        .for_each(|(j, &i)| inverse[i as usize] = j);
    inverse
}

/// Reorders an axis' offsets, which are in their own order, by the member's units.
fn reorder(axis: &mut Offsets, member: &Member, sigma: &[u32]) {
    let plain = axis.clone();
    for (j, &i) in sigma.iter().enumerate().step_by(member.share) {
        let (to, from) = (member.first(j), member.first(i as usize));
        axis[to..to + member.repeat].copy_from_slice(&plain[from..from + member.repeat]);
    }
}

fn is_bijection(sigma: &[u32]) -> bool {
    let mut seen = vec![false; sigma.len()];
    sigma.iter().all(|&i| {
        seen.get_mut(i as usize)
            .is_some_and(|s| !std::mem::replace(s, true))
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    use super::*;
    use crate::network::Graph;

    /// conv (3 channels) → flatten (2×2 each) → linear.
    fn flattened() -> (Symmetry, Checkpoint) {
        let graph =
            Graph::from_document(&json!({"input":{"kind":"image","shape":[1,2,2]},"nodes":[
            {"op":"conv2d","param":"c"},{"op":"flatten"},{"op":"linear","param":"fc"}]}))
            .unwrap();
        let counted = |shape: &[usize]| {
            let n: usize = shape.iter().product();
            HostTensor::from_f32(shape.to_vec(), (0..n).map(|v| v as f32).collect())
        };
        let model: Checkpoint = [("c.weight", vec![3, 1, 1, 1]), ("fc.weight", vec![2, 12])]
            .map(|(name, shape)| (name.to_owned(), counted(&shape)))
            .into_iter()
            .collect();
        (Symmetry::derive(&graph, &model.signature()).unwrap(), model)
    }

    #[test]
    fn permuted_j_is_source_sigma_j_on_every_axis() {
        let (symmetry, model) = flattened();
        let mut permutation = Permutation::identity(&symmetry);
        permutation.set(0, vec![2, 0, 1]);
        let permuted = permutation.apply(&symmetry, &model);
        assert_eq!(permuted["c.weight"].f32().as_ref(), [2.0, 0.0, 1.0]);
        let row = [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(permuted["fc.weight"].f32()[..12], row);
        assert_eq!(
            permutation.named(&symmetry).collect::<Vec<_>>(),
            [("c", vec![2, 0, 1])]
        );
        assert!((permutation.fixed_points() - 0.0).abs() < f64::EPSILON);
    }

    #[test]
    fn composition_and_inverse() {
        let (symmetry, model) = flattened();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (mut cycle, other) = (
            Permutation::identity(&symmetry),
            Permutation::random(&symmetry, &mut rng),
        );
        cycle.set(0, vec![1, 2, 0]);
        assert_ne!(cycle, cycle.inverse(&symmetry));
        let values = |m: &Checkpoint| m["fc.weight"].f32().to_vec();
        let there = cycle.apply(&symmetry, &other.apply(&symmetry, &model));
        assert_eq!(
            values(&there),
            values(&cycle.compose(&symmetry, &other).apply(&symmetry, &model))
        );
        let back = cycle
            .inverse(&symmetry)
            .apply(&symmetry, &cycle.apply(&symmetry, &model));
        assert_eq!(values(&back), values(&model));
        assert_eq!(
            cycle.compose(&symmetry, &cycle.inverse(&symmetry)),
            Permutation::identity(&symmetry)
        );
    }
}
