//! Convolution as matrix products: `Y = W · columns(x)` for a few samples at a time.
//!
//! `columns(x)` is `[in · kh · kw, samples · positions]`: row `(c, i, j)` holds what kernel position
//! `(i, j)` of channel `c` meets at every output position. On the way back
//! `dW += dY · columns(x)ᵀ`, and `Wᵀ · dY` is spread back over `dx`.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{
    super::{
        forward::{Weights, floats},
        op::{Op, Pair},
    },
    Gradients, Signal,
};

/// Columns of one product: enough to keep the multiplication busy, few enough for the cache.
const COLUMNS: usize = 512;

/// One convolution node for inputs of one size.
pub(super) struct Convolution<'a> {
    param: &'a str,
    weights: &'a Weights,
    /// `[out, in · kh · kw]`
    weight: Tensor<2>,
    input: [usize; 3],
    output: [usize; 3],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
}

impl<'a> Convolution<'a> {
    pub fn new(op: &'a Op, x: &Signal, weights: &'a Weights) -> Self {
        let Op::Conv2d { param, stride, padding, dilation, .. } = op else {
            unreachable!("called for convolutions")
        };
        let weight: Tensor<4> = weights.get(param, "weight").expect("shapes have been checked");
        let [out, _, kh, kw] = weight.dims();
        let input: [usize; 3] = x.shape().try_into().expect("shapes have been checked");
        let size = |n: usize, k: usize, p: usize, d: usize, s: usize| {
            (n + 2 * p - d * (k - 1) - 1) / s + 1
        };
        let height = size(input[1], kh, padding.0, dilation.0, stride.0);
        let width = size(input[2], kw, padding.1, dilation.1, stride.1);
        Self {
            param,
            weights,
            weight: weight.reshape([out, input[0] * kh * kw]),
            input,
            output: [out, height, width],
            kernel: Pair(kh, kw),
            stride: *stride,
            padding: *padding,
            dilation: *dilation,
        }
    }

    /// Output positions of one channel.
    fn positions(&self) -> usize {
        self.output[1] * self.output[2]
    }

    /// Values of one input sample, of one output sample, and how many samples make a group.
    fn sizes(&self) -> (usize, usize, usize) {
        let group = (COLUMNS / self.positions()).max(1);
        (self.input.iter().product(), self.output.iter().product(), group)
    }

    pub fn forward(&self, x: &Signal) -> Signal {
        let (read, written, group) = self.sizes();
        let bias = self.weights.get::<1>(self.param, "bias").map(floats);
        let mut y = vec![0.0; x.batch() * written];
        let groups = y.par_chunks_mut(group * written).zip(x.values().par_chunks(group * read));
        groups.for_each_init(Vec::new, |buffer, (out, x)| {
            let columns = self.columns(x, std::mem::take(buffer));
            let product = floats(self.weight.clone().matmul(columns.clone()));
            *buffer = floats(columns);
            self.samples_first(&product, out);
            if let Some(bias) = &bias {
                for (i, plane) in out.chunks_mut(self.positions()).enumerate() {
                    let bias = bias[i % bias.len()];
                    plane.iter_mut().for_each(|v| *v += bias);
                }
            }
        });
        Signal::new(y, &self.output)
    }

