//! Channel spaces as the nodes of a graph see them, tied by union-find.

use std::collections::{BTreeMap, HashMap};

use super::{Group, Member, Symmetry};
use crate::{
    network::{Axis, Op, ParamUse, Role},
    symmetry::Attention,
};

/// A channel space as one node sees it: `size` entries, in equal consecutive blocks, one per unit.
#[derive(Clone, Copy)]
pub(super) struct Space {
    pub(super) class: usize,
    pub(super) size: usize,
}

/// Union-find over spaces. A class has as many units as the coarsest tie demands.
#[derive(Default)]
pub(super) struct Spaces {
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
pub(super) struct AxisUse {
    tensor: String,
    axis: usize,
    role: Role,
    space: Space,
    opens: bool,
}

impl Spaces {
    pub(super) fn open(&mut self, units: usize) -> usize {
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

    pub(super) fn fix(&mut self, class: usize) {
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
    pub(super) fn through(&mut self, op: &Op, reads: &[Space], size: usize) -> Space {
        match op {
            Op::Linear { .. }
            | Op::Conv2d { groups: 1, .. }
            | Op::Embedding { .. }
            | Op::PositionEmbedding { .. }
            | Op::TokenTypeEmbedding { .. }
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn tie(&mut self, uses: Vec<(ParamUse, Space, Space)>) -> Vec<AxisUse> {
        let mut axes: Vec<AxisUse> = Vec::new();
        let mut seen: HashMap<(String, usize), usize> = HashMap::new();
        // An embedding's rows are words to all who read it.
        let mut pinned: Vec<(String, usize)> = Vec::new();
        for (param, read, output) in uses {
            for (axis, kind) in param.axes.iter().enumerate() {
                let space = match kind {
                    Axis::Output => output,
                    Axis::Input => read,
                    Axis::Fixed => {
                        pinned.push((param.name.clone(), axis));
                        continue;
                    }
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
        for pin in pinned {
            if let Some(&first) = seen.get(&pin) {
                self.fix(axes[first].space.class);
            }
        }
        axes
    }

    pub(super) fn collect(&self, axes: Vec<AxisUse>) -> Symmetry {
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
        Symmetry { groups, attentions, free: Vec::new(), tensors }
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
