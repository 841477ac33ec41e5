//! Channel spaces as the nodes of a graph see them, tied by union-find.

use std::collections::HashMap;

use super::attention_spaces::AttentionSpaces;
use crate::network::{
    Axis, Inputs, Instruction, Layer,
    op::FusedOrder,
    program::layer::{Attention, Conv2d},
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
    pub(super) units: Vec<usize>,
    pub(super) fixed: Vec<bool>,
    /// What a class consists of: the parts of a fused projection, in order.
    pub(super) parts: HashMap<usize, Parts>,
    pub(super) heads: Vec<AttentionSpaces>,
    pub(super) of_experts: Vec<ExpertSpaces>,
    pub(super) convolutions: Vec<GroupedSpaces>,
}

/// A fused space: each part is a class of its own.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub all: Vec<Part>,
    /// The parts take turns, so many entries of each: GPT-NeoX's heads. Else each lies together.
    pub turns: Option<usize>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub class: usize,
    pub size: usize,
    /// What is added to the tensor's prefix to name the group.
    pub name: String,
}

/// How a space is cut.
struct Cut {
    sizes: Vec<usize>,
    /// As [`Parts::turns`].
    turns: Option<usize>,
    /// Into queries, keys and values.
    is_attention: bool,
}

/// The spaces of a layer of experts.
pub(super) struct ExpertSpaces {
    /// What the router puts out.
    pub order: usize,
    pub hidden: Vec<Space>,
    pub tensors: Vec<Vec<String>>,
    /// Nothing keeps them from changing places.
    pub is_ordered: bool,
}

/// The spaces of a convolution in groups.
pub(super) struct GroupedSpaces {
    pub weight: String,
    pub input: Space,
    pub output: Space,
    pub blocks: usize,
    /// Its channels permute inside its groups.
    pub is_free: bool,
}

impl Spaces {
    pub(super) fn open(&mut self, units: usize) -> usize {
        self.parent.push(self.parent.len());
        self.units.push(units);
        self.fixed.push(false);
        self.parent.len() - 1
    }

    pub(super) fn find(&self, mut class: usize) -> usize {
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
    pub(super) fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let (root, child) = (a.min(b), a.max(b));
        self.units[root] = gcd(self.units[a], self.units[b]);
        // A fused projection that is tied to anything else is beyond this symmetry.
        let fused = a != b && (self.parts.contains_key(&a) || self.parts.contains_key(&b));
        self.fixed[root] |= self.fixed[child] || fused;
        self.parent[child] = root;
    }

    /// The space a node puts out.
    #[expect(clippy::too_many_lines, reason = "an arm for every layer")]
    pub(super) fn through(&mut self, node: &Instruction, reads: Inputs<Space>) -> Space {
        let size = node.channels();

        match &node.layer {
            Layer::Linear(_)
            | Layer::Conv2d(Conv2d { groups: 1, .. })
            | Layer::Embedding(_)
            | Layer::PositionEmbedding(_)
            | Layer::ResampledPositions { .. }
            | Layer::TokenTypeEmbedding { .. }
            | Layer::Table { .. }
            | Layer::PatchEmbed(_) => Space {
                class: self.open(size),
                size,
            },
            Layer::Conv2d(layer) => self.grouped(layer, reads.first, size),
            // Each channel is of one speed.
            Layer::Sinusoids => {
                let class = self.open(size);
                self.fix(class);
                Space { class, size }
            }
            Layer::Attention(layer) => self.attention(node, layer, reads),
            Layer::Experts(layer) => {
                self.experts(node, layer, reads.rest.first().copied());
                Space {
                    class: self.open(size),
                    size,
                }
            }
            Layer::Split { parts, part } => {
                let cut = Cut {
                    sizes: vec![size; *parts],
                    turns: None,
                    is_attention: false,
                };
                let class = self.cut(reads.first, cut)[*part].class;
                Space { class, size }
            }
            Layer::GroupNorm(layer) => {
                // Whole groups of channels change places; a single one, or single channels, are no ties.
                let each = size / layer.groups;
                if layer.groups > 1 && each > 1 {
                    let class = self.open(layer.groups);
                    self.union(reads.first.class, class);
                }
                reads.first
            }
            Layer::Concat => self.joined(&reads, size),
            // Each of four neighbours has the channels in the order of the stream.
            Layer::MergeTokens { .. } => {
                let Inputs { first, .. } = reads;
                let rest = vec![first; 3];
                self.joined(&Inputs { first, rest }, size)
            }
            Layer::Add | Layer::Gate | Layer::ChannelGate { .. } => {
                reads
                    .rest
                    .iter()
                    .for_each(|other| self.union(reads.first.class, other.class));
                reads.first
            }
            Layer::BatchNorm(_)
            | Layer::Nonlinear(_)
            | Layer::Pool(_)
            | Layer::AdaptiveAvgPool { .. }
            | Layer::GlobalAvgPool { .. }
            | Layer::Flatten
            | Layer::Identity
            | Layer::Norm(_)
            | Layer::ResponseNorm(_)
            | Layer::Scale { .. }
            | Layer::SoftCap { .. }
            | Layer::LayerScale { .. }
            | Layer::Offset { .. }
            | Layer::ToTokens { .. }
            | Layer::ClassToken { .. }
            | Layer::SelectToken(_)
            | Layer::ShiftTokens(_)
            | Layer::MaskTokens
            | Layer::MeanTokens { .. } => Space {
                class: reads.first.class,
                size,
            },
        }
    }

