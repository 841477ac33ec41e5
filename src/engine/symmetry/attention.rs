//! The symmetry of attention: heads are blocks, and inside a head dimensions permute.
//!
//! Its four channel spaces (queries, keys, values, and what the output projection reads) follow one
//! [`Arrangement`]: key/value heads move as blocks with the query heads they serve, query heads
//! move inside their block, value dimensions permute together with the columns that read them, and
//! query and key dimensions together where no rotary embedding ties them to positions and no norm has
//! weights that all heads share. In plain
//! multi-head attention queries and keys are one group, values and output another.
//!
//! Solved on two levels: for every pair of key/value heads the best inside, then heads by those
//! values. The channels of a convolution's groups are the same with a single space: its groups are the heads, and
//! there are no values ([`Attention::of_blocks`]).
//!
//! Exact where each head has keys of its own; with grouped queries the inside alternates
//! between dimensions and query heads until neither moves. Both levels keep the present arrangement
//! where nothing is gained: dead heads, dead dimensions and ties stay.

mod arrangement;
mod head_pair;
mod tied;

use std::borrow::Borrow;

use rand::{Rng, seq::SliceRandom};

use super::assignment::NotFinite;
use arrangement::{Arrangement, Inside};
use head_pair::{HeadPair, Heads, Matrices};
use tied::Given;
pub use tied::TiedHeads;

/// An attention's channel groups, by their positions in the symmetry, and what may move in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Attentions of the same number have their heads in one order ([`TiedHeads`]).
    pub order: usize,
    pub queries: usize,
    /// Equal to `queries` where every head has keys of its own.
    pub keys: usize,
    pub values: usize,
    /// Equal to `values` where every head has values of its own.
    pub output: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    /// Of each head's queries and keys so many dimensions stay in place, the first: those that rotary
    /// positions turn, or all where the heads share the weights of a norm.
    pub fixed_dimensions: usize,
}

impl Attention {
    /// A single space of blocks, so many units each: all of its four are one.
    pub(super) fn of_blocks(order: usize, group: usize, blocks: usize, size: usize) -> Self {
        Self {
            order,
            queries: group,
            keys: group,
            values: group,
            output: group,
            heads: blocks,
            kv_heads: blocks,
            head_size: size,
            fixed_dimensions: 0,
        }
    }

