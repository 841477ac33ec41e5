//! Derives the groups of a graph from its wiring, by union-find over channel spaces.
//!
//! - An op that makes new channels (linear, convolution) opens a space.
//! - An op that works per channel (activation, normalisation, pooling) keeps its input's; flatten
//!   keeps it too, each channel then owning H·W consecutive entries.
//! - `add` ties its operands; a tied tensor ties the spaces of its axes; a convolution with G
//!   groups ties input and output, in blocks of consecutive channels.
//! - Attention ties queries to keys and values to what it puts out, head by head (`attention`); a
//!   fused projection's output is cut into its parts, and so is what `split` nodes read. Attentions that
//!   share a tensor with an entry for each head have one order of heads (`heads`).
//! - Experts follow their router's outputs, as whole tensors ([`Experts`]); the hidden units of each are a
//!   space of their own.
//! - The sample's channels and the output's are fixed.

mod axes;
mod experts;
mod free;
mod heads;
mod spaces;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::attention::{Attention, TiedHeads};
use crate::{
    network::{Graph, GraphError, Instruction, Layer, Operand, Program, Role},
    tensors::{Checkpoint, HostTensor, Signature},
};
use axes::Use;
pub use experts::Experts;
use experts::Place;
use spaces::{Space, Spaces};

/// The permutation group of a graph: one symmetric group for each [`Group`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    pub groups: Vec<Group>,
    /// Layers whose experts may change places.
    pub experts: Vec<Experts>,
    /// Groups that only move as heads and dimensions of heads; those of one order of heads together.
    pub attentions: Vec<Attention>,
    /// Entries that no output depends on: they follow their channels, and say nothing of which fits
    /// which.
    pub free: Vec<(String, Range<usize>)>,
    /// For each tensor with permuted axes what these follow, in order of axis.
    tensors: BTreeMap<String, Vec<Followed>>,
    /// The tensors of experts that may change places.
    places: BTreeMap<String, Place>,
}

/// Units that may be reordered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The prefix of the first tensor that the group's units come from.
    pub name: String,
    pub units: usize,
    pub members: Vec<Member>,
}

/// An axis that follows a group: `repeat` entries of the axis from [`Member::first`] on belong to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub tensor: String,
    pub axis: usize,
    pub start: usize,
    /// Consecutive entries a unit owns.
    pub repeat: usize,
    /// So many consecutive units share an entry, one where each has its own: the channels of a head, which
    /// stay together.
    pub share: usize,
    /// Where units lie in several runs: a projection that is fused by heads.
    pub runs: Option<Runs>,
    pub role: Role,
}

/// Runs of consecutive units, from each to the next more entries than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Units of a run.
    pub units: usize,
    /// Entries from the start of a run to that of the next.
    pub period: usize,
}

impl Member {
    /// The first entry of a unit.
    pub fn first(&self, unit: usize) -> usize {
        match self.runs {
            None => self.start + unit / self.share * self.repeat,
            Some(Runs { units, period }) => {
                self.start + unit / units * period + unit % units * self.repeat
            }
        }
    }
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
                Operand::Input => input,
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
    /// then do not depend on each other.
    pub fn is_separable(&self) -> bool {
        let stay = self.experts.is_empty();
        stay && self
            .tensors
            .values()
            .all(|followed| followed.iter().all(|one| one.axis == followed[0].axis))
    }
}

