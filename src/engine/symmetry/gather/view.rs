//! Strided views, written row by row.

use std::{array, hint::black_box, ops::Range};

use super::Offsets;

/// A strided view, its first axis apart from the others; or the difference of two of one source.
pub struct View<'a> {
    source: &'a [f32],
    pub(super) first: &'a [usize],
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
    /// `source[axes[0][i] + axes[1][j] + …]`; without an axis it is the source's first.
    pub fn new(source: &'a [f32], axes: &'a [Offsets]) -> Self {
        Self {
            is_difference: false,
            ..Self::difference(source, axes, axes)
        }
    }

    /// The view along `axes` less that along `others`, which differs from it behind the first axis
    /// only.
    pub fn difference(source: &'a [f32], axes: &'a [Offsets], others: &'a [Offsets]) -> Self {
        let first = axes.first().map_or(&[0][..], Vec::as_slice);
        let pairs = axes
            .iter()
            .zip(others)
            .skip(1)
            .map(|(a, b)| [a.as_slice(), b.as_slice()]);
        let mut rest: Vec<_> = pairs.filter(|both| *both != [&[0], &[0]]).collect();
        let run = contiguous_run(&mut rest);
        let (is_interleaved, span) = (is_interleaved(first, run), span(&rest, run));

        Self {
            source,
            first,
            rest,
            run,
            is_difference: true,
            is_interleaved,
            span,
        }
    }

    /// Columns that cannot be parted: those of one index of the second axis.
    pub fn grain(&self) -> usize {
        self.rest
            .first()
            .map_or(1, |[axis, _]| self.width() / axis.len().max(1))
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

        assert!(
            range.start.is_multiple_of(grain),
            "whole indices of the second axis"
        );
        *second = second.map(|axis| &axis[range.start / grain..range.end.div_ceil(grain)]);

        Self {
            span: span(&rest, self.run),
            rest,
            ..*self
        }
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
        let mut rows: Vec<_> = rows
            .map(|(row, &at)| (&mut row[columns.clone()], at))
            .collect();
        if self.is_interleaved {
            return self.fill(&mut rows);
        }

        for row in rows.chunks_mut(1) {
            let span = self.source[row[0].1..].iter().take(self.span);
            black_box(span.step_by(CACHE_LINE_VALUES).sum::<f32>());
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
                self.runs(rows, |to, [from, _]| {
                    to.copy_from_slice(kernel(source, from));
                });
            }
            (true, KERNEL) => self.runs(rows, |to, [from, less]| {
                let (from, less) = (kernel(source, from), kernel(source, less));
                to.copy_from_slice(&array::from_fn::<_, KERNEL, _>(|i| from[i] - less[i]));
            }),
            (false, run) => {
                self.runs(rows, |to, [from, _]| {
                    to.copy_from_slice(&source[from..][..run]);
                });
            }
            (true, run) => self.runs(rows, |to, [from, less]| {
                let pairs = source[from..][..run].iter().zip(&source[less..][..run]);
                to.iter_mut()
                    .zip(pairs)
                    .for_each(|(to, (from, less))| *to = from - less);
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
        walk(
            outer,
            Place::default(),
            strip,
            &mut |Place { column, from, less }| {
                let offsets = last[0]
                    .iter()
                    .zip(last[1])
                    .map(|(a, b)| [from + a, less + b]);
                if let [(row, at)] = rows {
                    let runs = row[column..column + strip].chunks_exact_mut(run);
                    runs.zip(offsets)
                        .for_each(|(to, runs)| write(to, runs.map(|offset| *at + offset)));
                    return;
                }
                for (i, runs) in offsets.enumerate() {
                    let column = column + i * run;
                    for (row, at) in &mut *rows {
                        write(
                            &mut row[column..column + run],
                            runs.map(|offset| *at + offset),
                        );
                    }
                }
            },
        );
    }
}

/// Values of a 3×3 kernel: a run too short for a call and a loop.
pub(super) const KERNEL: usize = 9;
/// A span of so many times what is taken from it is not read as a whole.
const SPARSE: usize = 4;
/// Values of a cache line.
const CACHE_LINE_VALUES: usize = 16;

fn kernel(source: &[f32], at: usize) -> &[f32; KERNEL] {
    source[at..]
        .first_chunk()
        .expect("a run lies in the source")
}

fn width(axes: &[[&[usize]; 2]], run: usize) -> usize {
    axes.iter().map(|[axis, _]| axis.len()).product::<usize>() * run
}

fn span(axes: &[[&[usize]; 2]], run: usize) -> usize {
    let farthest = axes.iter().filter_map(|[axis, _]| axis.iter().max());
    let span = farthest.sum::<usize>() + run;
    if !axes.is_empty() && span < SPARSE * width(axes, run) {
        span
    } else {
        0
    }
}

fn is_interleaved(first: &[usize], run: usize) -> bool {
    first.windows(2).all(|pair| pair[1] == pair[0] + run)
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
    let [[from, less], rest @ ..] = axes else {
        return visit(at);
    };

    let each = self::width(rest, width);
    for (i, (from, less)) in from.iter().zip(*less).enumerate() {
        let column = at.column + i * each;
        walk(
            rest,
            Place {
                column,
                from: at.from + from,
                less: at.less + less,
            },
            width,
            visit,
        );
    }
}
