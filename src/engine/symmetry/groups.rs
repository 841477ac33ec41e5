//! Derives the groups of a graph from its wiring, by union-find over channel spaces.
//!
//! - An op that makes new channels (linear, convolution) opens a space.
//! - An op that works per channel (activation, normalisation, pooling) keeps its input's; flatten
//!   keeps it too, each channel then owning H·W consecutive entries.
//! - `add` ties its operands; a tied tensor ties the spaces of its axes; a convolution with G
//!   groups ties input and output, in blocks of consecutive channels.
//! - Attention ties queries to keys and values to what it puts out, head by head (`attention`); a
//!   fused projection's output is cut into its three parts.
//! - The sample's channels and the output's are fixed.

use std::collections::{BTreeMap, HashMap};

use super::attention::Attention;
use crate::engine::network::{
    Axis, Graph, GraphError, Op, Operand, Role, Signature, shapes::channels,
};

/// The permutation group of a graph: one symmetric group for each [`Group`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    pub groups: Vec<Group>,
    /// Groups that only move as heads and dimensions of heads.
    pub attentions: Vec<Attention>,
    /// For each tensor with permuted axes: `(axis, group, member)` in order of axis.
    tensors: BTreeMap<String, Vec<(usize, usize, usize)>>,
}

/// Units that may be reordered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The prefix of the first tensor that the group's units come from.
    pub name: String,
    pub units: usize,
    pub members: Vec<Member>,
}

/// An axis that follows a group: entries `start + u · repeat ..` of the axis belong to unit `u`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub tensor: String,
    pub axis: usize,
    pub start: usize,
    /// Consecutive entries a unit owns.
    pub repeat: usize,
    pub role: Role,
}

impl Symmetry {
    /// The groups of a graph, in graph order.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn derive(graph: &Graph, signature: &Signature) -> Result<Self, GraphError> {
        let shapes = graph.shapes(signature)?;
        let mut spaces = Spaces::default();
        let input =
            Space { class: spaces.open(graph.input.shape()[0]), size: graph.input.shape()[0] };
        spaces.fix(input.class);
        let mut outputs: Vec<Space> = Vec::with_capacity(graph.nodes.len());
        let mut uses = Vec::new();
        for (node, shape) in graph.nodes.iter().zip(&shapes) {
            let reads: Vec<Space> = node
                .inputs
                .iter()
                .map(|operand| match operand {
                    Operand::Input => input,
                    Operand::Node(i) => outputs[*i],
                })
                .collect();
            let from_tokens =
                matches!(node.inputs.first(), Some(Operand::Node(i)) if shapes[*i].len() == 2);
            if from_tokens && matches!(node.op, Op::Flatten {}) {
                spaces.fix(reads[0].class); // a channel's entries do not lie together
            }
            let output = spaces.through(&node.op, &reads, channels(shape));
            for param in node.op.params().into_iter().filter(|p| signature.contains_key(&p.name)) {
                uses.push((param, reads[0], output));
            }
            outputs.push(output);
        }
        if let Some(last) = outputs.last() {
            spaces.fix(last.class);
        }
        let axes = spaces.tie(uses);
        spaces.settle();
        Ok(spaces.collect(axes))
    }

    /// The group and member that each permuted axis of a tensor follows, in order of axis.
    pub fn axes(&self, tensor: &str) -> impl Iterator<Item = (&Member, usize)> {
        self.tensors
            .get(tensor)
            .into_iter()
            .flatten()
            .map(|&(_, group, member)| (&self.groups[group].members[member], group))
    }

    /// Groups that are solved together, in graph order: those of an attention, every other alone.
    pub fn blocks(&self) -> Vec<Vec<usize>> {
        let mut blocks: Vec<Vec<usize>> = self.attentions.iter().map(Attention::groups).collect();
        let alone = (0..self.groups.len()).filter(|g| !blocks.iter().flatten().any(|b| b == g));
        blocks.extend(alone.map(|group| vec![group]).collect::<Vec<_>>());
        blocks.sort_unstable();
        blocks
    }

    /// Whether no learned tensor has permuted units on two axes: the groups then do not depend on
    /// each other.
    pub fn is_separable(&self) -> bool {
        let two_axes = |members: &Vec<(usize, usize, usize)>| {
            members.iter().any(|&(axis, ..)| axis != members[0].0)
        };
        !self.tensors.values().any(two_axes)
    }
}

