//! The best orders of the channels inside a block of the target and one of the source.
//!
//! What they are worth is a sum over the spaces, linear in each order, and a sum over the weights between two spaces,
//! bilinear in both. So:
//!
//! - Between two spaces, one of at most [`MAX_ENUMERATED`] channels in a block: every order of that one, with the best
//!   of the other. This is exact.
//! - Else one space after the other, with the others held, until none moves; from the present orders, and from those
//!   that the spaces prefer by themselves. Each step is exact.

use std::{borrow::Cow, sync::Arc};

use crate::{
    symmetry::{
        assignment::{self, NotFinite},
        matching::descent::value,
    },
    tensors::matmul::{accumulate, matrix},
};

/// Channels of a block all of whose orders are gone through.
const MAX_ENUMERATED: usize = 4;
/// Rounds over the spaces of a pair; each raises the value, so this is never met in practice.
const MAX_ROUNDS: usize = 50;

/// A space of blocks.
pub struct Side {
    pub group: usize,
    /// Channels of a block.
    pub size: usize,
    /// How well its channels fit, `[channels, channels]`, by what is linear in their order.
    pub matrix: Arc<Vec<f32>>,
}

/// A weight `[G · out, in, …]` between two of the spaces.
pub struct Link<'p> {
    pub input: usize,
    pub output: usize,
    /// Kernel positions.
    pub width: usize,
    /// The target's values and the source's, of each pair of models.
    pub pairs: Vec<[Cow<'p, [f32]>; 2]>,
}

/// Spaces whose blocks are in one order.
pub struct Blocks<'p> {
    pub count: usize,
    pub sides: Vec<Side>,
    pub links: Vec<Link<'p>>,
}

/// A block of the target and one of the source.
#[derive(Clone, Copy)]
pub struct BlockPair {
    pub target: usize,
    pub source: usize,
}

/// One of the spaces in a pair of blocks.
#[derive(Clone, Copy)]
struct At {
    pair: BlockPair,
    side: usize,
}

/// The orders inside a pair of blocks, one for each space.
#[derive(Clone)]
pub struct Inside {
    pub orders: Vec<Vec<u32>>,
    pub value: f64,
}

impl Blocks<'_> {
    /// The orders that the spaces prefer by themselves, and their value without the weights between them.
    pub fn preferred(&self, pair: BlockPair) -> Result<(Vec<Vec<u32>>, f64), NotFinite> {
        let mut orders = Vec::with_capacity(self.sides.len());
        let mut sum = 0.0;
        for side in &self.sides {
            let still: Vec<u32> = (0..side.size as u32).collect();
            let matrix = side.block(pair);
            let found = assignment::solve(&matrix, side.size, Some(&still), None)?;
            sum += found.value;
            orders.push(found.sigma);
        }
        Ok((orders, sum))
    }

    /// The best orders inside a pair of blocks; `present` ones stay where nothing is gained.
    pub fn solve(&self, pair: BlockPair, present: &[Vec<u32>]) -> Result<Inside, NotFinite> {
        let mut best = Inside {
            orders: present.to_vec(),
            value: self.value(pair, present),
        };
        if let ([one, other], [_]) = (&self.sides[..], &self.links[..])
            && one.size.min(other.size) <= MAX_ENUMERATED
        {
            let listed = usize::from(other.size < one.size);
            for order in all_orders(self.sides[listed].size) {
                let mut orders = present.to_vec();
                orders[listed] = order;
                self.improve(pair, 1 - listed, &mut orders)?;
                best.better(orders, self, pair);
            }
            return Ok(best);
        }

        let (preferred, _) = self.preferred(pair)?;
        let starts = if preferred == present {
            vec![present]
        } else {
            vec![present, &preferred]
        };
        for start in starts {
            for first in 0..self.sides.len() {
                let orders = self.alternated(pair, start.to_vec(), first)?;
                best.better(orders, self, pair);
            }
        }
        Ok(best)
    }

    /// One space after the other, from the one `first`, until none moves.
    fn alternated(
        &self,
        pair: BlockPair,
        mut orders: Vec<Vec<u32>>,
        first: usize,
    ) -> Result<Vec<Vec<u32>>, NotFinite> {
        let count = self.sides.len();
        for _ in 0..MAX_ROUNDS {
            let mut moved = false;
            for at in 0..count {
                moved |= self.improve(pair, (first + at) % count, &mut orders)?;
            }
            if !moved {
                break;
            }
        }
        Ok(orders)
    }

    /// Puts one space in its best order with the others held; whether it moved.
    fn improve(
        &self,
        pair: BlockPair,
        at: usize,
        orders: &mut [Vec<u32>],
    ) -> Result<bool, NotFinite> {
        let side = &self.sides[at];
        let mut matrix = side.block(pair);
        for link in &self.links {
            let at = At { pair, side: at };
            link.add(self, at, orders, &mut matrix);
        }
        let found = assignment::solve(&matrix, side.size, Some(&orders[at]), None)?.sigma;
        let moved = found != orders[at];
        orders[at] = found;
        Ok(moved)
    }

    /// What the orders inside a pair of blocks are worth.
    pub fn value(&self, pair: BlockPair, orders: &[Vec<u32>]) -> f64 {
        let linear = self.sides.iter().zip(orders);
        let linear: f64 = linear
            .map(|(side, order)| value(&side.block(pair), order))
            .sum();
        let between = self.links.iter().map(|link| {
            let size = self.sides[link.input].size;
            let mut matrix = vec![0.0; size * size];
            let at = At {
                pair,
                side: link.input,
            };
            link.add(self, at, orders, &mut matrix);
            value(&matrix, &orders[link.input])
        });
        linear + between.sum::<f64>()
    }
}