    /// What a convolution in groups puts out. Where each group has a single channel on both sides, these are one space.
    fn grouped(&mut self, layer: &Conv2d, input: Space, size: usize) -> Space {
        let blocks = layer.groups;
        if input.size == blocks && size == blocks {
            let class = self.open(blocks);
            self.union(input.class, class);
            return Space { class, size };
        }

        let output = Space {
            class: self.open(size),
            size,
        };
        self.convolutions.push(GroupedSpaces {
            weight: layer.weight.name.clone(),
            input,
            output,
            blocks,
            is_free: true,
        });
        output
    }

    /// A space that is a row of others. One of those that is a row itself is taken apart.
    fn joined(&mut self, reads: &Inputs<Space>, size: usize) -> Space {
        let mut all = Vec::new();
        for space in reads.iter() {
            let root = self.find(space.class);
            match self.parts.get(&root) {
                Some(Parts {
                    all: own,
                    turns: None,
                }) if size_of(own) == space.size => {
                    all.extend(own.iter().cloned());
                }
                _ => all.push(Part {
                    class: space.class,
                    size: space.size,
                    name: String::new(),
                }),
            }
        }
        for (i, part) in all.iter_mut().enumerate() {
            part.name = format!(".{i}");
        }

        let class = self.open(size);
        self.parts.insert(class, Parts { all, turns: None });

        Space { class, size }
    }

    fn attention(&mut self, node: &Instruction, layer: &Attention, reads: Inputs<Space>) -> Space {
        let &Attention {
            heads,
            kv_heads,
            head_size,
            ..
        } = layer;
        let size = heads * head_size;
        let first = reads.first.class;
        let (fused, [queries, keys, values]) = if let [keys, values, ..] = reads.rest[..] {
            (None, [first, keys.class, values.class])
        } else {
            if self.parts.contains_key(&self.find(first)) {
                self.fix(first); // read by two attentions
            }
            let turns = (layer.fused == FusedOrder::Heads).then_some(head_size);
            let cut = Cut {
                sizes: layer.widths().into(),
                turns,
                is_attention: true,
            };
            let parts = self.cut(reads.first, cut);
            (Some(first), [0, 1, 2].map(|part| parts[part].class))
        };

        let output = self.open(size);
        if heads == kv_heads {
            self.union(queries, keys);
            self.union(values, output);
        }
        // What distances are meets queries or keys, dimension by dimension.
        if layer.distances.is_some() {
            let behind = reads.rest.iter().skip(2);
            let of_distances = behind.take(reads.rest.len() - 2 - usize::from(layer.mask));
            of_distances.for_each(|space| self.union(queries, space.class));
        }
        let by_head = node
            .params
            .iter()
            .filter(|param| param.axes.contains(&Axis::Heads))
            .map(|param| param.name.clone());
        self.heads.push(AttentionSpaces {
            fused,
            classes: [queries, keys, values, output],
            heads,
            kv_heads,
            head_size,
            fixed_dimensions: layer.fixed_dimensions(),
            by_head: by_head.collect(),
        });

        Space {
            class: output,
            size,
        }
    }

    /// The parts of a fused space: those that it has been cut into before, else new ones of these sizes. A
    /// space that is cut in two ways, or whose units are not single entries, is beyond this symmetry.
    fn cut(&mut self, whole: Space, cut: Cut) -> Vec<Part> {
        let Cut {
            sizes,
            turns,
            is_attention,
        } = cut;
        let root = self.find(whole.class);
        if let Some(parts) = self.parts.get(&root) {
            let same = parts.turns == turns
                && parts
                    .all
                    .iter()
                    .map(|part| part.size)
                    .eq(sizes.iter().copied());
            if same {
                return parts.all.clone();
            }
            self.fix(root);
        }
        if self.units[root] != whole.size {
            self.fix(root);
        }

        let mut all = Vec::with_capacity(sizes.len());
        for (i, size) in sizes.into_iter().enumerate() {
            let name = if is_attention {
                [".q", ".k", ".v"][i].to_owned()
            } else {
                format!(".{i}")
            };
            all.push(Part {
                class: self.open(size),
                size,
                name,
            });
        }
        let parts = Parts {
            all: all.clone(),
            turns,
        };
        self.parts.entry(root).or_insert(parts);

        all
    }

    /// Fixes the parts of what is fixed as a whole, and a part that has been cut itself since it was joined;
    /// whether there were any to fix.
    pub(super) fn settle_parts(&mut self) -> bool {
        let mut moving = Vec::new();
        for (whole, parts) in &self.parts {
            let is_fixed = self.fixed[self.find(*whole)];
            let roots = parts.all.iter().map(|part| self.find(part.class));
            moving.extend(roots.filter(|root| is_fixed || self.parts.contains_key(root)));
        }
        moving.retain(|&root| !self.fixed[root]);
        moving.iter().for_each(|&root| self.fixed[root] = true);
        !moving.is_empty()
    }
}

fn size_of(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.size).sum()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
