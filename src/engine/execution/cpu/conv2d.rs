//! Convolution as matrix products: `Y = W · columns(x)` for a few samples at a time.
//!
//! `columns(x)` is `[in · kh · kw, samples · positions]`: row `(c, i, j)` holds what kernel position
//! `(i, j)` of channel `c` meets at every output position. In the backward pass
//! `dW += dY · columns(x)ᵀ`, and `Wᵀ · dY` is spread back over `dx`.

mod path;

use std::borrow::Cow;

use faer::MatRef;
use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients};
use crate::{
    execution::weights::Weights,
    network::program::layer::Conv2d,
    tensors::matmul::{matrix, product},
};
use path::{Axis, Path};

/// Columns of one product: enough to keep the multiplication busy, few enough for the cache.
const PRODUCT_COLUMNS: usize = 512;

/// Elements of the groups' weight gradients that may wait to be added up.
const MAX_WAITING_ELEMENTS: usize = 1 << 21;

/// A convolution with its values.
pub(super) struct Convolution<'a> {
    layer: &'a Conv2d,
    /// `[out, in · kh · kw]`
    weight: Cow<'a, [f32]>,
    bias: Option<Cow<'a, [f32]>>,
    /// Of every kernel position, row by row.
    paths: Vec<Path>,
}

impl<'a> Convolution<'a> {
    pub fn new(layer: &'a Conv2d, weights: &'a Weights) -> Self {
        let [_, _, kernel_height, kernel_width] = layer.weight.shape;
        Self {
            layer,
            weight: weights.host(&layer.weight),
            bias: layer.bias.as_ref().map(|bias| weights.host(bias)),
            paths: (0..kernel_height * kernel_width)
                .map(|at| path(layer, at))
                .collect(),
        }
    }

    /// Kernel positions.
    fn kernel(&self) -> usize {
        self.paths.len()
    }

    fn outputs(&self) -> usize {
        self.layer.output[0]
    }

