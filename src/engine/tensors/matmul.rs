//! Products of f32 matrices in host memory.
//!
//! faer's kernels on slices where they lie; burn's CPU backend would copy them into tensors. Large
//! products are cut into parts of the result, by size alone: no sum is cut, so the result does not
//! depend on the number of threads.

use faer::{
    Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul, prelude::ReborrowMut,
    traits::RealField,
};

/// Multiplications and additions that are worth a task of their own.
const TASK_OPERATIONS: usize = 1 << 25;
/// At most so many halvings of a product.
const MAX_HALVINGS: u32 = 6;
/// At least so many rows or columns of the result make a part.
const MIN_PART_WIDTH: usize = 64;

/// Row-major values as a matrix of this width.
///
/// # Panics
/// When the values do not fill whole rows.
pub fn matrix(values: &[f32], width: usize) -> MatRef<'_, f32> {
    let rows = values.len().checked_div(width).unwrap_or(0);
    MatRef::from_row_major_slice(values, rows, width)
}

/// `a · b`, row-major.
///
/// # Panics
/// When `a` has not as many columns as `b` has rows.
pub fn product(a: MatRef<f32>, b: MatRef<f32>) -> Vec<f32> {
    let mut values = vec![0.0; a.nrows() * b.ncols()];
    let result = MatMut::from_row_major_slice_mut(&mut values, a.nrows(), b.ncols());
    multiply(result, Accum::Replace, a, b, halvings(a, b));
    values
}

/// `a · b` in the place of row-major values.
///
/// # Panics
/// When the shapes do not fit.
pub fn product_into(result: &mut [f32], a: MatRef<f32>, b: MatRef<f32>) {
    let result = MatMut::from_row_major_slice_mut(result, a.nrows(), b.ncols());
    multiply(result, Accum::Replace, a, b, halvings(a, b));
}

/// Adds `a · b` to a row-major sum.
///
/// # Panics
/// When the shapes do not fit.
pub fn accumulate(sum: &mut [f32], a: MatRef<f32>, b: MatRef<f32>) {
    let sum = MatMut::from_row_major_slice_mut(sum, a.nrows(), b.ncols());
    multiply(sum, Accum::Add, a, b, halvings(a, b));
}

/// `a · b` in f64.
///
/// # Panics
/// When `a` has not as many columns as `b` has rows.
pub fn exact_product(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let mut result = Mat::zeros(a.nrows(), b.ncols());
    multiply(result.as_mut(), Accum::Replace, a, b, halvings(a, b));
    result
}

/// `aᵀ a` in f64, in little more than half the time of a product: what is above the diagonal is what is below.
pub fn exact_gram(a: MatRef<f64>) -> Mat<f64> {
    let mut result = Mat::zeros(a.ncols(), a.ncols());
    gram(result.as_mut(), a);
    result
}

/// By halves of the columns: those on the diagonal likewise, the one beside them as a product.
fn gram(mut result: MatMut<f64>, a: MatRef<f64>) {
    let columns = a.ncols();
    if columns < 2 * MIN_PART_WIDTH {
        multiply(result, Accum::Replace, a.transpose(), a, 0);
        return;
    }

    let at = columns / 2;
    let (left, right) = a.split_at_col(at);
    let (upper_left, mut upper_right, mut lower_left, lower_right) =
        result.rb_mut().split_at_mut(at, at);

    rayon::join(
        || rayon::join(|| gram(upper_left, left), || gram(lower_right, right)),
        || {
            let halvings = halvings(left.transpose(), right);
            multiply(
                upper_right.rb_mut(),
                Accum::Replace,
                left.transpose(),
                right,
                halvings,
            );
            lower_left.copy_from(upper_right.transpose());
        },
    );
}

/// Adds `a · b` to a sum in f64.
///
/// # Panics
/// When the shapes do not fit.
pub fn exact_accumulate(sum: MatMut<f64>, a: MatRef<f64>, b: MatRef<f64>) {
    multiply(sum, Accum::Add, a, b, halvings(a, b));
}

fn halvings<T>(a: MatRef<T>, b: MatRef<T>) -> u32 {
    let parts = a.nrows() * a.ncols() * b.ncols() / TASK_OPERATIONS;
    parts
        .checked_ilog2()
        .map_or(0, |log| log + 1)
        .min(MAX_HALVINGS)
}

