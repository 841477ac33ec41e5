//! The matrix `A_g` of a group: how well each source unit fits each target unit.
//!
//! `A_g[j, i] = Σ_t Σ_members M(target_t)[j] · M(π_{other axes} source_t)[i]`, where `M` moves the
//! member's units first and flattens the rest. It is a sum of products over `t`, not a product of
//! sums. Kept from solve to solve: a new pair adds its product only, and where a neighbouring
//! group's σ changed at units J, the old pairs are corrected by a product of inner size ∝ |J|.

use std::{borrow::Cow, ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{
    gather::{Offsets, View, along, rows_at_once, strides},
    groups::{Group, Member, Symmetry},
    permutation::Permutation,
};
use crate::{
    execution::{Executor, floats},
    network::Role,
    tensors::{
        Checkpoint, HostTensor,
        matmul::{accumulate, matrix, product},
    },
};

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

        let usable = |(coupling, _): &(&Coupling, _)| task.is_usable(coupling);
        let mut product = Product::new(task, &mut self.matrix);
        for (t, pair) in pairs.iter().enumerate() {
            for (coupling, built) in couplings.iter().zip(&self.built).filter(usable) {
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
        }

        product.accumulate();

        for (coupling, built) in couplings.iter().zip(&mut self.built) {
            if !task.is_usable(coupling) {
                continue;
            }
            built.pairs = pairs.len();
            if let Some((_, neighbour)) = coupling.other {
                built.neighbour = permutation.sigma(neighbour).to_vec();
            }
        }
    }

    /// How much an update has to multiply: columns of a product, over all pairs.
    pub fn outstanding(&self, task: &Task, permutation: &Permutation, pairs: &[Pair]) -> usize {
        let none = Built::default();
        let columns = |(at, coupling): (usize, Coupling)| {
            let built = self.built.get(at).unwrap_or(&none);
            let tensor = pairs.first().and_then(|pair| pair.target.get(&coupling.member.tensor));
            let all = tensor.map_or(0, HostTensor::len) / task.group().units;
            let (units, moved) = coupling.other.map_or((1, 0), |(_, neighbour)| {
                let sigma = permutation.sigma(neighbour);
                let built = built.neighbour.as_slice();
                (sigma.len(), if built.is_empty() { 0 } else { changed(sigma, built).len() })
            });
            all * (pairs.len() - built.pairs) + all / units * moved * built.pairs
        };
        let usable = task.couplings().into_iter().enumerate().filter(|(_, c)| task.is_usable(c));
        usable.map(columns).sum()
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

    /// The learned members with their other axes; statistics have no say.
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

    fn is_usable(&self, coupling: &Coupling) -> bool {
        match (self.solved, coupling.other) {
            (Some(solved), Some((_, group))) => solved[group],
            _ => true,
        }
    }

    /// Whether any member takes part.
    pub fn is_anchored(&self) -> bool {
        self.couplings().iter().any(|coupling| self.is_usable(coupling))
    }

    /// Whether some tensor has this group on both its axes: the objective is then quadratic in σ.
    pub fn is_quadratic(&self) -> bool {
        self.couplings().iter().any(|c| c.other.is_some_and(|(_, group)| group == self.group))
    }
}

/// σ of the other axis now, and at the time the pair was added (if it was).
type Change<'a> = (&'a [u32], Option<&'a [u32]>);

/// Elements of one side that are held, and laid out, at a time: a bound on memory where a group runs
/// through a whole model.
const MAX_BLOCK_ELEMENTS: usize = 1 << 22;

/// Columns at least that are worth going over a matrix once more for.
const MIN_COLUMNS: usize = 1024;

/// Blocks `[units, k]` of target and source, to be multiplied and added to a matrix.
struct Product<'a> {
    units: usize,
    executor: &'a Executor,
    matrix: &'a mut Option<Matrix>,
    /// Of target and source.
    blocks: Vec<[Block<'a>; 2]>,
}

impl<'a> Product<'a> {
    fn new(task: &Task<'a>, matrix: &'a mut Option<Matrix>) -> Self {
        let (units, executor) = (task.group().units, task.executor);
        Self { units, executor, matrix, blocks: Vec::new() }
    }

    fn add(&mut self, coupling: &Coupling, pair: &'a Pair, change: Option<Change>) {
        let name = &coupling.member.tensor;
        let (Some(target), Some(source)) = (pair.target.get(name), pair.source.get(name)) else {
            return;
        };
        let of = (coupling.member, self.units);
        let (Some((other, _)), Some((sigma, old))) = (coupling.other, change) else {
            for rows in slices(target, coupling.member) {
                let block = |tensor| Block::new(tensor, rows.clone(), of, None);
                self.push(block(target), block(source));
            }
            return;
        };
        let units: Vec<u32> = match old {
            None => (0..sigma.len() as u32).collect(),
            Some(old) => changed(sigma, old),
        };
        if units.is_empty() {
            return;
        }
        let at = |sigma: &[u32]| -> Vec<u32> { units.iter().map(|&u| sigma[u as usize]).collect() };
        let block = |tensor: &'a HostTensor, units: &[u32]| {
            Block::new(tensor, 0..tensor.shape()[0], of, Some((other, units)))
        };
        let mut moved = block(source, &at(sigma));
        moved.less = old.map(|old| block(source, &at(old)).axes);
        self.push(block(target, &units), moved);
    }

    fn push(&mut self, target: Block<'a>, source: Block<'a>) {
        self.blocks.push([target, source]);
        let read = |block: &Block| match block.values {
            Cow::Owned(_) => block.values.len(),
            Cow::Borrowed(_) => 0,
        };
        if self.blocks.iter().flatten().map(read).sum::<usize>() >= 2 * MAX_BLOCK_ELEMENTS {
            self.accumulate();
        }
    }

    /// `matrix + target · sourceᵀ` over the blocks.
    fn accumulate(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let columns = (MAX_BLOCK_ELEMENTS / self.units.max(1)).max(MIN_COLUMNS);
        let (mut sides, mut width) = ([Vec::new(), Vec::new()], 0);
        let mut buffers = [Vec::new(), Vec::new()];

        for block in &blocks {
            for parts in parts(block.each_ref().map(Block::view), columns) {
                width += parts[0].width();
                sides.iter_mut().zip(parts).for_each(|(side, part)| side.push(part));
                if width >= columns {
                    self.multiply(&sides, width, &mut buffers);
                    (sides, width) = Default::default();
                }
            }
        }

        if width > 0 {
            self.multiply(&sides, width, &mut buffers);
        }
    }

    /// `matrix + target · sourceᵀ` over views of this joint width, laid out in these buffers.
    fn multiply(&mut self, sides: &[Vec<View>; 2], width: usize, buffers: &mut [Vec<f32>; 2]) {
        for (views, buffer) in sides.iter().zip(&mut *buffers) {
            buffer.resize(self.units * width, 0.0);
            lay_out(views, width, buffer);
        }

        if let Executor::Burn(device) = self.executor {
            let product = self.on_device(std::mem::take(buffers), width, device);
            *self.matrix = Some(Matrix::Device(Box::new(match self.matrix.take() {
                Some(Matrix::Device(sum)) => sum.add(product),
                _ => product,
            })));
            return;
        }

        let [target, source] = buffers.each_ref().map(|side| matrix(side, width));
        *self.matrix = Some(Matrix::Host(match self.matrix.take() {
            Some(Matrix::Host(mut sum)) => {
                accumulate(Arc::<Vec<f32>>::make_mut(&mut sum), target, source.transpose());
                sum
            }
            _ => Arc::new(product(target, source.transpose())),
        }));
    }

    fn on_device(&self, sides: [Vec<f32>; 2], width: usize, device: &Device) -> Tensor<2> {
        let [target, source] = sides.map(|values| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values, [self.units, width]), device)
        });
        target.matmul(source.transpose())
    }
}