/// A channel space as one node sees it: `size` entries, in equal consecutive blocks, one a unit.
#[derive(Clone, Copy)]
struct Space {
    class: usize,
    size: usize,
}

/// Union-find over spaces. A class has as many units as the coarsest tie demands.
#[derive(Default)]
struct Spaces {
    parent: Vec<usize>,
    units: Vec<usize>,
    fixed: Vec<bool>,
    /// Classes of a fused projection's equal parts (queries, keys, values).
    parts: HashMap<usize, [usize; 3]>,
    heads: Vec<AttentionSpaces>,
}

/// An attention's spaces.
struct AttentionSpaces {
    /// The fused projection that the first three are parts of.
    fused: Option<usize>,
    /// Queries, keys, values, output.
    classes: [usize; 4],
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    rotary: bool,
}

/// One permuted or fixed axis of a tensor.
struct AxisUse {
    tensor: String,
    axis: usize,
    role: Role,
    space: Space,
    opens: bool,
}

impl Spaces {
    fn open(&mut self, units: usize) -> usize {
        self.parent.push(self.parent.len());
        self.units.push(units);
        self.fixed.push(false);
        self.parent.len() - 1
    }

    fn find(&self, mut class: usize) -> usize {
        while self.parent[class] != class {
            class = self.parent[class];
        }
        class
    }

    fn fix(&mut self, class: usize) {
        let root = self.find(class);
        self.fixed[root] = true;
    }

