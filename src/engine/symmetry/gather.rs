//! Strided gathering of f32 values: the one loop behind permuting a tensor and behind laying out
//! its axes for a matrix product.

mod view;

use rayon::prelude::*;

pub use view::View;

/// One axis of the result: for each index along it, the offset into the source.
pub type Offsets = Vec<usize>;

/// Row-major strides of a shape.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    strides
}

/// Offsets of an axis in its own order.
pub fn along(length: usize, stride: usize) -> Offsets {
    (0..length).map(|i| i * stride).collect()
}

/// All entries of the view with these axes, row-major.
pub fn gather(source: &[f32], axes: &[Offsets]) -> Vec<f32> {
    if axes.is_empty() {
        return source[..1].to_vec();
    }

    let view = View::new(source, axes);
    let width = view.width();
    let mut result = vec![0.0; axes[0].len() * width];
    if !result.is_empty() {
        let rows = rows_at_once(axes[0].len());
        result
            .par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(chunk, out)| {
                let first = chunk * rows;
                view.write_rows(first..first + out.len() / width, out, width, 0);
            });
    }

    result
}

/// Of so many rows, those that a task writes: short ones are not worth handing over, interleaved ones
/// are written together.
pub fn rows_at_once(rows: usize) -> usize {
    rows.div_ceil(4 * rayon::current_num_threads()).clamp(1, 32)
}

#[cfg(test)]
mod tests {
    use super::{view::KERNEL, *};

    /// Units on either axis of a convolution's weight, kernels of every kind of run; whole, in
    /// parts, and less another order of the same.
    #[test]
    fn rows_are_what_the_offsets_say() {
        for kernel in [1, 4, KERNEL] {
            let (out, input) = (5, 4);
            let source: Vec<f32> = (0..out * input * kernel).map(|i| (i * i) as f32).collect();
            let (rows, columns) = (input * kernel, kernel);
            let order = |indices: &[usize], stride| -> Offsets {
                indices.iter().map(|i| i * stride).collect()
            };
            let inside = along(kernel, 1);
            let on_first = |order_in: &[usize]| {
                vec![
                    along(out, rows),
                    vec![0],
                    order(order_in, columns),
                    inside.clone(),
                ]
            };
            let on_second = |order_out: &[usize]| {
                vec![
                    along(input, columns),
                    order(order_out, rows),
                    vec![0],
                    inside.clone(),
                ]
            };
            for (axes, others) in [
                (on_first(&[2, 0, 3]), on_first(&[1, 3, 2])),
                (on_first(&[0, 1, 2, 3]), on_first(&[0, 1, 3, 2])),
                (on_second(&[4, 1, 0]), on_second(&[4, 0, 2])),
            ] {
                let (plain, less) = (at_once(&source, &axes), at_once(&source, &others));
                let differences: Vec<f32> = plain.iter().zip(&less).map(|(a, b)| a - b).collect();
                check(&View::new(&source, &axes), &plain);
                check(&View::difference(&source, &axes, &others), &differences);
            }
        }
    }

    /// Every entry of a view of four axes.
    fn at_once(source: &[f32], axes: &[Offsets]) -> Vec<f32> {
        let mut values = Vec::new();
        for first in &axes[0] {
            for second in &axes[1] {
                for third in &axes[2] {
                    values.extend(axes[3].iter().map(|at| source[first + second + third + at]));
                }
            }
        }
        values
    }

    /// The view whole, a row at a time, and in parts of columns, into the middle of wider rows.
    fn check(view: &View, expected: &[f32]) {
        let (rows, width) = (view.first.len(), view.width());
        assert_eq!(expected.len(), rows * width);
        let mut whole = vec![0.0; rows * width];
        view.write_rows(0..rows, &mut whole, width, 0);
        assert_eq!(whole, expected);
        let mut parts = vec![-1.0; rows * (width + 2)];
        for start in (0..width).step_by(view.grain()) {
            let part = view.columns(start..start + view.grain());
            for (row, out) in parts.chunks_mut(width + 2).enumerate() {
                part.write_rows(row..row + 1, out, width + 2, 1 + start);
            }
        }
        for (found, row) in parts.chunks(width + 2).zip(expected.chunks(width)) {
            assert_eq!(found, [&[-1.0], row, &[-1.0]].concat());
        }
    }

    #[test]
    fn a_transposed_and_reordered_matrix() {
        let source = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
        assert_eq!(
            gather(&source, &[vec![2, 0, 1], vec![0, 3]]),
            [2.0, 12.0, 0.0, 10.0, 1.0, 11.0]
        );
        assert_eq!(
            gather(&source, &[vec![3, 0], vec![0, 1, 2]]),
            [10.0, 11.0, 12.0, 0.0, 1.0, 2.0]
        );
        assert_eq!(gather(&source, &[vec![0, 3], vec![0, 1, 2]]), source);
        assert_eq!(gather(&source, &[vec![4]]), [11.0]);
        assert_eq!(gather(&source, &[vec![], vec![0]]), [0.0; 0]);
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
