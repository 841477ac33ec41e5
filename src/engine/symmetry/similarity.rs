//! The matrix `A_g` of a group: how well each source unit fits each target unit.
//!
//! `A_g[j, i] = Σ_t Σ_members M(target_t)[j] · M(π_{other axes} source_t)[i]`, where `M` moves the
//! member's units first and flattens the rest. It is a sum of products over `t`, not a product of
//! sums. Kept from solve to solve: a new pair adds its product only, and where a neighbouring
//! group's σ changed at units J, the old pairs are corrected by a product of inner size ∝ |J|.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{
    gather::{Offsets, View, along, strides},
    groups::{Group, Member, Symmetry},
    permutation::Permutation,
};
use crate::engine::network::{Checkpoint, HostTensor, Role};

/// Two sets of tensors that a permutation should bring together.
#[derive(Clone, Debug)]
pub struct Pair {
    pub target: Checkpoint,
    pub source: Checkpoint,
}

/// `A_g` as far as it has been built.
#[derive(Debug, Default)]
pub struct Similarity {
    /// `[units, units]`, row: target unit, column: source unit.
    matrix: Option<Tensor<2>>,
    /// One for each learned member of the group.
    built: Vec<Built>,
}

/// What of a member is in the matrix.
#[derive(Clone, Debug, Default)]
struct Built {
    /// The first so many pairs.
    pairs: usize,
    /// σ of the group on the member's other axis at that time.
    neighbour: Vec<u32>,
}

/// A member with one range of what lies on the other axis of its tensor.
struct Coupling<'a> {
    member: &'a Member,
    other: Option<(&'a Member, usize)>,
}

impl Similarity {
    /// Brings `A_g` up to date with the pairs and the neighbours' present σ.
    pub fn update(&mut self, task: &Task, permutation: &Permutation, pairs: &[Pair]) {
        let couplings = task.couplings();
        self.built.resize(couplings.len(), Built::default());
        for (t, pair) in pairs.iter().enumerate() {
            let mut product = Product::new(task.group().units);
            for (coupling, built) in couplings.iter().zip(&self.built) {
                match coupling.other {
                    None if t < built.pairs => {}
                    None => product.add(coupling, pair, None),
                    Some((_, neighbour)) => {
                        let sigma = permutation.sigma(neighbour);
                        let old = (t < built.pairs).then_some(built.neighbour.as_slice());
                        product.add(coupling, pair, Some((sigma, old)));
                    }
                }
            }
            self.matrix = product.accumulate(self.matrix.take(), task.device);
        }
        for (coupling, built) in couplings.iter().zip(&mut self.built) {
            built.pairs = pairs.len();
            if let Some((_, neighbour)) = coupling.other {
                built.neighbour = permutation.sigma(neighbour).to_vec();
            }
        }
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The matrix, row-major.
    pub fn values(&self, units: usize) -> Vec<f32> {
        to_vec(self.matrix.clone(), units)
    }
}

/// A group of a symmetry on a device.
pub struct Task<'a> {
    pub symmetry: &'a Symmetry,
    pub group: usize,
    pub device: &'a Device,
}

impl<'a> Task<'a> {
    fn group(&self) -> &'a Group {
        &self.symmetry.groups[self.group]
    }

    /// The learned members with their other axes. Statistics take no part.
    fn couplings(&self) -> Vec<Coupling<'a>> {
        let learned = self.group().members.iter().filter(|m| m.role == Role::Learned);
        let with_others = |member: &'a Member| {
            let others = self.symmetry.axes(&member.tensor).filter(|(m, _)| m.axis != member.axis);
            let mut couplings: Vec<_> =
                others.map(|other| Coupling { member, other: Some(other) }).collect();
            if couplings.is_empty() {
                couplings.push(Coupling { member, other: None });
            }
            couplings
        };
        learned.flat_map(with_others).collect()
    }

    /// Whether some tensor has this group on both its axes: the objective is then quadratic in σ.
    pub fn is_quadratic(&self) -> bool {
        self.couplings().iter().any(|c| c.other.is_some_and(|(_, group)| group == self.group))
    }

    /// `A_g` from only those members whose other axes are fixed or belong to `solved` groups;
    /// `None` when there is no such member.
    pub fn anchored(
        &self,
        permutation: &Permutation,
        pairs: &[Pair],
        solved: &[bool],
    ) -> Option<Vec<f32>> {
        let usable: Vec<Coupling> = self
            .couplings()
            .into_iter()
            .filter(|c| c.other.is_none_or(|(_, group)| solved[group]))
            .collect();
        if usable.is_empty() {
            return None;
        }
        let units = self.group().units;
        let mut matrix = None;
        for pair in pairs {
            let mut product = Product::new(units);
            for coupling in &usable {
                let sigma = coupling.other.map(|(_, group)| (permutation.sigma(group), None));
                product.add(coupling, pair, sigma);
            }
            matrix = product.accumulate(matrix, self.device);
        }
        Some(to_vec(matrix, units))
    }
}