    /// Ties two classes; the older one stays the root, so that names follow graph order.
    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let (root, child) = (a.min(b), a.max(b));
        self.units[root] = gcd(self.units[a], self.units[b]);
        // A fused projection that is tied to anything else is beyond this symmetry.
        let fused = a != b && (self.parts.contains_key(&a) || self.parts.contains_key(&b));
        self.fixed[root] |= self.fixed[child] || fused;
        self.parent[child] = root;
    }

    /// The space a node puts out.
    fn through(&mut self, op: &Op, reads: &[Space], size: usize) -> Space {
        match op {
            Op::Linear { .. }
            | Op::Conv2d { groups: 1, .. }
            | Op::Embedding { .. }
            | Op::PositionEmbedding { .. }
            | Op::PatchEmbed { .. } => Space { class: self.open(size), size },
            Op::Conv2d { groups, .. } => {
                let class = self.open(*groups);
                self.union(reads[0].class, class);
                Space { class, size }
            }
            Op::Attention { heads, kv_heads, rotary, mask, .. } => {
                let reads = &reads[..reads.len() - usize::from(*mask)];
                let kv_heads = kv_heads.unwrap_or(*heads);
                self.attention(reads, size, (*heads, kv_heads), rotary.is_some())
            }
            Op::Add {} | Op::Gate {} => {
                reads[1..].iter().for_each(|other| self.union(reads[0].class, other.class));
                reads[0]
            }
            Op::BatchNorm { .. }
            | Op::Relu {}
            | Op::Gelu {}
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::AdaptiveAvgPool { .. }
            | Op::GlobalAvgPool {}
            | Op::Flatten {}
            | Op::Dropout { .. }
            | Op::LayerNorm { .. }
            | Op::RmsNorm { .. }
            | Op::LayerScale { .. }
            | Op::ClassToken { .. }
            | Op::GeluTanh {}
            | Op::Silu {}
            | Op::Tanh {}
            | Op::SelectToken { .. }
            | Op::MeanTokens {} => Space { class: reads[0].class, size },
        }
    }

    fn attention(
        &mut self,
        reads: &[Space],
        size: usize,
        (heads, kv_heads): (usize, usize),
        rotary: bool,
    ) -> Space {
        let head_size = size / heads;
        let (fused, [queries, keys, values]) = match reads {
            [fused] => {
                let parts = [(); 3].map(|()| self.open(size));
                if self.parts.insert(fused.class, parts).is_some() {
                    self.fix(fused.class); // read by two attentions
                }
                (Some(fused.class), parts)
            }
            _ => (None, [reads[0].class, reads[1].class, reads[2].class]),
        };
        let output = self.open(size);
        if heads == kv_heads {
            self.union(queries, keys);
            self.union(values, output);
        }
        let classes = [queries, keys, values, output];
        self.heads.push(AttentionSpaces { fused, classes, heads, kv_heads, head_size, rotary });
        Space { class: output, size }
    }

    /// Fixes attentions of which some part is fixed, tied elsewhere or shared.
    fn settle(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for position in 0..self.heads.len() {
                let all = self.roots(position);
                let fixed = all.iter().filter(|&&root| self.fixed[root]).count();
                let broken = fixed > 0 || !self.stands_alone(position);
                if broken && fixed < all.len() {
                    all.iter().for_each(|&root| self.fixed[root] = true);
                    changed = true;
                }
            }
        }
    }

    fn roots(&self, position: usize) -> Vec<usize> {
        let AttentionSpaces { fused, classes, .. } = &self.heads[position];
        fused.iter().chain(classes).map(|&class| self.find(class)).collect()
    }

    /// Whether the spaces have the widths of heads and belong to this attention alone.
    fn stands_alone(&self, position: usize) -> bool {
        let AttentionSpaces { classes, heads, kv_heads, head_size, .. } = &self.heads[position];
        let widths = [*heads, *kv_heads, *kv_heads, *heads].map(|n| n * head_size);
        let [queries, keys, values, output] = classes.map(|class| self.find(class));
        let fits = classes.iter().zip(widths).all(|(&class, n)| self.units[self.find(class)] == n);
        let apart = queries != values && queries != output && keys != values && keys != output;
        let grouped = heads != kv_heads;
        let paired = (queries == keys) != grouped && (values == output) != grouped;
        let mine = self.roots(position);
        let shared = (0..self.heads.len())
            .any(|other| other != position && self.roots(other).iter().any(|r| mine.contains(r)));
        fits && apart && paired && !shared
    }

    /// The axes of every tensor, once each; a tensor that two nodes read ties their spaces.
    fn tie(&mut self, uses: Vec<(crate::engine::network::ParamUse, Space, Space)>) -> Vec<AxisUse> {
        let mut axes: Vec<AxisUse> = Vec::new();
        let mut seen: HashMap<(String, usize), usize> = HashMap::new();
        for (param, read, output) in uses {
            for (axis, kind) in param.axes.iter().enumerate() {
                let space = match kind {
                    Axis::Output => output,
                    Axis::Input => read,
                    Axis::Fixed => continue,
                };
                if let Some(&first) = seen.get(&(param.name.clone(), axis)) {
                    self.union(axes[first].space.class, space.class);
                    continue;
                }
                seen.insert((param.name.clone(), axis), axes.len());
                let opens = *kind == Axis::Output;
                axes.push(AxisUse {
                    tensor: param.name.clone(),
                    axis,
                    role: param.role,
                    space,
                    opens,
                });
            }
        }
        axes
    }

    fn collect(&self, axes: Vec<AxisUse>) -> Symmetry {
        let mut groups: Vec<Group> = Vec::new();
        let mut of_class: HashMap<usize, usize> = HashMap::new();
        let mut tensors: BTreeMap<String, Vec<(usize, usize, usize)>> = BTreeMap::new();
        // Axes that open a space come first, so that a group is named after where its units begin.
        for opens in [true, false] {
            for (axis, range) in
                axes.iter().filter(|a| a.opens == opens).flat_map(|a| self.ranges(a))
            {
                let class = range.class;
                if self.fixed[class] || self.units[class] < 2 || of_class.contains_key(&class) {
                    continue;
                }
                of_class.insert(class, groups.len());
                let prefix =
                    axis.tensor.rsplit_once('.').map_or(axis.tensor.as_str(), |(prefix, _)| prefix);
                let name = format!("{prefix}{}", range.part);
                groups.push(Group { name, units: self.units[class], members: Vec::new() });
            }
        }
        for (axis, range) in axes.iter().flat_map(|axis| self.ranges(axis)) {
            let Some(&group) = of_class.get(&range.class) else { continue };
            let member = Member {
                tensor: axis.tensor.clone(),
                axis: axis.axis,
                start: range.start,
                repeat: range.size / self.units[range.class],
                role: axis.role,
            };
            let position = groups[group].members.len();
            tensors.entry(axis.tensor.clone()).or_default().push((axis.axis, group, position));
            groups[group].members.push(member);
        }
        let attention = |heads: &AttentionSpaces| {
            let mut found =
                heads.classes.iter().map(|&class| of_class.get(&self.find(class)).copied());
            let mut next = || found.next().flatten();
            let (queries, keys, values, output) = (next()?, next()?, next()?, next()?);
            let &AttentionSpaces { heads, kv_heads, head_size, rotary, .. } = heads;
            Some(Attention { queries, keys, values, output, heads, kv_heads, head_size, rotary })
        };
        let attentions = self.heads.iter().filter_map(attention).collect();
        Symmetry { groups, attentions, tensors }
    }

    /// The ranges of an axis, each with a class of its own.
    fn ranges<'a>(&self, axis: &'a AxisUse) -> Vec<(&'a AxisUse, Range)> {
        let class = self.find(axis.space.class);
        let Some(parts) = self.parts.get(&class) else {
            let part = if axis.opens { "" } else { ".input" };
            return vec![(axis, Range { class, start: 0, size: axis.space.size, part })];
        };
        let size = axis.space.size / 3;
        let range = |(i, (&class, part)): (usize, (&usize, &'static str))| {
            (axis, Range { class: self.find(class), start: i * size, size, part })
        };
        parts.iter().zip([".q", ".k", ".v"]).enumerate().map(range).collect()
    }
}

