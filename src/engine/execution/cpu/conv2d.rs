//! Convolution as matrix products: `Y = W · columns(x)` for a few samples at a time.
//!
//! `columns(x)` is `[in · kh · kw, samples · positions]`: row `(c, i, j)` holds what kernel position
//! `(i, j)` of channel `c` meets at every output position. In the backward pass
//! `dW += dY · columns(x)ᵀ`, and `Wᵀ · dY` is spread back over `dx`.

use std::{borrow::Cow, ops::Range};

use faer::MatRef;
use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients};
use crate::{
    execution::weights::Weights,
    network::{Op, op::Pair},
    tensors::matmul::{matrix, product},
};

/// Columns of one product: enough to keep the multiplication busy, few enough for the cache.
const PRODUCT_COLUMNS: usize = 512;

/// Elements of the groups' weight gradients that may wait to be added up.
const MAX_WAITING_ELEMENTS: usize = 1 << 21;

/// One convolution node for inputs of one size.
pub(super) struct Convolution<'a> {
    param: &'a str,
    weights: &'a Weights,
    /// `[out, in · kh · kw]`
    weight: Cow<'a, [f32]>,
    input: [usize; 3],
    output: [usize; 3],
    kernel: Pair,
    /// Of every kernel position, row by row.
    paths: Vec<Path>,
}

impl<'a> Convolution<'a> {
    pub fn new(op: &'a Op, x: &CpuActivation, weights: &'a Weights) -> Self {
        let Op::Conv2d { param, stride, padding, dilation, .. } = op else {
            unreachable!("called for convolutions")
        };
        let (shape, weight) = weights.host(param, "weight").expect("shapes have been checked");
        let &[out, _, kh, kw] = shape else { unreachable!("shapes have been checked") };
        let input: [usize; 3] = x.shape().try_into().expect("shapes have been checked");
        let size = |n: usize, k: usize, p: usize, d: usize, s: usize| {
            (n + 2 * p - d * (k - 1) - 1) / s + 1
        };

        let height = size(input[1], kh, padding.0, dilation.0, stride.0);
        let width = size(input[2], kw, padding.1, dilation.1, stride.1);

        let path = |at: usize| {
            Path::new(
                Axis::of(at / kw, [input[1], height], [stride.0, padding.0, dilation.0]),
                Axis::of(at % kw, [input[2], width], [stride.1, padding.1, dilation.1]),
            )
        };

        Self {
            param,
            weights,
            weight,
            input,
            output: [out, height, width],
            kernel: Pair(kh, kw),
            paths: (0..kh * kw).map(path).collect(),
        }
    }

