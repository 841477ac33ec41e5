//! Channel spaces as the nodes of a graph see them, tied by union-find.

use std::collections::HashMap;

use crate::network::{
    Inputs, Instruction, Layer,
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
    /// Classes of a fused projection's equal parts (queries, keys, values).
    pub(super) parts: HashMap<usize, [usize; 3]>,
    pub(super) heads: Vec<AttentionSpaces>,
}

/// An attention's spaces.
pub(super) struct AttentionSpaces {
    /// The fused projection that the first three are parts of.
    fused: Option<usize>,
    /// Queries, keys, values, output.
    pub classes: [usize; 4],
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub rotary: bool,
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
    pub(super) fn through(&mut self, node: &Instruction, reads: Inputs<Space>) -> Space {
        let size = node.channels();
        match &node.layer {
            Layer::Linear(_)
            | Layer::Conv2d(Conv2d { groups: 1, .. })
            | Layer::Embedding { .. }
            | Layer::PositionEmbedding(_)
            | Layer::TokenTypeEmbedding { .. }
            | Layer::PatchEmbed(_) => Space { class: self.open(size), size },
            Layer::Conv2d(Conv2d { groups, .. }) => {
                let class = self.open(*groups);
                self.union(reads.first.class, class);
                Space { class, size }
            }
            Layer::Attention(layer) => self.attention(layer, reads),
            Layer::Add | Layer::Gate => {
                reads.rest.iter().for_each(|other| self.union(reads.first.class, other.class));
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
            | Layer::LayerScale { .. }
            | Layer::ClassToken { .. }
            | Layer::SelectToken { .. }
            | Layer::MeanTokens => Space { class: reads.first.class, size },
        }
    }

    fn attention(&mut self, layer: &Attention, reads: Inputs<Space>) -> Space {
        let &Attention { heads, kv_heads, head_size, .. } = layer;
        let size = heads * head_size;
        let first = reads.first.class;
        let (fused, [queries, keys, values]) = if let [keys, values, ..] = reads.rest[..] {
            (None, [first, keys.class, values.class])
        } else {
            let parts = [(); 3].map(|()| self.open(size));
            if self.parts.insert(first, parts).is_some() {
                self.fix(first); // read by two attentions
            }
            (Some(first), parts)
        };

        let output = self.open(size);
        if heads == kv_heads {
            self.union(queries, keys);
            self.union(values, output);
        }
        self.heads.push(AttentionSpaces {
            fused,
            classes: [queries, keys, values, output],
            heads,
            kv_heads,
            head_size,
            rotary: layer.rotary.is_some(),
        });
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
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