fn multiply<T: RealField>(
    result: MatMut<T>,
    accum: Accum,
    a: MatRef<T>,
    b: MatRef<T>,
    halvings: u32,
) {
    let (rows, columns) = (result.nrows(), result.ncols());
    if halvings == 0 || rows.max(columns) < 2 * MIN_PART_WIDTH {
        matmul(result, accum, a, b, T::one_impl(), Par::Seq);
    } else if rows >= columns {
        let at = rows / 2;
        let (upper, lower) = result.split_at_row_mut(at);
        let (a_upper, a_lower) = a.split_at_row(at);
        rayon::join(
            || multiply(upper, accum, a_upper, b, halvings - 1),
            || multiply(lower, accum, a_lower, b, halvings - 1),
        );
    } else {
        let at = columns / 2;
        let (left, right) = result.split_at_col_mut(at);
        let (b_left, b_right) = b.split_at_col(at);
        rayon::join(
            || multiply(left, accum, a, b_left, halvings - 1),
            || multiply(right, accum, a, b_right, halvings - 1),
        );
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::with_threads;

    #[test]
    fn two_by_two() {
        let (a, b) = (
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [1.0, 0.0, -1.0, 2.0, 1.0, 3.0],
        );
        let found = product(matrix(&a, 3), matrix(&b, 2));
        // [1 2 3; 4 5 6] · [1 0; −1 2; 1 3]
        assert_eq!(found, [2.0, 13.0, 5.0, 28.0]);
        let mut sum = vec![1.0, 1.0, 1.0, 1.0];
        accumulate(&mut sum, matrix(&a, 3), matrix(&b, 2));
        assert_eq!(sum, [3.0, 14.0, 6.0, 29.0]);
        product_into(&mut sum, matrix(&a, 3), matrix(&b, 2));
        assert_eq!(sum, found[..]);
        let transposed = product(matrix(&b, 2).transpose(), matrix(&a, 3).transpose());
        assert_eq!(transposed, [2.0, 5.0, 13.0, 28.0]);
    }

    /// Widths that are halved, at odd places too, and that are not.
    #[test]
    fn a_gram_matrix_is_the_product_and_symmetric_whatever_the_threads() {
        for (rows, columns) in [(3, 2), (40, 127), (70, 301), (5, 0)] {
            let a = Mat::from_fn(rows, columns, |i, j| {
                ((i * 31 + j * j) % 17) as f64 / 4.0 - 2.0
            });
            let found = with_threads(1, || exact_gram(a.as_ref()));
            assert_eq!(with_threads(3, || exact_gram(a.as_ref())), found);
            assert_eq!(found.transpose(), found);
            let product = exact_product(a.transpose(), a.as_ref());
            assert!((&found - product).norm_max() < 1e-10);
        }
    }

    #[test]
    fn nothing_to_multiply_is_zero() {
        assert!(product(matrix(&[], 0), matrix(&[], 3)).is_empty());
        let none = MatRef::from_row_major_slice(&[], 2, 0);
        assert_eq!(product(none, matrix(&[], 2)), [0.0; 4]);
        let mut sum = [1.0; 4];
        accumulate(&mut sum, none, matrix(&[], 2));
        assert_eq!(sum, [1.0; 4]);
    }

    /// Shapes that are cut by rows, by columns, by both, and not at all.
    #[test]
    fn the_parts_are_the_whole_whatever_the_threads() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for (rows, inner, columns) in [(1100, 300, 500), (65, 257, 4099), (700, 900, 3), (9, 8, 7)]
        {
            let mut values =
                |n| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let (a, b) = (values(rows * inner), values(inner * columns));
            let (a, b) = (matrix(&a, inner), matrix(&b, columns));
            let found = with_threads(1, || product(a, b));
            assert_eq!(with_threads(3, || product(a, b)), found);
            for at in (0..found.len()).step_by(997) {
                let (row, column) = (at / columns, at % columns);
                let terms = (0..inner).map(|k| f64::from(a[(row, k)]) * f64::from(b[(k, column)]));
                let (exact, size) = terms.fold((0.0, 0.0), |(s, n), v| (s + v, n + v.abs()));
                assert!((f64::from(found[at]) - exact).abs() < 1e-6 * size, "{at}");
            }
        }
    }
}
