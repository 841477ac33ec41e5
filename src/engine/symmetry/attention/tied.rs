//! Attentions whose heads are in one order.

use std::borrow::Borrow;

use rand::Rng;

use super::{Arrangement, Attention, Inside, shuffled};
use crate::symmetry::assignment::{self, NotFinite};

/// Attentions that share a tensor with an entry for each head, as all layers of `MPNet` do; mostly a single
/// one. Each has as many key/value heads as the others, and dimensions of its own.
#[derive(Clone, Copy, Debug)]
pub struct TiedHeads<'a>(pub &'a [Attention]);

/// Similarity matrices of some groups and their present orders.
pub(super) struct Given<'a, M> {
    groups: Vec<usize>,
    matrices: &'a [M],
    current: &'a [&'a [u32]],
}

impl<M: Borrow<Vec<f32>>> Given<'_, M> {
    fn position(&self, group: usize) -> usize {
        self.groups.iter().take_while(|own| **own < group).count()
    }

    pub fn matrix(&self, group: usize) -> &[f32] {
        let matrix: &Vec<f32> = self.matrices[self.position(group)].borrow();
        matrix
    }

    pub fn order(&self, group: usize) -> &[u32] {
        self.current[self.position(group)]
    }
}

impl TiedHeads<'_> {
    /// The groups of all of them, each once.
    pub fn groups(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = self.0.iter().flat_map(Attention::groups).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Key/value heads of each.
    fn heads(&self) -> usize {
        self.0.first().map_or(0, |attention| attention.kv_heads)
    }

    /// The best order of every group's channels, `(group, σ)`, given the similarity matrices and the
    /// present orders, both in the order of [`TiedHeads::groups`].
    ///
    /// # Errors
    /// When a matrix holds values that are not finite.
    pub fn solve<M: Borrow<Vec<f32>>>(
        &self,
        matrices: &[M],
        current: &[&[u32]],
    ) -> Result<Vec<(usize, Vec<u32>)>, NotFinite> {
        let given = Given {
            groups: self.groups(),
            matrices,
            current,
        };
        let n = self.heads();
        let mut values = vec![0.0; n * n];
        let mut insides: Vec<Vec<Inside>> = Vec::with_capacity(self.0.len());
        for attention in self.0 {
            let mut own = Vec::with_capacity(n * n);
            for (sum, (inside, value)) in values.iter_mut().zip(attention.pairs(&given)?) {
                *sum += value;
                own.push(inside);
            }
            insides.push(own);
        }

        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        let present = self
            .0
            .first()
            .map(|attention| attention.current(&given).heads);
        let heads = assignment::solve(&values, n, present.as_deref(), None)?.sigma;
        let arranged = self.0.iter().zip(&insides).flat_map(|(attention, own)| {
            let inside = heads
                .iter()
                .enumerate()
                .map(|(target, &source)| own[target * n + source as usize].clone())
                .collect();
            attention.channels(&Arrangement {
                heads: heads.clone(),
                inside,
            })
        });
        Ok(sorted(arranged.collect()))
    }

    /// A uniformly random element.
    pub fn random(&self, rng: &mut impl Rng) -> Vec<(usize, Vec<u32>)> {
        let heads = shuffled(self.heads(), rng);
        let mut orders = Vec::new();
        for attention in self.0 {
            let arrangement = attention.random(heads.clone(), rng);
            orders.extend(attention.channels(&arrangement));
        }
        sorted(orders)
    }

    /// Whether the orders of these attentions' groups, among those of all, keep heads together, in one
    /// order, and move only what may move.
    pub fn admits(&self, sigmas: &[Vec<u32>]) -> bool {
        let mut heads = self
            .0
            .iter()
            .map(|attention| attention.arrangement(|group| &sigmas[group]).heads);
        let first = heads.next();
        heads.all(|other| Some(&other) == first.as_ref())
            && self.0.iter().all(|attention| attention.admits(sigmas))
    }
}

/// In the order of the groups.
fn sorted(mut orders: Vec<(usize, Vec<u32>)>) -> Vec<(usize, Vec<u32>)> {
    orders.sort_by_key(|(group, _)| *group);
    orders
}