    /// The groups, each once.
    pub fn groups(&self) -> Vec<usize> {
        let mut groups = vec![self.queries, self.keys, self.values, self.output];
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Query heads that a key/value head serves.
    fn served(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Its present arrangement.
    fn current<M: Borrow<Vec<f32>>>(&self, given: &Given<'_, M>) -> Arrangement {
        self.arrangement(|group| given.order(group))
    }

    /// The best inside of every pair of key/value heads, and its value, row by row of the target's.
    fn pairs<M: Borrow<Vec<f32>>>(
        &self,
        given: &Given<'_, M>,
    ) -> Result<Vec<(Inside, f64)>, NotFinite> {
        let current = self.current(given);
        let matrices = Matrices {
            queries: given.matrix(self.queries),
            keys: (self.keys != self.queries).then(|| given.matrix(self.keys)),
            values: (self.values != self.queries).then(|| given.matrix(self.values)),
            output: (self.output != self.values).then(|| given.matrix(self.output)),
        };

        let n = self.kv_heads;
        let pairs = (0..n * n).map(|at| Heads {
            target: at / n,
            source: at % n,
        });
        pairs
            .map(|heads| {
                let pair = HeadPair {
                    attention: self,
                    matrices: &matrices,
                    heads,
                };
                pair.solve(current.inside[heads.target].clone())
            })
            .collect()
    }

    /// Uniformly random insides of the heads in this order.
    fn random(&self, heads: Vec<u32>, rng: &mut impl Rng) -> Arrangement {
        let inside = (0..self.kv_heads)
            .map(|_| Inside {
                queries: shuffled(self.served(), rng),
                query_dimensions: self.shuffled_dimensions(rng),
                value_dimensions: shuffled(self.head_size, rng),
            })
            .collect();
        Arrangement { heads, inside }
    }

    /// The dimensions of queries and keys, those shuffled that may move.
    fn shuffled_dimensions(&self, rng: &mut impl Rng) -> Vec<u32> {
        let fixed = self.fixed_dimensions as u32;
        let moved = shuffled(self.head_size - self.fixed_dimensions, rng);
        (0..fixed)
            .chain(moved.into_iter().map(|dimension| fixed + dimension))
            .collect()
    }

    /// Whether the orders of this attention's groups, among those of all, keep heads together and
    /// move only what may move.
    fn admits(&self, sigmas: &[Vec<u32>]) -> bool {
        let arrangement = self.arrangement(|group| &sigmas[group]);
        let moves_tied_dimensions = !arrangement
            .inside
            .iter()
            .all(|inside| is_identity(&inside.query_dimensions[..self.fixed_dimensions]));
        let rebuilt = self.channels(&arrangement);

        !moves_tied_dimensions
            && rebuilt
                .iter()
                .all(|(group, sigma)| *sigma == sigmas[*group])
    }
}

fn shuffled(n: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(rng);
    order
}

fn is_identity(order: &[u32]) -> bool {
    (0u32..).zip(order).all(|(j, i)| j == *i)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn attention(heads: usize, kv_heads: usize, head_size: usize, rotary: bool) -> Attention {
        let grouped = heads != kv_heads;
        let [keys, values, output] = if grouped { [1, 2, 3] } else { [0, 1, 1] };
        let fixed_dimensions = if rotary { head_size } else { 0 };
        Attention {
            order: 0,
            queries: 0,
            keys,
            values,
            output,
            heads,
            kv_heads,
            head_size,
            fixed_dimensions,
        }
    }

    fn alone(attention: &Attention) -> TiedHeads<'_> {
        TiedHeads(std::slice::from_ref(attention))
    }

    fn value(found: &[(usize, Vec<u32>)], matrices: &[Vec<f32>]) -> f64 {
        let of = |((_, sigma), matrix): (&(usize, Vec<u32>), &Vec<f32>)| -> f64 {
            let n = sigma.len();
            (0..n)
                .map(|j| f64::from(matrix[j * n + sigma[j] as usize]))
                .sum()
        };
        found.iter().zip(matrices).map(of).sum()
    }

    /// Solved from where everything is in its place.
    fn solved(attention: &Attention, matrices: &[Vec<f32>]) -> Vec<(usize, Vec<u32>)> {
        let still: Vec<Vec<u32>> = matrices
            .iter()
            .map(|matrix| (0..matrix.len().isqrt() as u32).collect())
            .collect();
        let current: Vec<&[u32]> = still.iter().map(Vec::as_slice).collect();
        alone(attention).solve(matrices, &current).unwrap()
    }

    fn random_matrices(attention: &Attention, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let sizes = alone(attention).random(rng);
        sizes
            .iter()
            .map(|(_, s)| {
                (0..s.len() * s.len())
                    .map(|_| rng.random_range(-1.0..1.0))
                    .collect()
            })
            .collect()
    }

    /// No random element does better, over far more draws than there are elements.
    #[test]
    fn plain_heads_are_solved_exactly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for rotary in [false, true] {
            let attention = attention(2, 2, 2, rotary);
            for _ in 0..20 {
                let matrices = random_matrices(&attention, &mut rng);
                let found = value(&solved(&attention, &matrices), &matrices);
                let best = (0..2000)
                    .map(|_| value(&alone(&attention).random(&mut rng), &matrices))
                    .fold(f64::NEG_INFINITY, f64::max);
                assert!((found - best).abs() < 1e-5, "{found} against {best}");
            }
        }
    }

