//! A permuted tensor that stays where it is: row by row, gathered when somebody looks.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::gather::{Offsets, View};
use crate::tensors::{Elements, HostTensor};

/// Shorter rows are not worth fetching one by one.
const MIN_ROW_LENGTH: usize = 64;

/// A tensor seen along other axes; a row is what one index of the first axis holds.
#[derive(Debug)]
pub struct PermutedRows {
    source: HostTensor,
    /// For each row of the result, its row of the source.
    order: Vec<usize>,
    /// The other axes, as offsets into a row; the first is the row's start.
    inside: Vec<Offsets>,
    width: usize,
}

impl PermutedRows {
    /// Whether a tensor has rows worth fetching one by one.
    pub fn suit(source: &HostTensor) -> bool {
        source.shape().iter().skip(1).product::<usize>() >= MIN_ROW_LENGTH
    }

    /// The tensor whose entry at `(i, j, …)` is the source's at `axes[0][i] + axes[1][j] + …`,
    /// where the offsets of each axis are those of the source's own, in another order.
    pub fn new(source: HostTensor, axes: Vec<Offsets>) -> Self {
        let width = source.shape().iter().skip(1).product();
        let mut axes = axes.into_iter();
        let first = axes.next().unwrap_or_default();
        let order = first.into_iter().map(|offset| offset / width).collect();

        Self {
            source,
            order,
            inside: axes.collect(),
            width,
        }
    }

    /// Whole rows of the result.
    fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let order = &self.order[rows.clone()];
        let (values, first): (Cow<[f32]>, _) = if let Some(stored) = self.source.stored_f32() {
            (
                stored.into(),
                order.iter().map(|row| row * self.width).collect(),
            )
        } else {
            let mut fetched = Vec::with_capacity(rows.len() * self.width);
            for run in order.chunk_by(|a, b| a + 1 == *b) {
                let range = run[0] * self.width..(run[0] + run.len()) * self.width;
                fetched.extend_from_slice(&self.source.floats(range));
            }
            (
                fetched.into(),
                (0..rows.len()).map(|row| row * self.width).collect(),
            )
        };
        let mut axes: Vec<Offsets> = vec![first];
        axes.extend(self.inside.iter().cloned());
        let mut seen = vec![0.0; rows.len() * self.width];
        View::new(&values, &axes).write_rows(0..rows.len(), &mut seen, self.width, 0);
        seen
    }
}

impl Elements for PermutedRows {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let first = range.start / self.width;
        let mut values = self.rows(first..range.end.div_ceil(self.width));
        let start = range.start - first * self.width;
        values.truncate(start + range.len());
        values.drain(..start);
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.source.dtype().encode(&self.floats(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symmetry::gather::gather;

    #[test]
    fn any_range_is_what_the_whole_has_there() {
        let shape = [5, 3, 4];
        let values: Vec<f32> = (0..60u8).map(f32::from).collect();
        let axes = vec![vec![24, 36, 0, 48, 12], vec![8, 0, 4], vec![0, 1, 2, 3]];
        let whole = gather(&values, &axes);
        assert_eq!(whole[..4], [32.0, 33.0, 34.0, 35.0]);
        let rows = PermutedRows::new(HostTensor::from_f32(shape.to_vec(), values), axes);
        for range in [0..60, 0..1, 7..29, 12..24, 59..60, 13..13] {
            assert_eq!(rows.floats(range.clone()), whole[range]);
        }
    }
}