/// σ of the other axis now, and at the time the pair was added (if it was).
type Change<'a> = (&'a [u32], Option<&'a [u32]>);

/// Blocks `[units, k]` of target and source, side by side, to be multiplied at once.
struct Product<'a> {
    units: usize,
    target: Vec<Block<'a>>,
    source: Vec<Block<'a>>,
}

impl<'a> Product<'a> {
    fn new(units: usize) -> Self {
        Self { units, target: Vec::new(), source: Vec::new() }
    }

    fn add(&mut self, coupling: &Coupling, pair: &'a Pair, change: Option<Change>) {
        let name = &coupling.member.tensor;
        let (Some(target), Some(source)) = (pair.target.get(name), pair.source.get(name)) else {
            return;
        };
        let of = (coupling.member, self.units);
        let (target, source) = match (coupling.other, change) {
            (Some((other, _)), Some((sigma, old))) => {
                let units: Vec<u32> = match old {
                    None => (0..sigma.len() as u32).collect(),
                    Some(old) => changed(sigma, old),
                };
                if units.is_empty() {
                    return;
                }
                let at = |sigma: &[u32]| -> Vec<u32> {
                    units.iter().map(|&u| sigma[u as usize]).collect()
                };
                let mut moved = Block::new(source, of, Some((other, &at(sigma))));
                moved.less = old.map(|old| Block::new(source, of, Some((other, &at(old)))).axes);
                (Block::new(target, of, Some((other, &units))), moved)
            }
            _ => (Block::new(target, of, None), Block::new(source, of, None)),
        };
        self.target.push(target);
        self.source.push(source);
    }

    /// `matrix + target · sourceᵀ`, on the device.
    fn accumulate(self, matrix: Option<Tensor<2>>, device: &Device) -> Option<Tensor<2>> {
        if self.target.is_empty() {
            return matrix;
        }
        let target = side_by_side(self.units, &self.target, device);
        let source = side_by_side(self.units, &self.source, device);
        let product = target.matmul(source.transpose());
        Some(match matrix {
            Some(matrix) => matrix.add(product),
            None => product,
        })
    }
}

fn changed(sigma: &[u32], old: &[u32]) -> Vec<u32> {
    (0u32..).zip(sigma.iter().zip(old)).filter(|(_, (a, b))| a != b).map(|(u, _)| u).collect()
}

/// A tensor as `[units of a member, everything else]`, not copied yet.
struct Block<'a> {
    values: Cow<'a, [f32]>,
    /// The member's units first.
    axes: Vec<Offsets>,
    /// The same tensor along other axes, to be subtracted.
    less: Option<Vec<Offsets>>,
}

impl<'a> Block<'a> {
    /// The other permuted axis is reduced to and ordered by the given units.
    fn new(
        tensor: &'a HostTensor,
        (member, units): (&Member, usize),
        other: Option<(&Member, &[u32])>,
    ) -> Self {
        let strides = strides(tensor.shape());
        let stride = strides[member.axis];
        let mut axes: Vec<Offsets> =
            vec![(0..units).map(|u| (member.start + u * member.repeat) * stride).collect()];
        for (axis, (&length, &stride)) in tensor.shape().iter().zip(&strides).enumerate() {
            axes.push(match other {
                _ if axis == member.axis => along(member.repeat, stride),
                Some((other, units)) if axis == other.axis => units
                    .iter()
                    .flat_map(|&u| {
                        let first = other.start + u as usize * other.repeat;
                        (first..first + other.repeat).map(|i| i * stride)
                    })
                    .collect(),
                _ => along(length, stride),
            });
        }
        Self { values: tensor.f32(), axes, less: None }
    }

    fn views(&self) -> (View<'_>, Option<View<'_>>) {
        let less = self.less.as_ref();
        let less = less.map(|axes| View::new(&self.values, axes));
        (View::new(&self.values, &self.axes), less)
    }
}

fn side_by_side(units: usize, blocks: &[Block], device: &Device) -> Tensor<2> {
    let views: Vec<_> = blocks.iter().map(Block::views).collect();
    let width: usize = views.iter().map(|(view, _)| view.width()).sum();
    let mut values = vec![0.0; units * width];
    values.par_chunks_mut(width).enumerate().for_each_init(Vec::new, |subtracted, (unit, row)| {
        let mut rest = row;
        for (view, less) in &views {
            let (out, after) = rest.split_at_mut(view.width());
            view.row(unit, out);
            if let Some(less) = less {
                subtracted.resize(out.len(), 0.0);
                less.row(unit, subtracted);
                out.iter_mut().zip(subtracted.iter()).for_each(|(out, less)| *out -= less);
            }
            rest = after;
        }
    });
    Tensor::from_data(TensorData::new(values, [units, width]), device)
}

/// A matrix that no member contributed to is zero: no unit fits better than another.
fn to_vec(matrix: Option<Tensor<2>>, units: usize) -> Vec<f32> {
    matrix
        .and_then(|matrix| matrix.into_data().try_into_vec().ok())
        .unwrap_or_else(|| vec![0.0; units * units])
}