/// Ranges of a tensor's first axis that are looked at together: all, where the member's units lie
/// on it.
fn slices(tensor: &HostTensor, member: &Member) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let step =
        if member.axis == 0 { rows } else { MAX_BLOCK_ELEMENTS * rows / tensor.len().max(1) }
            .max(1);
    (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
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
    /// The first axis is reduced to `rows`, the other permuted axis to the given units in their
    /// order.
    fn new(
        tensor: &'a HostTensor,
        rows: Range<usize>,
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
                _ if axis == 0 => along(rows.len(), stride),
                _ => along(length, stride),
            });
        }
        let row = strides.first().copied().unwrap_or(1);
        let values = tensor.floats(rows.start * row..rows.end * row);
        Self { values, axes, less: None }
    }

    fn view(&self) -> View<'_> {
        match &self.less {
            Some(less) => View::difference(&self.values, &self.axes, less),
            None => View::new(&self.values, &self.axes),
        }
    }
}

/// The same columns of two views, about so many at a time.
fn parts(views: [View; 2], columns: usize) -> impl Iterator<Item = [View; 2]> {
    // The larger is a multiple of the smaller: both are products of the last axes of one shape.
    let [one, other] = views.each_ref().map(View::grain);
    let (width, grain) = (views[0].width(), one.max(other));
    let step = grain * (columns / grain.max(1)).max(1);
    (0..width).step_by(step.max(1)).map(move |start| {
        views.each_ref().map(|view| view.columns(start..(start + step).min(width)))
    })
}

/// The views' rows one after the other, `width` entries each.
fn lay_out(views: &[View], width: usize, out: &mut [f32]) {
    let at_once = rows_at_once(out.len() / width.max(1));
    out.par_chunks_mut((at_once * width).max(1)).enumerate().for_each(|(chunk, rows)| {
        let (first, mut start) = (chunk * at_once, 0);
        for view in views {
            view.write_rows(first..first + rows.len() / width, rows, width, start);
            start += view.width();
        }
    });
}
