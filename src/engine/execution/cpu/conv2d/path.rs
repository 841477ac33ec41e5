//! The way of one kernel position over a plane.

use std::ops::Range;

/// One direction of a kernel position's way over a plane: output `i` meets input
/// `start + i · stride`.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub stride: usize,
    pub start: isize,
}

impl Axis {
    /// The outputs that meet the input and not its padding, and the input that the first of them
    /// meets.
    fn inside(self) -> (Range<usize>, usize) {
        let Self {
            input,
            output,
            stride,
            start,
        } = self;
        let from = (-start).max(0).unsigned_abs().div_ceil(stride).min(output);
        let room = input as isize - start;
        let to = room
            .max(0)
            .unsigned_abs()
            .div_ceil(stride)
            .min(output)
            .max(from);
        (
            from..to,
            (start + (from * stride) as isize).max(0).unsigned_abs(),
        )
    }
}

/// Which input position of a plane each output position meets at one position of the kernel.
pub(super) struct Path {
    /// `(output, input)` at the beginning of runs of `length`.
    runs: Vec<(usize, usize)>,
    length: usize,
    /// Between two inputs of a run.
    stride: usize,
    /// Outputs within runs that in truth meet the padding: where output and input rows are of one
    /// length, rows are joined to a single run.
    gaps: Vec<usize>,
}

impl Path {
    pub fn new(rows: Axis, columns: Axis) -> Self {
        let ((down, first_row), (across, first_column)) = (rows.inside(), columns.inside());
        let length = across.len();
        let runs: Vec<(usize, usize)> = down
            .filter(|_| length > 0)
            .enumerate()
            .map(|(i, y)| {
                let input = (first_row + i * rows.stride) * columns.input;
                (y * columns.output + across.start, input + first_column)
            })
            .collect();
        let path = Self {
            runs,
            length,
            stride: columns.stride,
            gaps: Vec::new(),
        };
        let parallel = rows.stride == 1 && columns.stride == 1 && columns.input == columns.output;
        if parallel {
            path.joined(columns.output)
        } else {
            path
        }
    }

    /// One run over all rows.
    fn joined(mut self, width: usize) -> Self {
        let ends = self.runs.iter().skip(1).map(|(next, _)| *next);
        self.gaps = ends
            .flat_map(|next| next + self.length - width..next)
            .collect();
        self.length += self.runs.len().saturating_sub(1) * width;
        self.runs.truncate(1);
        self
    }

    /// What the kernel position meets in a plane. Outputs that meet the padding are left as they
    /// are, or zero.
    pub fn gather(&self, plane: &[f32], out: &mut [f32]) {
        for &(to, from) in &self.runs {
            let out = &mut out[to..to + self.length];
            if self.stride == 1 {
                out.copy_from_slice(&plane[from..from + self.length]);
            } else {
                let met = plane[from..].iter().step_by(self.stride);
                out.iter_mut().zip(met).for_each(|(out, &v)| *out = v);
            }
        }
        self.clear_gaps(out);
    }

    pub fn clear_gaps(&self, out: &mut [f32]) {
        self.gaps.iter().for_each(|&gap| out[gap] = 0.0);
    }

    /// The backward pass of `gather`, where gaps are zero: adds to what was met.
    pub fn scatter(&self, from: &[f32], plane: &mut [f32]) {
        for &(source, target) in &self.runs {
            let from = &from[source..source + self.length];
            if self.stride == 1 {
                let met = plane[target..target + self.length].iter_mut();
                met.zip(from).for_each(|(p, v)| *p += v);
            } else {
                let met = plane[target..].iter_mut().step_by(self.stride);
                met.zip(from).for_each(|(p, v)| *p += v);
            }
        }
    }
}
