//! The order of a convolution's groups, and of the channels inside each ([`GroupedWeight`]).
//!
//! For a block of the target's channels and one of the source's, what the orders inside are worth is a sum over the
//! spaces, linear in each order, and a sum over the weights between two spaces, bilinear in both. So for each pair:
//!
//! - Between two spaces, one of at most [`MAX_ENUMERATED`] channels in a block: every order of that one, with the best
//!   of the other. This is exact.
//! - Else one space after the other, with the others held, until none moves; from the present orders, and from those
//!   that the spaces prefer by themselves. Each step is exact.
//!
//! Then the order of the blocks by these values, as for experts. With at most [`SHORTLIST`] blocks every pair is looked
//! at; with more, those that the spaces by themselves prefer, and the present ones.

use std::{borrow::Cow, sync::Arc};

use rayon::prelude::*;

use super::{
    Matcher,
    descent::{RELATIVE_GAIN, value},
    experts::{Valued, best_order},
};
use crate::symmetry::{
    assignment::{self, NotFinite},
    attention::TiedHeads,
    permutation::Permutation,
};

/// Blocks of the source that are looked at closely for each of the target, beside the present one.
const SHORTLIST: usize = 8;
/// Channels of a block all of whose orders are gone through.
const MAX_ENUMERATED: usize = 4;
/// Rounds over the spaces of a pair; each raises the value, so this is never met in practice.
const MAX_ROUNDS: usize = 50;

/// A space of blocks.
struct Side {
    group: usize,
    /// Channels of a block.
    size: usize,
    /// How well its channels fit, `[channels, channels]`, by what is linear in their order.
    matrix: Arc<Vec<f32>>,
}

/// A weight `[G · out, in, …]` between two of the spaces.
struct Link<'p> {
    input: usize,
    output: usize,
    /// Kernel positions.
    width: usize,
    /// The target's values and the source's, of each pair of models.
    pairs: Vec<[Cow<'p, [f32]>; 2]>,
}

/// Spaces whose blocks are in one order.
struct Blocks<'p> {
    count: usize,
    sides: Vec<Side>,
    links: Vec<Link<'p>>,
}

/// A block of the target and one of the source.
#[derive(Clone, Copy)]
struct BlockPair {
    target: usize,
    source: usize,
}

/// The orders inside a pair of blocks, one for each space.
#[derive(Clone)]
struct Inside {
    orders: Vec<Vec<u32>>,
    value: f64,
}

/// What a block of the target is made of.
struct Matched {
    source: usize,
    inside: Inside,
    /// The value as it is, where the block is in its place now.
    present: Option<f64>,
}

impl Matcher<'_> {
    /// Puts the channels of convolutions in groups in their best order; whether they moved. `None` where these spaces are
    /// no convolution's. `matrices` are those of the groups, in their order.
    pub(super) fn arrange_grouped(
        &self,
        tied: TiedHeads<'_>,
        matrices: &[Arc<Vec<f32>>],
        permutation: &mut Permutation,
    ) -> Option<Result<bool, NotFinite>> {
        let blocks = self.blocks_of(tied, matrices)?;
        Some(blocks.arrange(permutation))
    }

    fn blocks_of(&self, tied: TiedHeads<'_>, matrices: &[Arc<Vec<f32>>]) -> Option<Blocks<'_>> {
        let groups = tied.groups();
        let weights = self.symmetry.grouped_weights();
        let weights: Vec<_> = weights
            .filter(|(_, weight)| groups.contains(&weight.inputs))
            .collect();
        let (_, first) = weights.first()?;
        let sides = groups.iter().zip(matrices).map(|(&group, matrix)| Side {
            group,
            size: self.symmetry.groups[group].units / first.blocks,
            matrix: matrix.clone(),
        });
        let links = weights.iter().map(|(name, weight)| {
            let [input, output] = [weight.inputs, weight.outputs]
                .map(|group| groups.iter().take_while(|own| **own != group).count());
            let pairs = self.pairs.as_slice().iter().filter_map(|pair| {
                let (target, source) = (pair.target.get(name)?, pair.source.get(name)?);
                Some([target.f32(), source.f32()])
            });
            let shapes = self.pairs.as_slice().iter();
            let shape = shapes
                .filter_map(|pair| pair.target.get(name))
                .map(|tensor| tensor.shape()[2..].iter().product())
                .next();
            Link {
                input,
                output,
                width: shape.unwrap_or(1),
                pairs: pairs.collect(),
            }
        });

        Some(Blocks {
            count: first.blocks,
            sides: sides.collect(),
            links: links.collect(),
        })
    }
}