    #[test]
    fn only_arrangements_are_admitted() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (heads, kv_heads, rotary) in [(4, 4, false), (4, 4, true), (6, 2, true), (6, 2, false)]
        {
            let attention = attention(heads, kv_heads, 4, rotary);
            let sound: Vec<Vec<u32>> = alone(&attention)
                .random(&mut rng)
                .into_iter()
                .map(|(_, sigma)| sigma)
                .collect();
            assert!(alone(&attention).admits(&sound));
            for group in 0..sound.len() {
                // Two units of one head, and two of different heads.
                for (a, b) in [(0, 1), (1, 4)] {
                    let mut torn = sound.clone();
                    torn[group].swap(a, b);
                    let is_order_of_values = group == attention.values && heads == kv_heads;
                    let is_order_of_keys = group == attention.queries && heads == kv_heads;
                    let inside_a_head = (a, b) == (0, 1);
                    let sound_again =
                        inside_a_head && (is_order_of_values || (is_order_of_keys && !rotary));
                    assert_eq!(
                        alone(&attention).admits(&torn),
                        sound_again,
                        "{heads} {group} {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_planted_arrangement_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for (heads, kv_heads, rotary) in [
            (4, 4, false),
            (4, 4, true),
            (6, 2, true),
            (4, 1, true),
            (6, 2, false),
        ] {
            let attention = attention(heads, kv_heads, 5, rotary);
            let planted = alone(&attention).random(&mut rng);
            let matrices: Vec<Vec<f32>> = planted
                .iter()
                .map(|(_, sigma)| {
                    let n = sigma.len();
                    let mut matrix: Vec<f32> =
                        (0..n * n).map(|_| rng.random_range(-0.2..0.2)).collect();
                    (0..n).for_each(|j| matrix[j * n + sigma[j] as usize] += 1.0);
                    matrix
                })
                .collect();
            assert_eq!(
                solved(&attention, &matrices),
                planted,
                "{heads} over {kv_heads}"
            );
        }
    }

    /// Of four heads, of the query heads of each and of the dimensions inside, the last two are dead:
    /// they stay where they are while the first two change places.
    #[test]
    fn what_is_dead_stays_where_it_is() {
        let (planted, current, wanted) = ([1, 0, 2, 3], [0, 1, 3, 2], [1, 0, 3, 2]);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (heads, rotary) in [(4, false), (4, true), (16, false), (16, true)] {
            let attention = attention(heads, 4, 4, rotary);
            let still: Vec<u32> = (0..4).collect();
            let inside = |order: [u32; 4]| Inside {
                queries: if heads == 4 { vec![0] } else { order.to_vec() },
                query_dimensions: if rotary {
                    still.clone()
                } else {
                    order.to_vec()
                },
                value_dimensions: order.to_vec(),
            };
            let arranged = |heads: [u32; 4], inside: Vec<Inside>| {
                attention.channels(&Arrangement {
                    heads: heads.to_vec(),
                    inside,
                })
            };
            let planted = arranged(planted, vec![inside(planted); 4]);
            let now = arranged(current, vec![inside(current); 4]);
            // A dead head's inside stays too.
            let [alive, dead] = [wanted, current].map(inside);
            let wanted = arranged(wanted, vec![alive.clone(), alive, dead.clone(), dead]);
            let is_dead = |group: usize, channel: usize| {
                let of_queries =
                    [attention.queries, attention.output].contains(&group) && heads > 4;
                let head = channel / 4;
                let (head, query) = if of_queries {
                    (head / 4, head % 4)
                } else {
                    (head, 0)
                };
                head >= 2 || query >= 2 || channel % 4 >= 2
            };
            let matrix = |(group, sigma): &(usize, Vec<u32>)| {
                let n = sigma.len();
                let mut entry = |(row, column): (usize, usize)| {
                    let fits = f32::from(u8::from(sigma[row] as usize == column));
                    let dead = is_dead(*group, row) || is_dead(*group, column);
                    if dead {
                        0.0
                    } else {
                        fits + rng.random_range(-0.2..0.2)
                    }
                };
                (0..n * n).map(|i| entry((i / n, i % n))).collect()
            };
            let matrices: Vec<Vec<f32>> = planted.iter().map(matrix).collect();
            let current: Vec<&[u32]> = now.iter().map(|(_, sigma)| sigma.as_slice()).collect();
            let found = alone(&attention).solve(&matrices, &current).unwrap();
            assert_eq!(found, wanted, "{heads} heads, rotary {rotary}");
        }
    }

    /// Two attentions over three groups each have their own dimensions and one order of heads, which both
    /// together tell: the first alone would prefer another.
    #[test]
    fn tied_heads_move_in_one_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let first = attention(3, 3, 4, false);
        let second = Attention {
            queries: 2,
            keys: 2,
            values: 3,
            output: 3,
            ..first.clone()
        };
        let tied = [first, second];
        let tied = TiedHeads(&tied);
        assert_eq!(tied.groups(), [0, 1, 2, 3]);
        let planted = tied.random(&mut rng);
        let sigmas: Vec<Vec<u32>> = planted.iter().map(|(_, sigma)| sigma.clone()).collect();
        assert!(tied.admits(&sigmas));
        let heads =
            |sigma: &[u32]| -> Vec<u32> { sigma.iter().step_by(4).map(|c| c / 4).collect() };
        assert_eq!(heads(&sigmas[0]), heads(&sigmas[2]));
        assert_ne!(
            sigmas[0], sigmas[2],
            "their dimensions have orders of their own"
        );

        // Orders of heads that differ are no element, though each attention's is.
        let mut torn = sigmas.clone();
        for group in [2, 3] {
            torn[group].rotate_left(4);
        }
        assert!(!tied.admits(&torn));

        // The first attention's heads look alike but for noise that prefers another order.
        let strength = [0.001f32, 0.001, 1.0, 1.0];
        let matrices: Vec<Vec<f32>> = planted
            .iter()
            .zip(strength)
            .map(|((_, sigma), strength)| {
                let n = sigma.len();
                let mut matrix: Vec<f32> =
                    (0..n * n).map(|_| rng.random_range(-0.2..0.2)).collect();
                (0..n).for_each(|j| matrix[j * n + sigma[j] as usize] += 1.0);
                matrix.iter_mut().for_each(|value| *value *= strength);
                matrix
            })
            .collect();
        let still: Vec<u32> = (0..12).collect();
        let found = tied
            .solve(&matrices, &[&still, &still, &still, &still])
            .unwrap();
        assert_eq!(found, planted);
    }
}
