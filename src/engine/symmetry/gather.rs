//! Strided gathering of f32 values: the one loop behind permuting a tensor and behind laying out
//! its axes for a matrix product.

use rayon::prelude::*;

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

/// A strided view, its first axis apart from the others.
pub struct View<'a> {
    source: &'a [f32],
    first: &'a Offsets,
    rest: Vec<&'a Offsets>,
    /// Entries that lie consecutively in the source.
    run: usize,
}

impl<'a> View<'a> {
    /// The view with axes `axes` whose entry at `(i, j, …)` is
    /// `source[axes[0][i] + axes[1][j] + …]`.
    ///
    /// # Panics
    /// Without an axis.
    pub fn new(source: &'a [f32], axes: &'a [Offsets]) -> Self {
        let (first, rest) = axes.split_first().expect("a view has axes");
        let mut rest: Vec<&Offsets> = rest.iter().filter(|a| a.len() != 1 || a[0] != 0).collect();
        let run = contiguous_run(&mut rest);
        Self { source, first, rest, run }
    }

    /// Entries for each index of the first axis.
    pub fn width(&self) -> usize {
        self.rest.iter().map(|a| a.len()).product::<usize>() * self.run
    }

    /// Writes the entries at one index of the first axis.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        if !out.is_empty() {
            fill(out, self.source, self.first[index], &self.rest, self.run);
        }
    }
}

/// All entries of the view with these axes, row-major.
pub fn gather(source: &[f32], axes: &[Offsets]) -> Vec<f32> {
    if axes.is_empty() {
        return source[..1].to_vec();
    }
    let view = View::new(source, axes);
    let mut result = vec![0.0; axes[0].len() * view.width()];
    if !result.is_empty() {
        let rows = result.par_chunks_mut(view.width()).with_min_len(ROWS);
        rows.enumerate().for_each(|(index, out)| view.row(index, out));
    }
    result
}

/// Rows that a task copies at least: short ones are not worth handing over.
const ROWS: usize = 16;

/// Takes trailing axes that lie consecutively in the source off the list; their joint length.
fn contiguous_run(axes: &mut Vec<&Offsets>) -> usize {
    let mut run = 1;
    while let Some(last) = axes.last() {
        if !last.iter().enumerate().all(|(i, &offset)| offset == i * run) {
            break;
        }
        run *= last.len();
        axes.pop();
    }
    run
}

fn fill(out: &mut [f32], source: &[f32], offset: usize, axes: &[&Offsets], run: usize) {
    match axes {
        [] => out.copy_from_slice(&source[offset..offset + run]),
        [last] if run == 1 => {
            out.iter_mut().zip(last.iter()).for_each(|(out, &more)| *out = source[offset + more]);
        }
        [first, rest @ ..] => {
            for (out, &more) in out.chunks_mut(out.len() / first.len()).zip(first.iter()) {
                fill(out, source, offset + more, rest, run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
