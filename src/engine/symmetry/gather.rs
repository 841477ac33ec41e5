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

/// The array with axes `axes` whose entry at `(i, j, …)` is `source[axes[0][i] + axes[1][j] + …]`.
pub fn gather(source: &[f32], axes: &[Offsets]) -> Vec<f32> {
    let mut axes: Vec<&Offsets> = axes.iter().filter(|a| a.len() != 1 || a[0] != 0).collect();
    let run = contiguous_run(&mut axes);
    let length = axes.iter().map(|a| a.len()).product::<usize>() * run;
    let mut result = vec![0.0; length];
    let Some((first, rest)) = axes.split_first() else {
        result.copy_from_slice(&source[..run]);
        return result;
    };
    if length > 0 {
        let rows = result.par_chunks_mut(length / first.len());
        rows.zip(first.par_iter()).for_each(|(out, &offset)| fill(out, source, offset, rest, run));
    }
    result
}

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
