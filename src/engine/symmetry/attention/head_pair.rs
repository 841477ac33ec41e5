//! The inside of one pair of key/value heads.

use super::{Attention, Inside};
use crate::symmetry::assignment::{self, NotFinite};

/// Alternations inside a pair of heads; each raises the value, so this is never met in practice.
const MAX_ROUNDS: usize = 50;

/// `[units, units]` similarities of the four spaces; `None` where another space has the same matrix.
pub(super) struct Matrices<'a> {
    pub queries: &'a [f32],
    pub keys: Option<&'a [f32]>,
    pub values: Option<&'a [f32]>,
    pub output: Option<&'a [f32]>,
}

/// A head of the target and one of the source, by their positions in the whole attention.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub target: usize,
    pub source: usize,
}

/// One key/value head of the target and one of the source, whose insides are matched.
pub(super) struct HeadPair<'a> {
    pub attention: &'a Attention,
    pub matrices: &'a Matrices<'a>,
    /// Key/value heads.
    pub heads: Heads,
}

impl HeadPair<'_> {
    /// The inside that fits the target head to the source head best, and its value. `inside`, the
    /// target head's present one, stays where nothing is gained.
    pub fn solve(&self, mut inside: Inside) -> Result<(Inside, f64), NotFinite> {
        let served = self.attention.served();
        let fixed = self.attention.fixed_dimensions;
        if fixed > 0 && served > 1 {
            // Dimensions of queries are known, so queries alone give the first matching of heads.
            inside.queries =
                self.match_queries(&inside.queries, |heads| self.query_value(heads, &inside))?;
        }

        let mut value = f64::NEG_INFINITY;
        for _ in 0..MAX_ROUNDS {
            let of_queries = self.query_dimensions(&inside.queries);
            if fixed < self.attention.head_size {
                let behind = of_queries.behind(fixed).best(&behind(fixed, &inside))?;
                let moved = behind.iter().map(|dimension| fixed as u32 + dimension);
                inside.query_dimensions = (0..fixed as u32).chain(moved).collect();
            }
            let of_values = self.value_dimensions(&inside.queries);
            inside.value_dimensions = of_values.best(&inside.value_dimensions)?;
            value = of_queries.value(&inside.query_dimensions)
                + of_values.value(&inside.value_dimensions);
            if served == 1 {
                break;
            }

            let queries = self.match_queries(&inside.queries, |heads| {
                self.query_value(heads, &inside) + self.output_value(heads, &inside)
            })?;
            if queries == inside.queries {
                break;
            }
            inside.queries = queries;
        }
        Ok((inside, value))
    }

    /// The best order of the block's query heads, given the value of each pair and the present order.
    fn match_queries(
        &self,
        current: &[u32],
        value: impl Fn(Heads) -> f64,
    ) -> Result<Vec<u32>, NotFinite> {
        let served = self.attention.served();
        let values: Vec<f32> = (0..served * served)
            .map(|i| value(self.query_heads(i / served, i % served)) as f32)
            .collect();
        Ok(assignment::solve(&values, served, Some(current), None)?.sigma)
    }

    /// Query heads by their positions inside the block.
    fn query_heads(&self, target: usize, source: usize) -> Heads {
        let served = self.attention.served();
        Heads {
            target: self.heads.target * served + target,
            source: self.heads.source * served + source,
        }
    }

    fn query_value(&self, heads: Heads, inside: &Inside) -> f64 {
        self.of_query_heads(self.matrices.queries, heads)
            .value(&inside.query_dimensions)
    }

    fn output_value(&self, heads: Heads, inside: &Inside) -> f64 {
        self.matrices.output.map_or(0.0, |output| {
            self.of_query_heads(output, heads)
                .value(&inside.value_dimensions)
        })
    }

    /// The dimensions of queries and keys, with the query heads matched so.
    fn query_dimensions(&self, queries: &[u32]) -> Block {
        self.summed(self.matrices.keys, self.matrices.queries, queries)
    }

    /// The dimensions of values and output, with the query heads matched so.
    fn value_dimensions(&self, queries: &[u32]) -> Block {
        match (self.matrices.values, self.matrices.output) {
            (values, Some(output)) => self.summed(values, output, queries),
            (Some(values), None) => self.of_kv_heads(values),
            // A space of blocks alone.
            (None, None) => Block::zero(self.attention.head_size),
        }
    }

    /// The key/value head's own block, and those of its query heads.
    fn summed(&self, own: Option<&[f32]>, of_queries: &[f32], queries: &[u32]) -> Block {
        let each = queries.iter().enumerate().map(|(target, &source)| {
            self.of_query_heads(of_queries, self.query_heads(target, source as usize))
        });
        let own = own.map(|matrix| self.of_kv_heads(matrix));
        own.into_iter()
            .chain(each)
            .reduce(Block::plus)
            .unwrap_or_else(|| Block::zero(self.attention.head_size))
    }

    fn of_query_heads(&self, matrix: &[f32], heads: Heads) -> Block {
        Block::of(
            matrix,
            self.attention.heads,
            self.attention.head_size,
            heads,
        )
    }

    fn of_kv_heads(&self, matrix: &[f32]) -> Block {
        Block::of(
            matrix,
            self.attention.kv_heads,
            self.attention.head_size,
            self.heads,
        )
    }
}

/// The order of the dimensions of queries behind those that stay, counted from the first of them.
fn behind(fixed: usize, inside: &Inside) -> Vec<u32> {
    inside.query_dimensions[fixed..]
        .iter()
        .map(|dimension| dimension - fixed as u32)
        .collect()
}

/// The similarities of two heads' dimensions, `[size, size]`.
struct Block {
    values: Vec<f32>,
    size: usize,
}

impl Block {
    /// Of a matrix over `heads` heads of this size.
    fn of(matrix: &[f32], heads: usize, size: usize, at: Heads) -> Self {
        let width = heads * size;
        let rows = (at.target * size..(at.target + 1) * size)
            .flat_map(|row| &matrix[row * width + at.source * size..][..size]);
        Self {
            values: rows.copied().collect(),
            size,
        }
    }

    /// The sum of none.
    fn zero(size: usize) -> Self {
        Self {
            values: vec![0.0; size * size],
            size,
        }
    }

    /// Without the first `fixed` dimensions.
    fn behind(&self, fixed: usize) -> Self {
        let rows = self.values.chunks(self.size).skip(fixed);
        let values = rows.flat_map(|row| row[fixed..].iter().copied()).collect();
        Self {
            values,
            size: self.size - fixed,
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.values
            .iter_mut()
            .zip(&other.values)
            .for_each(|(a, b)| *a += b);
        self
    }

    fn best(&self, current: &[u32]) -> Result<Vec<u32>, NotFinite> {
        Ok(assignment::solve(&self.values, self.size, Some(current), None)?.sigma)
    }

    fn value(&self, sigma: &[u32]) -> f64 {
        let rows = self.values.chunks(self.size).zip(sigma);
        rows.map(|(row, &column)| f64::from(row[column as usize]))
            .sum()
    }
}