    /// `[out, in · kh · kw]`
    fn weight(&self) -> MatRef<'_, f32> {
        matrix(&self.weight, self.weight.len() / self.output[0])
    }

    /// Output positions of one channel.
    fn positions(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Values of one input sample, of one output sample, and how many samples make a group.
    fn sizes(&self) -> (usize, usize, usize) {
        let group = (PRODUCT_COLUMNS / self.positions()).max(1);
        (self.input.iter().product(), self.output.iter().product(), group)
    }

    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let (read, written, group) = self.sizes();
        let bias = self.weights.host(self.param, "bias").map(|(_, bias)| bias);

        let mut y = vec![0.0; x.batch() * written];
        let groups = y.par_chunks_mut(group * written).zip(x.values().par_chunks(group * read));
        groups.for_each_init(Vec::new, |buffer, (out, x)| {
            self.columns(x, buffer);
            let width = out.len() / self.output[0];
            self.samples_first(&product(self.weight(), matrix(buffer, width)), out);
            if let Some(bias) = &bias {
                for (i, plane) in out.chunks_mut(self.positions()).enumerate() {
                    let bias = bias[i % bias.len()];
                    plane.iter_mut().for_each(|v| *v += bias);
                }
            }
        });
        CpuActivation::new(y, &self.output)
    }

    /// The gradient of the input, if it is wanted; weight's and bias's are added up.
    pub fn backward(
        &self,
        x: &CpuActivation,
        dy: &CpuActivation,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<CpuActivation> {
        let (read, written, group) = self.sizes();
        let mut dx = vec![0.0; if wanted { x.values().len() } else { 0 }];
        // Without a wanted gradient there is nothing to write into: an empty slice a group.
        let mut into: Vec<&mut [f32]> = dx.chunks_mut(group * read).collect();
        into.resize_with(x.batch().div_ceil(group), Default::default);
        let groups: Vec<_> = into
            .into_iter()
            .zip(dy.values().chunks(group * written))
            .zip(x.values().chunks(group * read))
            .collect();

        let at_once = (MAX_WAITING_ELEMENTS / self.weight.len()).max(rayon::current_num_threads());
        let mut sum = vec![0.0; self.weight.len()];
        let mut waiting = groups.into_iter().peekable();
        while waiting.peek().is_some() {
            let some: Vec<_> = waiting.by_ref().take(at_once).collect();
            let products: Vec<Vec<f32>> = some
                .into_par_iter()
                .map_init(Vec::new, |buffer, ((into, dy), x)| {
                    let dy = self.channels_first(dy);
                    let dy = matrix(&dy, dy.len() / self.output[0]);
                    self.columns(x, buffer);
                    if wanted {
                        self.spread(product(self.weight().transpose(), dy), into);
                    }
                    product(dy, matrix(buffer, dy.ncols()).transpose())
                })
                .collect();
            // In the order of the samples, whatever thread was first.
            for product in products {
                sum.iter_mut().zip(product).for_each(|(sum, v)| *sum += v);
            }
        }

        gradients.add(self.param, "weight", sum);
        if self.weights.contains(&format!("{}.bias", self.param)) {
            gradients.add(self.param, "bias", self.bias_gradient(dy));
        }

        wanted.then(|| CpuActivation::new(dx, &self.input))
    }

    fn bias_gradient(&self, dy: &CpuActivation) -> Vec<f32> {
        let mut sums = vec![0f64; self.output[0]];
        for (i, plane) in dy.values().chunks(self.positions()).enumerate() {
            sums[i % self.output[0]] += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }

    /// `[out, samples · positions]` to `[samples, out, positions]`.
    fn samples_first(&self, from: &[f32], to: &mut [f32]) {
        let ([out, ..], positions) = (self.output, self.positions());
        let samples = to.len() / (out * positions);
        to.par_chunks_mut(positions).with_min_len(16).enumerate().for_each(|(i, plane)| {
            let (sample, channel) = (i / out, i % out);
            plane.copy_from_slice(&from[(channel * samples + sample) * positions..][..positions]);
        });
    }

    /// `[samples, out, positions]` to `[out, samples · positions]`.
    fn channels_first(&self, from: &[f32]) -> Vec<f32> {
        let ([out, ..], positions) = (self.output, self.positions());
        let samples = from.len() / (out * positions);
        let mut to = vec![0.0; from.len()];
        to.par_chunks_mut(positions).with_min_len(16).enumerate().for_each(|(i, plane)| {
            let (channel, sample) = (i / samples, i % samples);
            plane.copy_from_slice(&from[(sample * out + channel) * positions..][..positions]);
        });
        to
    }

    /// `columns(x)` of a few samples. The buffer is new or that of an earlier group: what lies in
    /// the padding is zero in all groups of one size, and everything else is written anew.
    fn columns(&self, x: &[f32], buffer: &mut Vec<f32>) {
        let [channels, height, width] = self.input;
        let Pair(kh, kw) = self.kernel;
        let (rows, plane) = (channels * kh * kw, height * width);
        let samples = x.len() / (channels * plane);
        let positions = self.positions();
        if buffer.len() != rows * samples * positions {
            *buffer = vec![0.0; rows * samples * positions];
        }
        buffer.par_chunks_mut(samples * positions).enumerate().for_each(|(row, out)| {
            let (channel, path) = (row / (kh * kw), &self.paths[row % (kh * kw)]);
            for (sample, out) in out.chunks_mut(positions).enumerate() {
                path.gather(&x[(sample * channels + channel) * plane..][..plane], out);
            }
        });
    }

    /// The backward pass of `columns`: adds every entry to the input value that it was.
    fn spread(&self, mut columns: Vec<f32>, dx: &mut [f32]) {
        let [channels, height, width] = self.input;
        let Pair(kh, kw) = self.kernel;
        let samples = dx.len() / (channels * height * width);
        let positions = self.positions();
        columns.par_chunks_mut(samples * positions).with_min_len(8).enumerate().for_each(
            |(row, row_of_samples)| {
                let path = &self.paths[row % (kh * kw)];
                row_of_samples.chunks_mut(positions).for_each(|out| path.clear_gaps(out));
            },
        );
        dx.par_chunks_mut(height * width).with_min_len(8).enumerate().for_each(|(i, plane)| {
            let (sample, channel) = (i / channels, i % channels);
            for (position, path) in self.paths.iter().enumerate() {
                let row = channel * kh * kw + position;
                path.scatter(&columns[(row * samples + sample) * positions..][..positions], plane);
            }
        });
    }
}

/// One direction of a kernel position's way over a plane: output `i` meets input
/// `start + i · stride`.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    stride: usize,
    start: isize,
}

impl Axis {
    /// That of one row or column `at` of the kernel.
    fn of(at: usize, [input, output]: [usize; 2], [stride, padding, dilation]: [usize; 3]) -> Self {
        Self { input, output, stride, start: (at * dilation) as isize - padding as isize }
    }

    /// The outputs that meet the input and not its padding, and the input that the first of them
    /// meets.
    fn inside(self) -> (Range<usize>, usize) {
        let Self { input, output, stride, start } = self;
        let from = (-start).max(0).unsigned_abs().div_ceil(stride).min(output);
        let room = input as isize - start;
        let to = room.max(0).unsigned_abs().div_ceil(stride).min(output).max(from);
        (from..to, (start + (from * stride) as isize).max(0).unsigned_abs())
    }
}

/// Which input position of a plane each output position meets at one position of the kernel.
struct Path {
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
    fn new(rows: Axis, columns: Axis) -> Self {
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
        let path = Self { runs, length, stride: columns.stride, gaps: Vec::new() };
        let parallel = rows.stride == 1 && columns.stride == 1 && columns.input == columns.output;
        if parallel { path.joined(columns.output) } else { path }
    }

    /// One run over all rows.
    fn joined(mut self, width: usize) -> Self {
        let ends = self.runs.iter().skip(1).map(|(next, _)| *next);
        self.gaps = ends.flat_map(|next| next + self.length - width..next).collect();
        self.length += self.runs.len().saturating_sub(1) * width;
        self.runs.truncate(1);
        self
    }

    /// What the kernel position meets in a plane. Outputs that meet the padding are left as they
    /// are, or zero.
    fn gather(&self, plane: &[f32], out: &mut [f32]) {
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

    fn clear_gaps(&self, out: &mut [f32]) {
        self.gaps.iter().for_each(|&gap| out[gap] = 0.0);
    }

    /// The backward pass of `gather`, where gaps are zero: adds to what was met.
    fn scatter(&self, from: &[f32], plane: &mut [f32]) {
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
