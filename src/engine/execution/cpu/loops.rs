//! Sums over rows and columns in loops that become vectors; their order does not depend on the threads.
#![expect(
    clippy::inline_always,
    reason = "a loop that is not inlined is not compiled for AVX"
)]

use std::ops::Range;

use rayon::prelude::*;

use crate::tensors::vectorized;

/// Elements that a task handles at a time.
pub const TASK_ELEMENTS: usize = 1 << 15;
/// Columns that a task sums up.
const TASK_COLUMNS: usize = 128;
/// Independent sums of one row: enough for the additions of several vectors to overlap.
const LANES: usize = 32;

/// Rows of this width that a task handles at a time.
pub(super) fn rows_per_task(width: usize) -> usize {
    (TASK_ELEMENTS / width.max(1)).max(1)
}

/// `Σ term(a, b)` over two rows, in lanes that become vectors.
#[inline(always)]
pub(super) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += term(a, b);
    }
    lanes.into_iter().map(f64::from).sum()
}

/// The largest value of a row that is a number; −∞ of nothing.
#[inline(always)]
pub(super) fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], block[lane]);
        }
    }
    let rest = rest.iter().copied().fold(f32::NEG_INFINITY, larger);
    lanes.into_iter().fold(rest, larger)
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// One sum for each column, in f64. `add` goes through all rows for the columns that it is given, so each sum
/// is taken in the order of the rows.
pub(super) fn sums_by_column(
    width: usize,
    add: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    sums.par_chunks_mut(TASK_COLUMNS)
        .enumerate()
        .for_each(|(task, sums)| {
            let first = task * TASK_COLUMNS;
            let columns = first..first + sums.len();
            vectorized(|| add(columns, sums));
        });
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// The sum of all rows.
pub(super) fn sum_of_rows(values: &[f32], width: usize) -> Vec<f32> {
    sums_by_column(width, |columns, sums| {
        for row in values.chunks(width) {
            sums.iter_mut()
                .zip(&row[columns.clone()])
                .for_each(|(sum, &v)| *sum += f64::from(v));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_threads;

    #[test]
    fn sums_are_by_hand_and_by_rows_whatever_the_threads() {
        assert_eq!(
            sum_of(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], |a, b| a * b),
            32.0
        );
        let row: Vec<f32> = (0..70).map(|i| i as f32).collect();
        assert_eq!(sum_of(&row, &row, |a, _| a), 2415.0);
        assert_eq!(sum_of_rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [9.0, 12.0]);

        let values: Vec<f32> = (0..300 * 77).map(|i| (i as f32 * 0.37).sin()).collect();
        let found = with_threads(1, || sum_of_rows(&values, 300));
        assert_eq!(with_threads(3, || sum_of_rows(&values, 300)), found);
    }

    #[test]
    fn the_maximum_is_that_of_the_numbers() {
        assert_eq!(maximum(&[]), f32::NEG_INFINITY);
        assert_eq!(maximum(&[-3.0, f32::NAN, -1.0, -2.0]), -1.0);
        let mut row = vec![0.0; 100];
        row[37] = 2.0;
        row[99] = 1.0;
        assert_eq!(maximum(&row), 2.0);
    }
}
