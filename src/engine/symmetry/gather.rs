//! Strided gathering of f32 values: the one loop behind permuting a tensor and behind laying out
//! its axes for a matrix product.

use std::{array, hint::black_box, ops::Range};

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

/// A strided view, its first axis apart from the others; or the difference of two of one source.
pub struct View<'a> {
    source: &'a [f32],
    first: &'a [usize],
    /// Offsets along the other axes, in what is taken and in what is subtracted from it.
    rest: Vec<[&'a [usize]; 2]>,
    /// Entries that lie consecutively in the source.
    run: usize,
    is_difference: bool,
    /// Whether runs at successive indices of the first axis follow one another in the source: those
    /// of all rows are then written together.
    is_interleaved: bool,
    /// So many values of a row's source are read in order before they are picked in another: the
    /// memory is then read ahead. 0 where that is not worth while.
    span: usize,
}

impl<'a> View<'a> {
    /// The view with axes `axes` whose entry at `(i, j, …)` is
    /// `source[axes[0][i] + axes[1][j] + …]`.
    ///
    /// # Panics
    /// Without an axis.
    pub fn new(source: &'a [f32], axes: &'a [Offsets]) -> Self {
        Self { is_difference: false, ..Self::difference(source, axes, axes) }
    }

    /// The view along `axes` less that along `others`, which differs from it behind the first axis
    /// only.
    ///
    /// # Panics
    /// Without an axis.
    pub fn difference(source: &'a [f32], axes: &'a [Offsets], others: &'a [Offsets]) -> Self {
        let first = axes.first().expect("a view has axes");
        let pairs = axes.iter().zip(others).skip(1).map(|(a, b)| [a.as_slice(), b.as_slice()]);
        let mut rest: Vec<_> = pairs.filter(|both| *both != [&[0], &[0]]).collect();
        let run = contiguous_run(&mut rest);
        let (is_interleaved, span) = (is_interleaved(first, run), span(&rest, run));
        Self { source, first, rest, run, is_difference: true, is_interleaved, span }
    }

    /// Columns that cannot be parted: those of one index of the second axis.
    pub fn grain(&self) -> usize {
        self.rest.first().map_or(1, |[axis, _]| self.width() / axis.len().max(1))
    }

    /// Some of the columns.
    ///
    /// # Panics
    /// When the range does not begin at a multiple of the [`View::grain`], or ends outside.
    pub fn columns(&self, range: Range<usize>) -> Self {
        let grain = self.grain();
        let mut rest = self.rest.clone();
        let Some(second) = rest.first_mut() else {
            let (source, run) = (&self.source[range.start..], range.len());
            return Self {
                source,
                rest,
                run,
                is_interleaved: is_interleaved(self.first, run),
                ..*self
            };
        };
        assert!(range.start.is_multiple_of(grain), "whole indices of the second axis");
        *second = second.map(|axis| &axis[range.start / grain..range.end.div_ceil(grain)]);
        Self { span: span(&rest, self.run), rest, ..*self }
    }

    /// Entries for each index of the first axis.
    pub fn width(&self) -> usize {
        width(&self.rest, self.run)
    }

    /// Writes the entries at some indices of the first axis, those of each to a row of `out` of
    /// this width, from column `start` on.
    pub fn write_rows(&self, indices: Range<usize>, out: &mut [f32], width: usize, start: usize) {
        let columns = start..start + self.width();
        if columns.is_empty() {
            return;
        }
        let rows = out.chunks_mut(width).zip(&self.first[indices]);
        let mut rows: Vec<_> = rows.map(|(row, &at)| (&mut row[columns.clone()], at)).collect();
        if self.is_interleaved {
            return self.fill(&mut rows);
        }
        for row in rows.chunks_mut(1) {
            let span = self.source[row[0].1..].iter().take(self.span);
            black_box(span.step_by(LINE).sum::<f32>());
            self.fill(row);
        }
    }

