//! Convolutions in groups: blocks of channels that move as wholes, and inside each block the channels as they like.
//!
//! A convolution with G groups reads G blocks of consecutive channels and puts out as many. Blocks of inputs and
//! outputs are in one order. Inside a block inputs and outputs each have an order of their own: the weight,
//! `[G · out, in, …]`, follows the outputs along its first axis, and along its second, row by row, the inputs of the
//! row's block. This is the arrangement of heads and of the dimensions in each ([`Attention`]), of one space at a time.
//!
//! Where a space is tied to anything of another grain, only whole blocks change places.

use std::collections::{BTreeMap, HashMap};

use super::{
    attention_spaces::AttentionSpaces,
    spaces::{GroupedSpaces, Spaces},
};
use crate::{network::Program, symmetry::Attention};

/// The weight of a convolution whose channels permute inside its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupedWeight {
    /// The permutation group of the channels that it reads.
    pub inputs: usize,
    /// That of the channels that it puts out: its first axis is a member.
    pub outputs: usize,
    /// Groups of the convolution.
    pub blocks: usize,
}

impl Spaces {
    /// Ties inputs and outputs block by block where their channels cannot permute inside.
    pub(super) fn settle_convolutions(&mut self, program: &Program) {
        loop {
            let broken = (0..self.convolutions.len())
                .find(|&at| self.convolutions[at].is_free && !self.permutes_inside(at, program));
            let Some(at) = broken else { return };

            let GroupedSpaces {
                input,
                output,
                blocks,
                ..
            } = self.convolutions[at];
            let wholes = self.open(blocks);
            self.union(input.class, wholes);
            self.union(output.class, wholes);
            self.convolutions[at].is_free = false;
        }
    }

    fn permutes_inside(&self, at: usize, program: &Program) -> bool {
        let own = &self.convolutions[at];
        let [input, output] = own.roots(self);
        let is_whole =
            [(input, own.input), (output, own.output)]
                .into_iter()
                .all(|(root, space)| {
                    let is_row = self.parts.contains_key(&root);
                    self.units[root] == space.size && !self.fixed[root] && !is_row
                });
        let of_attention = self
            .heads
            .iter()
            .flat_map(|AttentionSpaces { fused, classes, .. }| fused.iter().chain(classes));
        let is_of_attention = of_attention
            .map(|&class| self.find(class))
            .any(|root| root == input || root == output);
        let neighbours = self.convolutions.iter().filter(|other| {
            let roots = other.roots(self);
            roots.contains(&input) || roots.contains(&output)
        });
        let in_step = neighbours
            .clone()
            .all(|other| other.is_free && other.blocks == own.blocks);
        let readers = program.params().filter(|param| param.name == own.weight);

        input != output && is_whole && !is_of_attention && in_step && readers.count() == 1
    }

    /// Fixes both sides of a convolution of which one is fixed; whether there were any.
    pub(super) fn fix_convolutions(&mut self) -> bool {
        let mut changed = false;
        for at in 0..self.convolutions.len() {
            let roots = self.convolutions[at].roots(self);
            let fixed = roots.map(|root| self.fixed[root]);
            if fixed.contains(&true) && fixed.contains(&false) {
                roots.iter().for_each(|&root| self.fixed[root] = true);
                changed = true;
            }
        }
        changed
    }

    /// The weights whose channels permute inside their groups, by their names.
    pub(super) fn grouped_weights(
        &self,
        of_class: &HashMap<usize, usize>,
    ) -> BTreeMap<String, GroupedWeight> {
        let free = self.convolutions.iter().filter(|one| one.is_free);
        let found = free.filter_map(|one| {
            let [inputs, outputs] = one.roots(self);
            let weight = GroupedWeight {
                inputs: *of_class.get(&inputs)?,
                outputs: *of_class.get(&outputs)?,
                blocks: one.blocks,
            };
            Some((one.weight.clone(), weight))
        });
        found.collect()
    }
}

impl GroupedSpaces {
    fn roots(&self, spaces: &Spaces) -> [usize; 2] {
        [self.input, self.output].map(|space| spaces.find(space.class))
    }
}

/// The spaces of such convolutions as blocks, those of one order behind each other; numbers of orders begin at
/// `first`. `units` are those of the groups.
pub(super) fn arrangements(
    weights: &BTreeMap<String, GroupedWeight>,
    first: usize,
    units: impl Fn(usize) -> usize,
) -> Vec<Attention> {
    // Spaces that some convolution has in one order.
    let mut sets: Vec<Vec<usize>> = Vec::new();
    let mut blocks: HashMap<usize, usize> = HashMap::new();
    for weight in weights.values() {
        let own = [weight.inputs, weight.outputs];
        let (joined, others): (Vec<_>, Vec<_>) = sets
            .into_iter()
            .partition(|set: &Vec<usize>| own.iter().any(|group| set.contains(group)));
        sets = others;
        let mut set: Vec<usize> = joined.into_iter().flatten().chain(own).collect();
        set.sort_unstable();
        set.dedup();
        sets.push(set);
        blocks.extend(own.map(|group| (group, weight.blocks)));
    }
    sets.sort_unstable();

    let orders = sets.iter().enumerate();
    orders
        .flat_map(|(order, set)| set.iter().map(move |&group| (first + order, group)))
        .map(|(order, group)| {
            let heads = blocks[&group];
            Attention::of_blocks(order, group, heads, units(group) / heads)
        })
        .collect()
}