impl Inside {
    /// Takes orders that are worth more.
    fn better(&mut self, orders: Vec<Vec<u32>>, blocks: &Blocks<'_>, pair: BlockPair) {
        let value = blocks.value(pair, &orders);
        if value > self.value {
            *self = Self { orders, value };
        }
    }
}

impl Side {
    /// How well the channels of two blocks fit, `[size, size]`.
    fn block(&self, pair: BlockPair) -> Vec<f32> {
        let (size, width) = (self.size, self.matrix.len().isqrt());
        let rows = pair.target * size..(pair.target + 1) * size;
        rows.flat_map(|row| &self.matrix[row * width + pair.source * size..][..size])
            .copied()
            .collect()
    }
}

impl Link<'_> {
    /// Adds to `sum`, `[size, size]` of one of its spaces, how well the channels fit, with the other space in its
    /// order. Of other spaces it says nothing.
    fn add(&self, blocks: &Blocks<'_>, at: At, orders: &[Vec<u32>], sum: &mut [f32]) {
        let At { pair, side } = at;
        let other = if side == self.input {
            self.output
        } else if side == self.output {
            self.input
        } else {
            return;
        };
        let [inputs, outputs] = [self.input, self.output].map(|side| blocks.sides[side].size);
        let still: Vec<u32> = (0..blocks.sides[other].size as u32).collect();
        let length = inputs * outputs * self.width;
        for [target, source] in &self.pairs {
            let kernels = Kernels {
                inputs,
                width: self.width,
                is_of_inputs: side == self.input,
            };
            let target = &target[pair.target * length..][..length];
            let source = &source[pair.source * length..][..length];
            let target = kernels.laid_out(target, &still);
            let source = kernels.laid_out(source, &orders[other]);
            let columns = still.len() * self.width;
            accumulate(
                sum,
                matrix(&target, columns),
                matrix(&source, columns).transpose(),
            );
        }
    }
}

/// The kernels of a block, `[outputs, inputs, width]`.
struct Kernels {
    inputs: usize,
    width: usize,
    /// The inputs become rows, else the outputs do.
    is_of_inputs: bool,
}

impl Kernels {
    /// A row for each channel of one side: its kernels with those of the other, in this order.
    fn laid_out(&self, values: &[f32], others: &[u32]) -> Vec<f32> {
        let &Self {
            inputs,
            width,
            is_of_inputs,
        } = self;
        let rows = values.len() / (others.len() * width).max(1);
        let mut all = Vec::with_capacity(values.len());
        for row in 0..rows {
            for &other in others {
                let kernel = if is_of_inputs {
                    other as usize * inputs + row
                } else {
                    row * inputs + other as usize
                };
                all.extend_from_slice(&values[kernel * width..][..width]);
            }
        }
        all
    }
}

/// Every order of so many channels.
fn all_orders(channels: usize) -> Vec<Vec<u32>> {
    let mut orders = vec![Vec::new()];
    for channel in 0..channels as u32 {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<u32>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, channel);
                    longer
                })
            })
            .collect();
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_listed_once() {
        let mut orders = all_orders(4);
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 24);
        assert_eq!(all_orders(1), [[0]]);
    }
}
