//! Derives the groups of a graph from its wiring, by union-find over channel spaces.
//!
//! - An op that makes new channels (linear, convolution) opens a space.
//! - An op that works per channel (activation, normalisation, pooling) keeps its input's; flatten
//!   keeps it too, each channel then owning H·W consecutive entries.
//! - `add` and `gate` tie their operands; a tied tensor ties the spaces of its axes; a norm of G groups ties its
//!   input's channels, in blocks.
//! - A convolution in groups ties input and output block by block, and no further (`convolutions`).
//! - Attention ties queries to keys and values to what it puts out, head by head (`attention`); a
//!   fused projection's output is cut into its parts, and so is what `split` nodes read. Attentions that
//!   share a tensor with an entry for each head have one order of heads (`heads`).
//! - `concat` makes a space that is a row of others: each part of it follows its own.
//! - Experts follow their router's outputs, as whole tensors ([`Experts`]); the hidden units of each are a
//!   space of their own.
//! - The sample's channels and the output's are fixed.

mod attention_spaces;
mod axes;
mod convolutions;
mod experts;
mod free;
mod group;
mod heads;
mod spaces;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::attention::{Attention, TiedHeads};
use crate::{
    network::{Graph, GraphError, Instruction, Layer, Operand, Program},
    tensors::{Checkpoint, HostTensor, Signature},
};
use axes::Use;
pub use convolutions::GroupedWeight;
pub use experts::Experts;
use experts::Place;
pub use group::{Group, Member, Runs};
use spaces::{Space, Spaces};

/// The permutation group of a graph: one symmetric group for each [`Group`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    pub groups: Vec<Group>,
    /// Layers whose experts may change places.
    pub experts: Vec<Experts>,
    /// Groups that only move as heads and dimensions of heads, or as a convolution's groups and channels inside them;
    /// those of one order of heads together.
    pub attentions: Vec<Attention>,
    /// Entries that no output depends on: they follow their channels, and say nothing of which fits
    /// which.
    pub free: Vec<(String, Range<usize>)>,
    /// For each tensor with permuted axes what these follow, in order of axis.
    tensors: BTreeMap<String, Vec<Followed>>,
    /// The tensors of experts that may change places.
    places: BTreeMap<String, Place>,
    /// Weights of convolutions whose channels permute inside their groups.
    grouped: BTreeMap<String, GroupedWeight>,
}

/// Which member of which group an axis of a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Followed {
    axis: usize,
    group: usize,
    member: usize,
}

impl Symmetry {
    /// The groups of a graph, in graph order.
    ///
    /// # Errors
    /// As [`Graph::resolve`].
    pub fn derive(graph: &Graph, signature: &Signature) -> Result<Self, GraphError> {
        Ok(Self::of(&graph.resolve(signature)?))
    }

    /// The groups of a program, in graph order.
    pub fn of(program: &Program) -> Self {
        let mut spaces = Spaces::default();
        let size = program.input.shape()[0];
        let input = Space {
            class: spaces.open(size),
            size,
        };
        spaces.fix(input.class);

        let mut outputs: Vec<Space> = Vec::with_capacity(program.instructions.len());
        let mut uses = Vec::new();
        for instruction in &program.instructions {
            let reads = instruction.inputs.map(|operand| match operand {
                Operand::Input | Operand::Target => input,
                Operand::Node(position) => outputs[*position],
            });
            let is_flatten = matches!(instruction.layer, Layer::Flatten);
            if is_flatten && reads_tokens(program, instruction) {
                spaces.fix(reads.first.class); // a channel's entries do not lie together
            }
            let read = reads.first;
            let output = spaces.through(instruction, reads);
            let hidden = spaces.hidden(instruction);
            uses.extend(instruction.params.iter().map(|param| {
                let hidden = hidden.get(param.expert.unwrap_or_default()).copied();
                Use {
                    param,
                    read,
                    output,
                    hidden,
                }
            }));
            outputs.push(output);
        }
        if let Some(last) = outputs.last() {
            spaces.fix(last.class);
        }

        spaces.settle_experts(program);
        let axes = spaces.tie(uses);
        spaces.settle_convolutions(program);
        spaces.settle();

        Self {
            free: free::parameters(program),
            ..spaces.collect(axes)
        }
    }

    /// A parameter set as it is matched: zero where no output depends on it.
    #[must_use]
    pub fn matched(&self, mut parameters: Checkpoint) -> Checkpoint {
        for (name, range) in &self.free {
            let Some(tensor) = parameters.get(name) else {
                continue;
            };
            let mut values = tensor.f32().into_owned();
            values[range.clone()].fill(0.0);
            let tensor = HostTensor::from_f32(tensor.shape().to_vec(), values);
            parameters.insert(name.as_str(), tensor);
        }
        parameters
    }

    /// The group and member that each permuted axis of a tensor follows, in order of axis.
    pub fn axes(&self, tensor: &str) -> impl Iterator<Item = (&Member, usize)> {
        self.tensors
            .get(tensor)
            .into_iter()
            .flatten()
            .map(|followed| {
                (
                    &self.groups[followed.group].members[followed.member],
                    followed.group,
                )
            })
    }

    /// What a convolution's weight follows inside its groups; `None` of every other tensor.
    pub fn grouped(&self, tensor: &str) -> Option<GroupedWeight> {
        self.grouped.get(tensor).copied()
    }

    /// The weights of convolutions whose channels permute inside their groups.
    pub fn grouped_weights(&self) -> impl Iterator<Item = (&str, GroupedWeight)> {
        self.grouped
            .iter()
            .map(|(name, weight)| (name.as_str(), *weight))
    }

    /// The attentions by the order of their heads.
    pub fn tied_heads(&self) -> impl Iterator<Item = TiedHeads<'_>> {
        self.attentions
            .chunk_by(|one, next| one.order == next.order)
            .map(TiedHeads)
    }

    /// Groups that are solved together, in graph order: those of attentions with one order of heads, those of
    /// a layer's experts, every other alone.
    pub fn blocks(&self) -> Vec<Vec<usize>> {
        let attentions = self.tied_heads().map(|tied| tied.groups());
        let mut blocks: Vec<Vec<usize>> = attentions
            .chain(self.experts.iter().map(Experts::groups))
            .collect();
        let together: BTreeSet<usize> = blocks.iter().flatten().copied().collect();
        let alone = (0..self.groups.len()).filter(|group| !together.contains(group));
        blocks.extend(alone.map(|group| vec![group]));
        blocks.sort_unstable();
        blocks
    }

    /// Whether no learned tensor has permuted units on two axes, or may take another's place: the groups
    /// then do not depend on each other. A convolution's weight has them on two where channels permute inside.
    pub fn is_separable(&self) -> bool {
        let stay = self.experts.is_empty() && self.grouped.is_empty();
        stay && self
            .tensors
            .values()
            .all(|followed| followed.iter().all(|one| one.axis == followed[0].axis))
    }
}

/// Whether it reads tokens that a node has put out.
fn reads_tokens(program: &Program, instruction: &Instruction) -> bool {
    let source = instruction.inputs.first;
    !source.is_given() && program.shape(source).len() == 2
}

#[cfg(test)]
mod tests;
