//! Softmax attention of one head, a block of queries and a block of keys at a time, so that the scores of long
//! sentences are never held (Dao et al. 2022; Milakov and Gimelshein 2018 for the running maximum).
//!
//! The forward pass keeps each row's maximum and total. The backward pass computes the shares of a block once
//! more by them: `dV += Pᵀ dO`, `dS = P ∘ (dO Vᵀ − D)`, `dQ += dS K`, `dK += dSᵀ Q`, where D is `Σ dO ∘ O` over
//! a row. Blocks follow one another in one order, and a head is one task, so no sum depends on the threads.
#![expect(
    clippy::inline_always,
    reason = "a loop that is not inlined is not compiled for AVX"
)]

use std::ops::Range;

use faer::MatRef;

use super::sight::{Padding, Sight};
use crate::{
    execution::cpu::{
        functions::{exp, tanh},
        loops::{maximum, sum_of},
    },
    network::op::FullyMasked,
    tensors::{
        matmul::{accumulate, matrix, product_into},
        vectorized,
    },
};

/// Queries of a block, and its keys: their scores stay in the cache.
const QUERIES: usize = 64;
const KEYS: usize = 256;
/// Independent sums of one row.
const LANES: usize = 32;

/// The softmax of a row of scores: `exp(score − maximum) / total`.
#[derive(Clone, Copy, Debug)]
pub struct RowSoftmax {
    maximum: f32,
    /// 0 where the row sees nothing.
    total: f32,
}

impl RowSoftmax {
    pub(super) const NOTHING: Self = Self {
        maximum: f32::NEG_INFINITY,
        total: 0.0,
    };

    fn is_blind(self) -> bool {
        self.total == 0.0
    }

    /// The reciprocal of the total; 0 where the row sees nothing.
    fn inverse(self) -> f32 {
        if self.is_blind() {
            0.0
        } else {
            1.0 / self.total
        }
    }
}

/// One head of queries with its keys and values, `[S, size]` each.
pub(super) struct Head<'a> {
    /// Already multiplied by the scale.
    pub queries: &'a [f32],
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub size: usize,
    pub sight: Sight,
    pub padding: Option<&'a Padding>,
    pub soft_cap: Option<f32>,
    pub sink: Option<f32>,
    pub fully_masked: FullyMasked,
}

/// The gradients of one head, `[S, size]` each, to be added to.
pub(super) struct Gradients<'a> {
    pub queries: &'a mut [f32],
    pub keys: &'a mut [f32],
    pub values: &'a mut [f32],
}

/// What the backward pass knows of one head's output.
pub(super) struct Attended<'a> {
    /// Its gradient `[S, size]`.
    pub dy: &'a [f32],
    /// `Σ dy ∘ y` of each row.
    pub along: &'a [f32],
    pub rows: &'a [RowSoftmax],
}

/// A block of scores.
struct Tile {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Head<'_> {
    /// `[S, size]` into zeros, and the softmax of each row.
    pub fn forward(&self, out: &mut [f32], rows: &mut [RowSoftmax]) {
        let mut buffer = vec![0.0; QUERIES * KEYS.min(self.sight.length)];
        let blocks = out
            .chunks_mut(QUERIES * self.size)
            .zip(rows.chunks_mut(QUERIES));

        for (block, (out, rows)) in blocks.enumerate() {
            let queries = block * QUERIES..block * QUERIES + rows.len();
            rows.fill(RowSoftmax::NOTHING);
            for tile in self.tiles(queries) {
                let scores = self.scores(&tile, &mut buffer);
                vectorized(|| self.weigh(&tile, scores, rows, out));
                let shares = matrix(scores, tile.keys.len());
                accumulate(out, shares, self.rows(self.values, &tile.keys));
            }
            vectorized(|| self.finish(rows, out));
        }
    }

    /// Those of a block of queries, in the order of the keys.
    fn tiles(&self, queries: Range<usize>) -> impl Iterator<Item = Tile> {
        let Range { start, end } = self.sight.of_queries(&queries);
        (start..end).step_by(KEYS).map(move |first| Tile {
            queries: queries.clone(),
            keys: first..(first + KEYS).min(end),
        })
    }