    /// `[out, in · kh · kw]`
    fn weight(&self) -> MatRef<'_, f32> {
        matrix(&self.weight, self.weight.len() / self.outputs())
    }

    /// Output positions of one channel.
    fn positions(&self) -> usize {
        self.layer.output[1] * self.layer.output[2]
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            read: self.layer.input.iter().product(),
            written: self.layer.output.iter().product(),
            group: (PRODUCT_COLUMNS / self.positions()).max(1),
        }
    }

    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let Sizes {
            read,
            written,
            group,
        } = self.sizes();

        let mut y = vec![0.0; x.batch() * written];
        let groups = y
            .par_chunks_mut(group * written)
            .zip(x.values().par_chunks(group * read));
        groups.for_each_init(Vec::new, |buffer, (out, x)| {
            self.columns(x, buffer);
            let width = out.len() / self.outputs();
            self.samples_first(&product(self.weight(), matrix(buffer, width)), out);
            if let Some(bias) = &self.bias {
                for (i, plane) in out.chunks_mut(self.positions()).enumerate() {
                    let bias = bias[i % bias.len()];
                    plane.iter_mut().for_each(|v| *v += bias);
                }
            }
        });
        CpuActivation::new(y, &self.layer.output)
    }

    /// The gradient of the input, if it is wanted; weight's and bias's are added up.
    pub fn backward(
        &self,
        x: &CpuActivation,
        dy: &CpuActivation,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<CpuActivation> {
        let Sizes {
            read,
            written,
            group,
        } = self.sizes();
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
                    let dy = matrix(&dy, dy.len() / self.outputs());
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

        gradients.add(&self.layer.weight.name, sum);
        if let Some(bias) = &self.layer.bias {
            gradients.add(&bias.name, self.bias_gradient(dy));
        }

        wanted.then(|| CpuActivation::new(dx, &self.layer.input))
    }

    fn bias_gradient(&self, dy: &CpuActivation) -> Vec<f32> {
        let mut sums = vec![0f64; self.outputs()];
        for (i, plane) in dy.values().chunks(self.positions()).enumerate() {
            sums[i % self.outputs()] += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }

    /// `[out, samples · positions]` to `[samples, out, positions]`.
    fn samples_first(&self, from: &[f32], to: &mut [f32]) {
        let (out, positions) = (self.outputs(), self.positions());
        let samples = to.len() / (out * positions);
        to.par_chunks_mut(positions)
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, plane)| {
                let (sample, channel) = (i / out, i % out);
                plane.copy_from_slice(
                    &from[(channel * samples + sample) * positions..][..positions],
                );
            });
    }

    /// `[samples, out, positions]` to `[out, samples · positions]`.
    fn channels_first(&self, from: &[f32]) -> Vec<f32> {
        let (out, positions) = (self.outputs(), self.positions());
        let samples = from.len() / (out * positions);
        let mut to = vec![0.0; from.len()];
        to.par_chunks_mut(positions)
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, plane)| {
                let (channel, sample) = (i / samples, i % samples);
                plane.copy_from_slice(&from[(sample * out + channel) * positions..][..positions]);
            });
        to
    }

    /// `columns(x)` of a few samples. The buffer is new or that of an earlier group: what lies in
    /// the padding is zero in all groups of one size, and everything else is written anew.
    fn columns(&self, x: &[f32], buffer: &mut Vec<f32>) {
        let [channels, height, width] = self.layer.input;
        let (rows, plane) = (channels * self.kernel(), height * width);
        let samples = x.len() / (channels * plane);
        let positions = self.positions();
        if buffer.len() != rows * samples * positions {
            *buffer = vec![0.0; rows * samples * positions];
        }

        buffer
            .par_chunks_mut(samples * positions)
            .enumerate()
            .for_each(|(row, out)| {
                let (channel, path) = (row / self.kernel(), &self.paths[row % self.kernel()]);
                for (sample, out) in out.chunks_mut(positions).enumerate() {
                    path.gather(&x[(sample * channels + channel) * plane..][..plane], out);
                }
            });
    }

    /// The backward pass of `columns`: adds every entry to the input value that it was.
    fn spread(&self, mut columns: Vec<f32>, dx: &mut [f32]) {
        let [channels, height, width] = self.layer.input;
        let samples = dx.len() / (channels * height * width);
        let positions = self.positions();
        columns
            .par_chunks_mut(samples * positions)
            .with_min_len(8)
            .enumerate()
            .for_each(|(row, row_of_samples)| {
                let path = &self.paths[row % self.kernel()];
                row_of_samples
                    .chunks_mut(positions)
                    .for_each(|out| path.clear_gaps(out));
            });
        dx.par_chunks_mut(height * width)
            .with_min_len(8)
            .enumerate()
            .for_each(|(i, plane)| {
                let (sample, channel) = (i / channels, i % channels);
                for (position, path) in self.paths.iter().enumerate() {
                    let row = channel * self.kernel() + position;
                    path.scatter(
                        &columns[(row * samples + sample) * positions..][..positions],
                        plane,
                    );
                }
            });
    }
}

/// Values of one input sample and of one output sample, and how many samples make a group.
struct Sizes {
    read: usize,
    written: usize,
    group: usize,
}

/// The way of the kernel position `at`, counted row by row.
fn path(layer: &Conv2d, at: usize) -> Path {
    let Conv2d {
        stride,
        padding,
        dilation,
        ..
    } = layer;
    let ([_, height, width], [_, rows, columns]) = (layer.input, layer.output);
    let [_, _, _, kernel_width] = layer.weight.shape;
    let (row, column) = (at / kernel_width, at % kernel_width);

    Path::new(
        Axis {
            input: height,
            output: rows,
            stride: stride.0,
            start: (row * dilation.0) as isize - padding.0 as isize,
        },
        Axis {
            input: width,
            output: columns,
            stride: stride.1,
            start: (column * dilation.1) as isize - padding.1 as isize,
        },
    )
}
