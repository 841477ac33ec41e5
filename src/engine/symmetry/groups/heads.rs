//! Which attentions may move, and which of them together.
//!
//! The heads of an attention move where its four spaces are its own. Two cases go beyond one node:
//!
//! - Layers that share all their parameters are one attention, computed more than once: ALBERT.
//! - Attentions that read one tensor with an entry for each head have their heads in one order, and the
//!   dimensions of each head as they like: `MPNet` and T5, whose layers share a table of position biases.

use super::{attention_spaces::AttentionSpaces, spaces::Spaces};

impl Spaces {
    /// The attentions whose heads are in one order, by their positions, in graph order.
    pub(super) fn tied_heads(&self) -> Vec<Vec<usize>> {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        for position in 0..self.heads.len() {
            let (tied, others): (Vec<_>, Vec<_>) = sets
                .into_iter()
                .partition(|set| set.iter().any(|&other| self.is_tied(position, other)));
            sets = others;
            let mut joined: Vec<usize> = tied.into_iter().flatten().chain([position]).collect();
            joined.sort_unstable();
            sets.push(joined);
        }
        sets.sort_unstable();
        sets
    }

    fn is_tied(&self, position: usize, other: usize) -> bool {
        self.heads[position].shares_a_tensor(&self.heads[other]) || self.is_same(position, other)
    }

    /// Whether two nodes are one attention: of the same spaces, with heads of the same kind.
    fn is_same(&self, position: usize, other: usize) -> bool {
        let [own, others] = [position, other].map(|at| &self.heads[at]);
        let same_kind = (own.heads, own.kv_heads) == (others.heads, others.kv_heads)
            && (own.head_size, own.fixed_dimensions) == (others.head_size, others.fixed_dimensions);
        same_kind && self.roots(position) == self.roots(other)
    }

    /// Fixes attentions of which some part is fixed, tied elsewhere or shared.
    pub(super) fn settle(&mut self) {
        let sets = self.tied_heads();
        let mut changed = true;
        while changed {
            changed = self.settle_parts() | self.fix_convolutions();
            for set in &sets {
                let all: Vec<usize> = set.iter().flat_map(|&at| self.roots(at)).collect();
                let fixed = all.iter().filter(|&&root| self.fixed[root]).count();
                let broken = fixed > 0 || !self.moves(set);
                if broken && fixed < all.len() {
                    all.iter().for_each(|&root| self.fixed[root] = true);
                    changed = true;
                }
            }
        }
    }

    /// Whether tied attentions can be moved: each of them, and all in one order of heads.
    fn moves(&self, set: &[usize]) -> bool {
        let Some((&first, others)) = set.split_first() else {
            return false;
        };
        let in_one_order = others.iter().all(|&other| {
            let [own, others] = [first, other].map(|at| &self.heads[at]);
            let alike = own.is_plain() && others.is_plain() && own.heads == others.heads;
            alike || self.is_same(first, other)
        });
        in_one_order && set.iter().all(|&position| self.stands_alone(position))
    }

    fn roots(&self, position: usize) -> Vec<usize> {
        let AttentionSpaces { fused, classes, .. } = &self.heads[position];
        fused
            .iter()
            .chain(classes)
            .map(|&class| self.find(class))
            .collect()
    }

    /// Whether the spaces have the widths of heads and belong to this attention alone.
    fn stands_alone(&self, position: usize) -> bool {
        let AttentionSpaces {
            classes,
            heads,
            kv_heads,
            head_size,
            ..
        } = &self.heads[position];
        let widths = [*heads, *kv_heads, *kv_heads, *heads].map(|n| n * head_size);
        let [queries, keys, values, output] = classes.map(|class| self.find(class));
        let fits = classes
            .iter()
            .zip(widths)
            .all(|(&class, n)| self.units[self.find(class)] == n);
        let apart = queries != values && queries != output && keys != values && keys != output;
        let grouped = heads != kv_heads;
        let paired = (queries == keys) != grouped && (values == output) != grouped;
        let mine = self.roots(position);
        let mut others = (0..self.heads.len()).filter(|&other| other != position);
        let shared = others.any(|other| {
            let overlaps = self.roots(other).iter().any(|root| mine.contains(root));
            overlaps && !self.is_same(position, other)
        });
        fits && apart && paired && !shared
    }
}