    fn rows<'v>(&self, values: &'v [f32], of: &Range<usize>) -> MatRef<'v, f32> {
        matrix(&values[of.start * self.size..of.end * self.size], self.size)
    }

    /// `q kᵀ`, `[queries, keys]`.
    fn scores<'b>(&self, tile: &Tile, buffer: &'b mut [f32]) -> &'b mut [f32] {
        let scores = &mut buffer[..tile.queries.len() * tile.keys.len()];
        let (queries, keys) = (
            self.rows(self.queries, &tile.queries),
            self.rows(self.keys, &tile.keys),
        );
        product_into(scores, queries, keys.transpose());
        scores
    }

    /// The columns of a tile that a query sees; nothing where padding hides them all.
    #[inline(always)]
    fn seen(&self, tile: &Tile, query: usize) -> Range<usize> {
        let Range { start, end } = self.sight.of_query(query);
        let keys = start.max(tile.keys.start)..end.min(tile.keys.end);
        let is_seen =
            keys.start < keys.end && self.padding.is_none_or(|padding| padding.shows(&keys));
        if is_seen {
            keys.start - tile.keys.start..keys.end - tile.keys.start
        } else {
            0..0
        }
    }

    /// What padding adds to the scores of these columns.
    #[inline(always)]
    fn hidden(&self, tile: &Tile, seen: &Range<usize>) -> Option<&[f32]> {
        let first = tile.keys.start;
        self.padding
            .map(|padding| &padding.scores[first + seen.start..first + seen.end])
    }

    /// Scores become shares of the running total, and what the rows have attended to so far is brought under
    /// the new maximum.
    #[inline(always)]
    fn weigh(&self, tile: &Tile, scores: &mut [f32], rows: &mut [RowSoftmax], out: &mut [f32]) {
        let of_rows = scores
            .chunks_mut(tile.keys.len())
            .zip(rows)
            .zip(out.chunks_mut(self.size));
        for (query, ((scores, softmax), out)) in tile.queries.clone().zip(of_rows) {
            let seen = self.seen(tile, query);
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            if seen.is_empty() {
                continue;
            }

            let hidden = self.hidden(tile, &seen);
            let scores = &mut scores[seen];
            self.cap(scores);
            if let Some(hidden) = hidden {
                scores.iter_mut().zip(hidden).for_each(|(s, h)| *s += h);
            }

            let highest = maximum(scores).max(softmax.maximum);
            let kept = exp(softmax.maximum - highest);
            let total = exponentials(scores, highest);
            if !softmax.is_blind() && kept < 1.0 {
                out.iter_mut().for_each(|v| *v *= kept);
            }
            *softmax = RowSoftmax {
                maximum: highest,
                total: softmax.total * kept + total,
            };
        }
    }

    /// `cap · tanh(s / cap)`
    #[inline(always)]
    fn cap(&self, scores: &mut [f32]) {
        if let Some(cap) = self.soft_cap {
            scores.iter_mut().for_each(|s| *s = cap * tanh(*s / cap));
        }
    }

    /// Divides by the totals, of which the sink has its share; rows that see nothing get what the layer says.
    #[inline(always)]
    fn finish(&self, rows: &mut [RowSoftmax], out: &mut [f32]) {
        for (softmax, out) in rows.iter_mut().zip(out.chunks_mut(self.size)) {
            if softmax.is_blind() {
                if self.fully_masked == FullyMasked::Mean {
                    self.mean_of_values(out);
                }
                continue;
            }

            let mut kept = 1.0;
            if let Some(sink) = self.sink {
                let highest = softmax.maximum.max(sink);
                kept = exp(softmax.maximum - highest);
                *softmax = RowSoftmax {
                    maximum: highest,
                    total: softmax.total * kept + exp(sink - highest),
                };
            }
            let factor = kept * softmax.inverse();
            out.iter_mut().for_each(|v| *v *= factor);
        }
    }

    /// Of all positions, masked or not.
    #[inline(always)]
    fn mean_of_values(&self, out: &mut [f32]) {
        let share = 1.0 / self.sight.length as f32;
        for values in self.values.chunks(self.size) {
            out.iter_mut()
                .zip(values)
                .for_each(|(o, v)| *o += v * share);
        }
    }

    /// Adds to the gradients; gives that of the sink.
    pub fn backward(&self, attended: &Attended, into: &mut Gradients) -> f64 {
        let width = KEYS.min(self.sight.length);
        let (mut scores, mut slopes) = (vec![0.0; QUERIES * width], vec![0.0; QUERIES * width]);

        for first in (0..self.sight.length).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(self.sight.length);
            let dy = self.rows(attended.dy, &queries);
            for tile in self.tiles(queries.clone()) {
                let shares = self.scores(&tile, &mut scores);
                let slopes = &mut slopes[..shares.len()];
                product_into(slopes, dy, self.rows(self.values, &tile.keys).transpose());
                vectorized(|| self.differentiate(&tile, attended, shares, slopes));

                let width = tile.keys.len();
                let (shares, slopes) = (matrix(shares, width), matrix(slopes, width));
                let of_keys = tile.keys.start * self.size..tile.keys.end * self.size;
                let of_queries = queries.start * self.size..queries.end * self.size;
                accumulate(&mut into.values[of_keys.clone()], shares.transpose(), dy);
                accumulate(
                    &mut into.queries[of_queries],
                    slopes,
                    self.rows(self.keys, &tile.keys),
                );
                accumulate(
                    &mut into.keys[of_keys],
                    slopes.transpose(),
                    self.rows(self.queries, &queries),
                );
            }
        }

        if self.fully_masked == FullyMasked::Mean {
            self.spread_over_values(attended, into.values);
        }
        self.gradient_of_sink(attended)
    }

    /// Scores become shares, and the gradients of the shares those of the scores.
    #[inline(always)]
    fn differentiate(
        &self,
        tile: &Tile,
        attended: &Attended,
        scores: &mut [f32],
        slopes: &mut [f32],
    ) {
        let width = tile.keys.len();
        let of_rows = scores.chunks_mut(width).zip(slopes.chunks_mut(width));
        for (query, (scores, slopes)) in tile.queries.clone().zip(of_rows) {
            let seen = self.seen(tile, query);
            for part in [&mut *scores, &mut *slopes] {
                part[..seen.start].fill(0.0);
                part[seen.end..].fill(0.0);
            }
            if seen.is_empty() {
                continue;
            }

            let row = Row {
                maximum: attended.rows[query].maximum,
                inverse: attended.rows[query].inverse(),
                along: attended.along[query],
                inverse_cap: self.soft_cap.map_or(0.0, f32::recip),
            };
            let hidden = self.hidden(tile, &seen);
            let (scores, slopes) = (&mut scores[seen.clone()], &mut slopes[seen]);
            self.cap(scores);
            let pairs = scores.iter_mut().zip(slopes);
            match hidden {
                Some(hidden) => pairs
                    .zip(hidden)
                    .for_each(|((s, d), hidden)| row.differentiate(s, d, *hidden)),
                None => pairs.for_each(|(s, d)| row.differentiate(s, d, 0.0)),
            }
        }
    }

    /// Rows that see nothing have the mean of all values.
    fn spread_over_values(&self, attended: &Attended, into: &mut [f32]) {
        let share = 1.0 / self.sight.length as f32;
        for (dy, row) in attended.dy.chunks(self.size).zip(attended.rows) {
            if row.is_blind() {
                for into in into.chunks_mut(self.size) {
                    into.iter_mut().zip(dy).for_each(|(v, d)| *v += d * share);
                }
            }
        }
    }

    /// `−Σ share of the sink · D`
    fn gradient_of_sink(&self, attended: &Attended) -> f64 {
        let Some(sink) = self.sink else {
            return 0.0;
        };
        let rows = attended.rows.iter().zip(attended.along);
        let terms = rows.map(|(row, &along)| {
            let share = exp(sink - row.maximum) * row.inverse();
            if row.is_blind() {
                0.0
            } else {
                -f64::from(share) * f64::from(along)
            }
        });
        terms.sum()
    }
}

/// What turns one row's scores into gradients.
struct Row {
    maximum: f32,
    inverse: f32,
    along: f32,
    /// 0 without a cap.
    inverse_cap: f32,
}

impl Row {
    /// A score, already capped, becomes its share, and the share's gradient that of the score before the cap.
    #[inline(always)]
    fn differentiate(&self, score: &mut f32, slope: &mut f32, hidden: f32) {
        let share = exp(*score + hidden - self.maximum) * self.inverse;
        let relative = *score * self.inverse_cap;
        *slope = share * (*slope - self.along) * (1.0 - relative * relative);
        *score = share;
    }
}

/// `exp(score − maximum)` in the place of the scores, and their sum.
#[inline(always)]
fn exponentials(scores: &mut [f32], maximum: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            block[lane] = exp(block[lane] - maximum);
            lanes[lane] += block[lane];
        }
    }
    for (lane, score) in rest.iter_mut().enumerate() {
        *score = exp(*score - maximum);
        lanes[lane] += *score;
    }
    lanes.into_iter().sum()
}

/// `Σ a b`
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b) as f32
}
