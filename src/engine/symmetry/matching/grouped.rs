//! The order of a convolution's groups, and of the channels inside each (`GroupedWeight`).
//!
//! For a block of the target's channels and one of the source's the best orders inside ([`inside`]); then the order of
//! the blocks by these values, as for experts. With at most [`SHORTLIST`] blocks every pair is looked at; with more,
//! those that the spaces by themselves prefer, and the present ones.

mod inside;

use std::sync::Arc;

use rayon::prelude::*;

use super::{
    Matcher,
    descent::RELATIVE_GAIN,
    experts::{Valued, best_order},
};
use crate::symmetry::{
    assignment::{self, NotFinite},
    attention::TiedHeads,
    permutation::Permutation,
};
use inside::{BlockPair, Blocks, Inside, Link, Side};

/// Blocks of the source that are looked at closely for each of the target, beside the present one.
const SHORTLIST: usize = 8;

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
}

impl Matched {
    fn valued(&self) -> Valued {
        Valued {
            source: self.source,
            value: self.inside.value,
        }
    }
}