    /// The gradient of the input, if it is wanted; weight's and bias's are added up.
    pub fn backward(
        &self,
        x: &Signal,
        dy: &Signal,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<Signal> {
        let (read, written, group) = self.sizes();
        let mut dx = vec![0.0; if wanted { x.values().len() } else { 0 }];
        // Without a wanted gradient there is nothing to write into: an empty slice a group.
        let mut into: Vec<&mut [f32]> = dx.chunks_mut(group * read).collect();
        into.resize_with(x.batch().div_ceil(group), Default::default);
        let groups = into.into_par_iter().zip(dy.values().par_chunks(group * written));
        let products: Vec<Tensor<2>> = groups
            .zip(x.values().par_chunks(group * read))
            .map_init(Vec::new, |buffer, ((into, dy), x)| {
                let dy = self.channels_first(dy);
                let columns = self.columns(x, std::mem::take(buffer));
                let product = dy.clone().matmul(columns.clone().transpose());
                *buffer = floats(columns);
                if wanted {
                    self.spread(&floats(self.weight.clone().transpose().matmul(dy)), into);
                }
                product
            })
            .collect();
        // In the order of the samples, whatever thread was first.
        let sum = products.into_iter().reduce(|sum, product| sum + product);
        gradients.add(self.param, "weight", sum.expect("a batch has samples").flatten(0, 1));
        if self.weights.get::<1>(self.param, "bias").is_some() {
            gradients.add(self.param, "bias", self.bias_gradient(dy));
        }
        wanted.then(|| Signal::new(dx, &self.input))
    }

    fn bias_gradient(&self, dy: &Signal) -> Tensor<1> {
        let mut sums = vec![0f64; self.output[0]];
        for (i, plane) in dy.values().chunks(self.positions()).enumerate() {
            sums[i % self.output[0]] += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        let sums: Vec<f32> = sums.into_iter().map(|s| s as f32).collect();
        Tensor::from_data(sums.as_slice(), &Device::flex())
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
    fn channels_first(&self, from: &[f32]) -> Tensor<2> {
        let ([out, ..], positions) = (self.output, self.positions());
        let samples = from.len() / (out * positions);
        let mut to = vec![0.0; from.len()];
        to.par_chunks_mut(positions).with_min_len(16).enumerate().for_each(|(i, plane)| {
            let (channel, sample) = (i / samples, i % samples);
            plane.copy_from_slice(&from[(sample * out + channel) * positions..][..positions]);
        });
        Tensor::from_data(TensorData::new(to, [out, samples * positions]), &Device::flex())
    }

    /// `columns(x)` of a few samples. The buffer is new or that of an earlier group: what lies in
    /// the padding is zero in all groups of one size, and everything else is written anew.
    fn columns(&self, x: &[f32], mut buffer: Vec<f32>) -> Tensor<2> {
        let [channels, height, width] = self.input;
        let Pair(kh, kw) = self.kernel;
        let (rows, plane) = (channels * kh * kw, height * width);
        let samples = x.len() / (channels * plane);
        let positions = self.positions();
        if buffer.len() != rows * samples * positions {
            buffer = vec![0.0; rows * samples * positions];
        }
        buffer.par_chunks_mut(samples * positions).enumerate().for_each(|(row, out)| {
            let (channel, at) = (row / (kh * kw), Pair(row / kw % kh, row % kw));
            for (sample, out) in out.chunks_mut(positions).enumerate() {
                let plane = &x[(sample * channels + channel) * plane..][..plane];
                self.gather(plane, at, out);
            }
        });
        Tensor::from_data(TensorData::new(buffer, [rows, samples * positions]), &Device::flex())
    }

    /// Output rows and columns at which a kernel position lies inside the input: `from..to` with the
    /// input coordinate at `from`.
    fn inside(n: usize, out: usize, (stride, start): (usize, isize)) -> (usize, usize, usize) {
        let from = (-start).max(0).unsigned_abs().div_ceil(stride).min(out);
        let room = n as isize - start;
        let to = room.max(0).unsigned_abs().div_ceil(stride).min(out).max(from);
        (from, to, (start + (from * stride) as isize).max(0).unsigned_abs())
    }

    /// Rows of `(output, input)` ranges that a kernel position pairs.
    fn pairs(&self, Pair(i, j): Pair) -> impl Iterator<Item = (usize, usize)> + use<> {
        let ([_, height, width], [_, out_height, out_width]) = (self.input, self.output);
        let start = |at: usize, dilation: usize, padding: usize| {
            (at * dilation) as isize - padding as isize
        };
        let rows = (self.stride.0, start(i, self.dilation.0, self.padding.0));
        let columns = (self.stride.1, start(j, self.dilation.1, self.padding.1));
        let (top, bottom, first_row) = Self::inside(height, out_height, rows);
        let (left, _, first_column) = Self::inside(width, out_width, columns);
        let stride = self.stride.0;
        (top..bottom).map(move |y| {
            (y * out_width + left, (first_row + (y - top) * stride) * width + first_column)
        })
    }

    /// How many positions of a row a kernel position pairs.
    fn run(&self, Pair(_, j): Pair) -> usize {
        let start = (j * self.dilation.1) as isize - self.padding.1 as isize;
        let (left, right, _) = Self::inside(self.input[2], self.output[2], (self.stride.1, start));
        right - left
    }

    /// What one kernel position meets in a plane.
    fn gather(&self, plane: &[f32], at: Pair, out: &mut [f32]) {
        let run = self.run(at);
        if run == 0 {
            return;
        }
        for (to, from) in self.pairs(at) {
            let out = &mut out[to..to + run];
            if self.stride.1 == 1 {
                out.copy_from_slice(&plane[from..from + run]);
            } else {
                let met = plane[from..].iter().step_by(self.stride.1);
                out.iter_mut().zip(met).for_each(|(out, &v)| *out = v);
            }
        }
    }

    /// The way back of `columns`: adds every entry to the input value that it was.
    fn spread(&self, columns: &[f32], dx: &mut [f32]) {
        let [channels, height, width] = self.input;
        let Pair(kh, kw) = self.kernel;
        let samples = dx.len() / (channels * height * width);
        let positions = self.positions();
        dx.par_chunks_mut(height * width).with_min_len(8).enumerate().for_each(|(i, plane)| {
            let (sample, channel) = (i / channels, i % channels);
            for position in 0..kh * kw {
                let row = channel * kh * kw + position;
                let from = &columns[(row * samples + sample) * positions..][..positions];
                self.scatter(from, Pair(position / kw, position % kw), plane);
            }
        });
    }

    fn scatter(&self, from: &[f32], at: Pair, plane: &mut [f32]) {
        let run = self.run(at);
        if run == 0 {
            return;
        }
        for (source, target) in self.pairs(at) {
            let from = &from[source..source + run];
            if self.stride.1 == 1 {
                plane[target..target + run].iter_mut().zip(from).for_each(|(p, v)| *p += v);
            } else {
                let met = plane[target..].iter_mut().step_by(self.stride.1);
                met.zip(from).for_each(|(p, v)| *p += v);
            }
        }
    }
}