    /// Each row with its offset along the first axis.
    fn fill(&self, rows: &mut [(&mut [f32], usize)]) {
        let source = self.source;
        match (self.is_difference, self.run) {
            (false, 1) => self.runs(rows, |to, [from, _]| to[0] = source[from]),
            (true, 1) => self.runs(rows, |to, [from, less]| to[0] = source[from] - source[less]),
            (false, KERNEL) => {
                self.runs(rows, |to, [from, _]| to.copy_from_slice(kernel(source, from)));
            }
            (true, KERNEL) => self.runs(rows, |to, [from, less]| {
                let (from, less) = (kernel(source, from), kernel(source, less));
                to.copy_from_slice(&array::from_fn::<_, KERNEL, _>(|i| from[i] - less[i]));
            }),
            (false, run) => {
                self.runs(rows, |to, [from, _]| to.copy_from_slice(&source[from..][..run]));
            }
            (true, run) => self.runs(rows, |to, [from, less]| {
                let pairs = source[from..][..run].iter().zip(&source[less..][..run]);
                to.iter_mut().zip(pairs).for_each(|(to, (from, less))| *to = from - less);
            }),
        }
    }

    /// Writes every run of these rows, given what it begins with and what is subtracted from it.
    fn runs(&self, rows: &mut [(&mut [f32], usize)], write: impl Fn(&mut [f32], [usize; 2])) {
        let run = self.run;
        let Some((last, outer)) = self.rest.split_last() else {
            return rows.iter_mut().for_each(|(row, at)| write(row, [*at, *at]));
        };
        let strip = last[0].len() * run;
        walk(outer, Place::default(), strip, &mut |Place { column, from, less }| {
            let offsets = last[0].iter().zip(last[1]).map(|(a, b)| [from + a, less + b]);
            if let [(row, at)] = rows {
                let runs = row[column..column + strip].chunks_exact_mut(run);
                runs.zip(offsets).for_each(|(to, runs)| write(to, runs.map(|offset| *at + offset)));
                return;
            }
            for (i, runs) in offsets.enumerate() {
                let column = column + i * run;
                for (row, at) in &mut *rows {
                    write(&mut row[column..column + run], runs.map(|offset| *at + offset));
                }
            }
        });
    }
}

/// Values of a 3×3 kernel: a run too short for a call and a loop.
const KERNEL: usize = 9;
/// A span of so many times what is taken from it is not read as a whole.
const SPARSE: usize = 4;
/// Values of a cache line.
const LINE: usize = 16;

fn kernel(source: &[f32], at: usize) -> &[f32; KERNEL] {
    source[at..].first_chunk().expect("a run lies in the source")
}

fn width(axes: &[[&[usize]; 2]], run: usize) -> usize {
    axes.iter().map(|[axis, _]| axis.len()).product::<usize>() * run
}

fn span(axes: &[[&[usize]; 2]], run: usize) -> usize {
    let farthest = axes.iter().filter_map(|[axis, _]| axis.iter().max());
    let span = farthest.sum::<usize>() + run;
    if !axes.is_empty() && span < SPARSE * width(axes, run) { span } else { 0 }
}

fn is_interleaved(first: &[usize], run: usize) -> bool {
    first.windows(2).all(|pair| pair[1] == pair[0] + run)
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
        result.par_chunks_mut(rows * width).enumerate().for_each(|(chunk, out)| {
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

/// Takes trailing axes that lie consecutively in the source off the list; their joint length.
fn contiguous_run(axes: &mut Vec<[&[usize]; 2]>) -> usize {
    let mut run = 1;
    while let Some(both) = axes.last() {
        let mut offsets = both.iter().flat_map(|axis| axis.iter().enumerate());
        if !offsets.all(|(i, &at)| at == i * run) {
            break;
        }
        run *= both[0].len();
        axes.pop();
    }
    run
}

/// A position of a view.
#[derive(Clone, Copy, Default)]
struct Place {
    /// In the result.
    column: usize,
    /// In the source: of what is taken.
    from: usize,
    /// In the source: of what is subtracted from it.
    less: usize,
}

/// Visits the positions along these axes, `width` columns apart.
fn walk(axes: &[[&[usize]; 2]], at: Place, width: usize, visit: &mut impl FnMut(Place)) {
    let [[from, less], rest @ ..] = axes else { return visit(at) };
    let each = self::width(rest, width);
    for (i, (from, less)) in from.iter().zip(*less).enumerate() {
        let column = at.column + i * each;
        walk(rest, Place { column, from: at.from + from, less: at.less + less }, width, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                vec![along(out, rows), vec![0], order(order_in, columns), inside.clone()]
            };
            let on_second = |order_out: &[usize]| {
                vec![along(input, columns), order(order_out, rows), vec![0], inside.clone()]
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
