//! Products of blocks, added to a matrix.

use std::{ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{
    Matrix, Pair, Task,
    block::{Block, Selection, Units},
    changed,
};
use crate::{
    execution::Executor,
    symmetry::{
        gather::{View, rows_at_once},
        groups::Member,
    },
    tensors::{
        HostTensor,
        matmul::{accumulate, matrix, product},
    },
};

/// Elements of one side that are held, and laid out, at a time: a bound on memory where a group runs
/// through a whole model.
pub const MAX_BLOCK_ELEMENTS: usize = 1 << 22;

/// Columns at least that are worth going over a matrix once more for.
const MIN_COLUMNS: usize = 1024;

/// What has changed on the other axis of a tensor.
pub(super) struct Change<'a> {
    pub axis: &'a Member,
    /// Its σ now.
    pub sigma: &'a [u32],
    /// Its σ when the pair was added, if it was.
    pub old: Option<&'a [u32]>,
}

/// Blocks `[units, k]` of target and source, to be multiplied and added to a matrix.
pub(super) struct Product<'a> {
    units: usize,
    executor: &'a Executor,
    matrix: &'a mut Option<Matrix>,
    /// Of target and source.
    blocks: Vec<[Block<'a>; 2]>,
}

impl<'a> Product<'a> {
    pub fn new(task: &Task<'a>, matrix: &'a mut Option<Matrix>) -> Self {
        let (units, executor) = (task.group().units, task.executor);
        Self {
            units,
            executor,
            matrix,
            blocks: Vec::new(),
        }
    }

    /// Adds a pair's tensors of which no other axis is permuted.
    pub fn add(&mut self, member: &Member, sides: Sides<'a>) {
        let Sides { target, source } = sides;
        for rows in slices(target, member) {
            let selection = Selection {
                member,
                units: self.units,
                rows,
                other: None,
            };
            self.push(
                Block::new(target, &selection),
                Block::new(source, &selection),
            );
        }
    }

    /// Adds a pair's tensors where σ of their other axis has changed.
    pub fn add_changed(&mut self, member: &Member, sides: Sides<'a>, change: &Change) {
        let Sides { target, source } = sides;
        let &Change { axis, sigma, old } = change;
        let units: Vec<u32> = match old {
            None => (0..sigma.len() as u32).collect(),
            Some(old) => changed(sigma, old),
        };
        if units.is_empty() {
            return;
        }

        let mut selection = Selection {
            member,
            units: self.units,
            rows: 0..target.shape()[0],
            other: Some(Units {
                axis,
                order: units.clone(),
            }),
        };
        let target = Block::new(target, &selection);
        selection.rows = 0..source.shape()[0];
        selection.other = Some(Units {
            axis,
            order: at(sigma, &units),
        });
        let mut moved = Block::new(source, &selection);
        if let Some(old) = old {
            selection.other = Some(Units {
                axis,
                order: at(old, &units),
            });
            moved.less = Some(selection.axes(source));
        }
        self.push(target, moved);
    }

    fn push(&mut self, target: Block<'a>, source: Block<'a>) {
        self.blocks.push([target, source]);
        if self.blocks.iter().flatten().map(Block::held).sum::<usize>() >= 2 * MAX_BLOCK_ELEMENTS {
            self.accumulate();
        }
    }

    /// `matrix + target · sourceᵀ` over the blocks.
    pub fn accumulate(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let columns = (MAX_BLOCK_ELEMENTS / self.units.max(1)).max(MIN_COLUMNS);
        let (mut sides, mut width) = ([Vec::new(), Vec::new()], 0);
        let mut buffers = [Vec::new(), Vec::new()];

        for block in &blocks {
            for parts in parts(block.each_ref().map(Block::view), columns) {
                width += parts[0].width();
                sides
                    .iter_mut()
                    .zip(parts)
                    .for_each(|(side, part)| side.push(part));
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
                accumulate(
                    Arc::<Vec<f32>>::make_mut(&mut sum),
                    target,
                    source.transpose(),
                );
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

/// A member's tensor in the target, and what it is compared with.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    target: &'a HostTensor,
    source: &'a HostTensor,
}

impl<'a> Sides<'a> {
    /// Where both models have them; `source` is the name of the source's.
    pub fn of(member: &Member, pair: &'a Pair, source: &str) -> Option<Self> {
        let (target, source) = pair
            .target
            .get(&member.tensor)
            .zip(pair.source.get(source))?;
        Some(Self { target, source })
    }
}

/// Where σ takes these units from.
fn at(sigma: &[u32], units: &[u32]) -> Vec<u32> {
    units.iter().map(|&unit| sigma[unit as usize]).collect()
}

/// Ranges of a tensor's first axis that are looked at together: all, where the member's units lie
/// on it.
fn slices(tensor: &HostTensor, member: &Member) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let step = if member.axis == 0 {
        rows
    } else {
        MAX_BLOCK_ELEMENTS * rows / tensor.len().max(1)
    }
    .max(1);

    (0..rows)
        .step_by(step)
        .map(move |start| start..(start + step).min(rows))
}

/// The same columns of two views, about so many at a time.
fn parts(views: [View; 2], columns: usize) -> impl Iterator<Item = [View; 2]> {
    // The larger is a multiple of the smaller: both are products of the last axes of one shape.
    let [one, other] = views.each_ref().map(View::grain);
    let (width, grain) = (views[0].width(), one.max(other));
    let step = grain * (columns / grain.max(1)).max(1);

    (0..width).step_by(step.max(1)).map(move |start| {
        views
            .each_ref()
            .map(|view| view.columns(start..(start + step).min(width)))
    })
}

/// The views' rows one after the other, `width` entries each.
fn lay_out(views: &[View], width: usize, out: &mut [f32]) {
    let at_once = rows_at_once(out.len() / width.max(1));
    out.par_chunks_mut((at_once * width).max(1))
        .enumerate()
        .for_each(|(chunk, rows)| {
            let (first, mut start) = (chunk * at_once, 0);
            for view in views {
                view.write_rows(first..first + rows.len() / width, rows, width, start);
                start += view.width();
            }
        });
}