impl Blocks<'_> {
    fn arrange(&self, permutation: &mut Permutation) -> Result<bool, NotFinite> {
        let current: Vec<u32> = (0..self.count)
            .map(|target| self.source_of(permutation, target))
            .collect();
        let shortlists = self.shortlists(&current)?;
        let found = shortlists
            .par_iter()
            .enumerate()
            .map(|(target, sources)| self.matched(permutation, target, sources))
            .collect::<Result<Vec<Vec<Matched>>, NotFinite>>()?;

        let values: Vec<Vec<Valued>> = found
            .iter()
            .map(|row| row.iter().map(Matched::valued).collect())
            .collect();
        let order = best_order(&values, &current)?;
        let chosen = found
            .iter()
            .zip(&order)
            .map(|(row, &source)| row.iter().find(|matched| matched.source == source as usize));
        let Some(chosen) = chosen.collect::<Option<Vec<&Matched>>>() else {
            return Ok(false);
        };
        let present: f64 = found.iter().flatten().filter_map(|one| one.present).sum();
        let total: f64 = chosen.iter().map(|one| one.inside.value).sum();
        let scale: f64 = chosen.iter().map(|one| one.inside.value.abs()).sum();
        if total - present <= RELATIVE_GAIN * scale {
            return Ok(false);
        }

        for (at, side) in self.sides.iter().enumerate() {
            let size = side.size as u32;
            let channels = chosen.iter().flat_map(|one| {
                let inside = one.inside.orders[at].iter();
                inside.map(move |channel| one.source as u32 * size + channel)
            });
            permutation.set(side.group, channels.collect());
        }
        Ok(true)
    }

    /// The block that a block of the target is made of now.
    fn source_of(&self, permutation: &Permutation, target: usize) -> u32 {
        self.sides.first().map_or(0, |side| {
            permutation.sigma(side.group)[target * side.size] / side.size as u32
        })
    }

    /// The orders inside a block of the target now.
    fn orders_in(&self, permutation: &Permutation, target: usize) -> Vec<Vec<u32>> {
        let sides = self.sides.iter();
        sides
            .map(|side| {
                let channels = &permutation.sigma(side.group)[target * side.size..][..side.size];
                let size = side.size as u32;
                channels.iter().map(|channel| channel % size).collect()
            })
            .collect()
    }

    /// For each block of the target those of the source that are looked at closely.
    fn shortlists(&self, current: &[u32]) -> Result<Vec<Vec<usize>>, NotFinite> {
        let count = self.count;
        if count <= SHORTLIST {
            return Ok(vec![(0..count).collect(); count]);
        }

        let pairs = (0..count * count).into_par_iter().map(|at| BlockPair {
            target: at / count,
            source: at % count,
        });
        let values = pairs
            .map(|pair| self.preferred(pair).map(|(_, value)| value as f32))
            .collect::<Result<Vec<f32>, NotFinite>>()?;
        let best = assignment::solve(&values, count, Some(current), None)?.sigma;
        Ok((0..count)
            .map(|target| {
                let row = &values[target * count..][..count];
                let mut sources: Vec<usize> = (0..count).collect();
                sources.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                sources.truncate(SHORTLIST);
                sources.extend([current[target] as usize, best[target] as usize]);
                sources.sort_unstable();
                sources.dedup();
                sources
            })
            .collect())
    }

    /// The orders that the spaces prefer by themselves, and their value without the weights between them.
    fn preferred(&self, pair: BlockPair) -> Result<(Vec<Vec<u32>>, f64), NotFinite> {
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

    fn matched(
        &self,
        permutation: &Permutation,
        target: usize,
        sources: &[usize],
    ) -> Result<Vec<Matched>, NotFinite> {
        let current = self.source_of(permutation, target) as usize;
        let present = self.orders_in(permutation, target);
        sources
            .iter()
            .map(|&source| {
                let pair = BlockPair { target, source };
                let inside = self.solve(pair, &present)?;
                let is_present = source == current;
                Ok(Matched {
                    source,
                    inside,
                    present: is_present.then(|| self.value(pair, &present)),
                })
            })
            .collect()
    }

    /// The best orders inside a pair of blocks; `present` ones stay where nothing is gained.
    fn solve(&self, pair: BlockPair, present: &[Vec<u32>]) -> Result<Inside, NotFinite> {
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
        for start in [present, &preferred] {
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
            link.add(self, pair, at, orders, &mut matrix);
        }
        let found = assignment::solve(&matrix, side.size, Some(&orders[at]), None)?.sigma;
        let moved = found != orders[at];
        orders[at] = found;
        Ok(moved)
    }

    /// What the orders inside a pair of blocks are worth.
    fn value(&self, pair: BlockPair, orders: &[Vec<u32>]) -> f64 {
        let linear = self.sides.iter().zip(orders);
        let linear: f64 = linear
            .map(|(side, order)| value(&side.block(pair), order))
            .sum();
        let between = self.links.iter().map(|link| {
            let size = self.sides[link.input].size;
            let mut matrix = vec![0.0; size * size];
            link.add(self, pair, link.input, orders, &mut matrix);
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

impl Matched {
    fn valued(&self) -> Valued {
        Valued {
            source: self.source,
            value: self.inside.value,
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
    /// Adds to `matrix`, `[size, size]` of one of its spaces, how well the channels fit, with the other space in its
    /// order. Of other spaces it says nothing.
    fn add(
        &self,
        blocks: &Blocks<'_>,
        pair: BlockPair,
        at: usize,
        orders: &[Vec<u32>],
        matrix: &mut [f32],
    ) {
        let [inputs, outputs] = [self.input, self.output].map(|side| blocks.sides[side].size);
        let length = inputs * outputs * self.width;
        for [target, source] in &self.pairs {
            let target = &target[pair.target * length..][..length];
            let source = &source[pair.source * length..][..length];
            let kernels = Kernels {
                target,
                source,
                inputs,
                width: self.width,
            };
            if at == self.input {
                for (output, &from) in orders[self.output].iter().enumerate() {
                    for (i, sum) in matrix.iter_mut().enumerate() {
                        let [own, other] = [[output, i / inputs], [from as usize, i % inputs]];
                        *sum += kernels.product(own, other);
                    }
                }
            } else if at == self.output {
                for (input, &from) in orders[self.input].iter().enumerate() {
                    for (i, sum) in matrix.iter_mut().enumerate() {
                        let [own, other] = [[i / outputs, input], [i % outputs, from as usize]];
                        *sum += kernels.product(own, other);
                    }
                }
            }
        }
    }
}

/// The kernels of two blocks, `[outputs, inputs, width]` each.
struct Kernels<'k> {
    target: &'k [f32],
    source: &'k [f32],
    inputs: usize,
    width: usize,
}

impl Kernels<'_> {
    /// The product of a kernel of the target, from an input to an output, and one of the source.
    fn product(&self, own: [usize; 2], other: [usize; 2]) -> f32 {
        let [own, other] =
            [own, other].map(|[output, input]| (output * self.inputs + input) * self.width);
        let own = &self.target[own..][..self.width];
        let other = &self.source[other..][..self.width];
        own.iter().zip(other).map(|(a, b)| a * b).sum()
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