/// Consecutive entries of an axis.
struct Range {
    class: usize,
    start: usize,
    size: usize,
    /// What is added to the tensor's prefix to name the group.
    part: &'static str,
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::network::{DType, TensorInfo};

    pub fn derive(input: &Value, nodes: &Value, tensors: &[(&str, &[usize])]) -> Symmetry {
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        let signature = tensors
            .iter()
            .map(|(name, shape)| {
                ((*name).to_owned(), TensorInfo { dtype: DType::F32, shape: shape.to_vec() })
            })
            .collect();
        Symmetry::derive(&graph, &signature).unwrap()
    }

    fn members(group: &Group) -> Vec<(&str, usize, usize)> {
        group.members.iter().map(|m| (m.tensor.as_str(), m.axis, m.repeat)).collect()
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
        assert_eq!((symmetry.groups[0].name.as_str(), symmetry.groups[0].units), ("c", 3));
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
        let names: Vec<_> = symmetry.groups.iter().map(|g| (g.name.as_str(), g.units)).collect();
        assert_eq!(names, [("embed", 4), ("up", 6)]);
        let stream = [
            ("embed.weight", 0, 1),
            ("up.weight", 1, 1),
            ("down.weight", 0, 1),
            ("down.bias", 0, 1),
            ("head.weight", 1, 1),
        ];
        assert_eq!(members(&symmetry.groups[0]), stream);
        assert_eq!(members(&symmetry.groups[1]), [("up.weight", 0, 1), ("down.weight", 1, 1)]);
    }

    #[test]
    fn a_grouped_convolution_moves_in_blocks() {
        let symmetry = derive(
            &json!({"kind":"image","shape":[1,4,4]}),
            &json!([{"op":"conv2d","param":"a"},{"op":"conv2d","param":"g","groups":2},{"op":"global_avg_pool"},
                    {"op":"linear","param":"fc"}]),
            &[("a.weight", &[6, 1, 1, 1]), ("g.weight", &[4, 3, 1, 1]), ("fc.weight", &[2, 4])],
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
            &[("a.weight", &[3, 3]), ("w.weight", &[3, 3]), ("b.weight", &[2, 3])],
        );
        assert_eq!(symmetry.groups.len(), 1);
        assert_eq!(
            members(&symmetry.groups[0]),
            [("a.weight", 0, 1), ("w.weight", 0, 1), ("w.weight", 1, 1), ("b.weight", 1, 1)]
        );
    }
}