/// Whether it reads tokens that a node has put out.
fn reads_tokens(program: &Program, instruction: &Instruction) -> bool {
    let source = instruction.inputs.first;
    source != Operand::Input && program.shape(source).len() == 2
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tensors::{DType, TensorInfo};

    pub fn derive(input: &Value, nodes: &Value, tensors: &[(&str, &[usize])]) -> Symmetry {
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        let signature = tensors
            .iter()
            .map(|(name, shape)| {
                (
                    (*name).to_owned(),
                    TensorInfo {
                        dtype: DType::F32,
                        shape: shape.to_vec(),
                    },
                )
            })
            .collect();
        Symmetry::derive(&graph, &signature).unwrap()
    }

    fn members(group: &Group) -> Vec<(&str, usize, usize)> {
        group
            .members
            .iter()
            .map(|m| (m.tensor.as_str(), m.axis, m.repeat))
            .collect()
    }

    #[test]
    fn flatten_gives_each_channel_consecutive_columns() {
        let symmetry = derive(
            &json!({"kind":"image","shape":[1,4,4]}),
            &json!([{"op":"conv2d","param":"c"},{"op":"batch_norm","param":"bn"},{"op":"relu"},{"op":"flatten"},
                    {"op":"linear","param":"fc"}]),
            &[
                ("c.weight", &[3, 1, 3, 3]),
                ("bn.running_mean", &[3]),
                ("bn.running_var", &[3]),
                ("fc.weight", &[2, 12]),
            ],
        );
        assert_eq!(symmetry.groups.len(), 1);
        assert_eq!(
            (symmetry.groups[0].name.as_str(), symmetry.groups[0].units),
            ("c", 3)
        );
        let expected = [
            ("c.weight", 0, 1),
            ("bn.running_mean", 0, 1),
            ("bn.running_var", 0, 1),
            ("fc.weight", 1, 4),
        ];
        assert_eq!(members(&symmetry.groups[0]), expected);
    }

    #[test]
    fn a_residual_stream_is_one_group_and_the_block_inside_another() {
        let symmetry = derive(
            &json!({"kind":"features","shape":[5]}),
            &json!([{"op":"linear","param":"embed"},{"op":"linear","param":"up"},{"op":"relu"},
                    {"op":"linear","param":"down"},{"op":"add","inputs":["embed","down"],"id":"stream"},
                    {"op":"linear","param":"head"}]),
            &[
                ("embed.weight", &[4, 5]),
                ("up.weight", &[6, 4]),
                ("down.weight", &[4, 6]),
                ("down.bias", &[4]),
                ("head.weight", &[2, 4]),
            ],
        );
        let names: Vec<_> = symmetry
            .groups
            .iter()
            .map(|g| (g.name.as_str(), g.units))
            .collect();
        assert_eq!(names, [("embed", 4), ("up", 6)]);
        let stream = [
            ("embed.weight", 0, 1),
            ("up.weight", 1, 1),
            ("down.weight", 0, 1),
            ("down.bias", 0, 1),
            ("head.weight", 1, 1),
        ];
        assert_eq!(members(&symmetry.groups[0]), stream);
        assert_eq!(
            members(&symmetry.groups[1]),
            [("up.weight", 0, 1), ("down.weight", 1, 1)]
        );
    }

    #[test]
    fn a_grouped_convolution_moves_in_blocks() {
        let symmetry = derive(
            &json!({"kind":"image","shape":[1,4,4]}),
            &json!([{"op":"conv2d","param":"a"},{"op":"conv2d","param":"g","groups":2},{"op":"global_avg_pool"},
                    {"op":"linear","param":"fc"}]),
            &[
                ("a.weight", &[6, 1, 1, 1]),
                ("g.weight", &[4, 3, 1, 1]),
                ("fc.weight", &[2, 4]),
            ],
        );
        assert_eq!(symmetry.groups.len(), 1);
        assert_eq!(symmetry.groups[0].units, 2);
        assert_eq!(
            members(&symmetry.groups[0]),
            [("a.weight", 0, 3), ("g.weight", 0, 2), ("fc.weight", 1, 2)]
        );
    }

    #[test]
    fn adding_the_input_or_reading_out_fixes_a_space() {
        let symmetry = derive(
            &json!({"kind":"features","shape":[3]}),
            &json!([{"op":"linear","param":"a"},{"op":"add","inputs":["a","input"]},{"op":"linear","param":"b"}]),
            &[("a.weight", &[3, 3]), ("b.weight", &[2, 3])],
        );
        assert_eq!(symmetry.groups, []);
    }

    #[test]
    fn a_tied_tensor_ties_the_spaces_of_its_axes() {
        let symmetry = derive(
            &json!({"kind":"features","shape":[3]}),
            &json!([{"op":"linear","param":"a"},{"op":"linear","param":"w"},{"op":"linear","param":"w","id":"again"},
                    {"op":"linear","param":"b"}]),
            &[
                ("a.weight", &[3, 3]),
                ("w.weight", &[3, 3]),
                ("b.weight", &[2, 3]),
            ],
        );
        assert_eq!(symmetry.groups.len(), 1);
        assert_eq!(
            members(&symmetry.groups[0]),
            [
                ("a.weight", 0, 1),
                ("w.weight", 0, 1),
                ("w.weight", 1, 1),
                ("b.weight", 1, 1)
            ]
        );
    }

    #[test]
    fn a_tied_embedding_is_one_stream_and_its_rows_are_words() {
        let input = json!({"kind":"tokens","shape":[3]});
        let nodes = json!([{"op":"embedding","param":"e"},{"op":"rms_norm","param":"n"},
            {"op":"linear","param":"a"},{"op":"linear","param":"b"},{"op":"linear","param":"e","id":"out"}]);
        let shapes: [(&str, &[usize]); 4] = [
            ("e.weight", &[5, 2]),
            ("n.weight", &[2]),
            ("a.weight", &[4, 2]),
            ("b.weight", &[2, 4]),
        ];
        let symmetry = derive(&input, &nodes, &shapes);
        let names: Vec<_> = symmetry
            .groups
            .iter()
            .map(|g| (g.name.as_str(), g.units))
            .collect();
        assert_eq!(names, [("e", 2), ("a", 4)]);
        assert_eq!(
            members(&symmetry.groups[0]),
            [
                ("e.weight", 1, 1),
                ("n.weight", 0, 1),
                ("a.weight", 1, 1),
                ("b.weight", 0, 1)
            ]
        );
        // Words in the middle of a network are words too.
        let nodes = json!([{"op":"embedding","param":"e"},{"op":"linear","param":"e","id":"words"},
            {"op":"linear","param":"a"}]);
        let symmetry = derive(
            &input,
            &nodes,
            &[("e.weight", &[5, 2]), ("a.weight", &[3, 5])],
        );
        assert_eq!(
            symmetry.groups.iter().map(|g| g.units).collect::<Vec<_>>(),
            [2]
        );
    }
}
