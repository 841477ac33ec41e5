//! Batch normalisation in two passes each way: sums per channel, then one multiplication and one
//! addition per element.

use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients};
use crate::{
    execution::{statistics::Moments, weights::Weights},
    network::{Param, program::layer::BatchNorm},
};

/// One norm's tensors on the host.
struct Norm {
    eps: f64,
    gamma: Vec<f64>,
    beta: Vec<f64>,
}

impl Norm {
    fn new(layer: &BatchNorm, weights: &Weights) -> Self {
        let channels = layer.channels();
        let gamma = layer.gamma.as_ref().map(|gamma| vector(gamma, weights));
        let beta = layer.beta.as_ref().map(|beta| vector(beta, weights));
        Self {
            eps: layer.eps,
            gamma: gamma.unwrap_or_else(|| vec![1.0; channels]),
            beta: beta.unwrap_or_else(|| vec![0.0; channels]),
        }
    }

    fn inverse_deviation(&self, variance: &[f64]) -> Vec<f64> {
        variance
            .iter()
            .map(|v| 1.0 / (v + self.eps).sqrt())
            .collect()
    }

    /// Scale and shift of every channel.
    fn folded(&self, mean: &[f64], variance: &[f64]) -> Vec<(f32, f32)> {
        let inverse = self.inverse_deviation(variance);
        (0..mean.len())
            .map(|c| {
                let scale = self.gamma[c] * inverse[c];
                (scale as f32, (self.beta[c] - mean[c] * scale) as f32)
            })
            .collect()
    }
}

/// One value per channel.
fn vector(param: &Param<1>, weights: &Weights) -> Vec<f64> {
    weights.host(param).iter().map(|&v| f64::from(v)).collect()
}

/// The running statistics of the checkpoint.
pub(super) fn running(layer: &BatchNorm, weights: &Weights) -> Moments {
    let mean = vector(&layer.running_mean, weights);
    let variance = vector(&layer.running_var, weights);
    Moments {
        mean,
        variance,
        count: 0,
    }
}

/// With these statistics.
pub(super) fn forward(
    layer: &BatchNorm,
    x: CpuActivation,
    weights: &Weights,
    seen: &Moments,
) -> CpuActivation {
    let norm = Norm::new(layer, weights);
    scaled(x, &norm.folded(&seen.mean, &seen.variance))
}

/// Every channel scaled and shifted; in place where nobody else holds the values.
fn scaled(x: CpuActivation, folded: &[(f32, f32)]) -> CpuActivation {
    let positions = x.positions();
    x.map_samples(|sample| {
        for (plane, (scale, shift)) in sample.chunks_mut(positions).zip(folded) {
            for v in plane {
                *v = *v * scale + shift;
            }
        }
    })
}

/// Mean and variance per channel. Values are taken relative to the channel's first, so that the
/// one-pass variance loses nothing to a large mean.
pub(super) fn moments(x: &CpuActivation) -> Moments {
    let (positions, count) = (x.positions(), x.batch() * x.positions());
    let origin: Vec<f32> = x.values()[..x.size()]
        .iter()
        .step_by(positions)
        .copied()
        .collect();
    let (first, squares) = channel_sums(x, |_, channel, plane| {
        let zero = origin[channel];
        sums(plane, plane, |v, _| (v - zero, (v - zero) * (v - zero)))
    });
    let n = count as f64;
    let centred = first.iter().map(|s| s / n);
    let variance = centred
        .clone()
        .zip(&squares)
        .map(|(m, s)| (s / n - m * m).max(0.0))
        .collect();
    let mean = centred
        .zip(&origin)
        .map(|(m, &zero)| m + f64::from(zero))
        .collect();
    Moments {
        mean,
        variance,
        count,
    }
}

/// A norm's input, and the statistics that normalised it.
#[derive(Clone, Copy)]
pub(super) struct Normalised<'a> {
    pub layer: &'a BatchNorm,
    pub x: &'a CpuActivation,
    pub seen: &'a Moments,
}

/// The gradient of the input; γ's and β's are added up.
pub(super) fn backward(
    normalised: Normalised<'_>,
    dy: CpuActivation,
    weights: &Weights,
    gradients: &mut Gradients,
) -> CpuActivation {
    let Normalised { layer, x, seen } = normalised;
    let (channels, positions) = (x.channels(), x.positions());
    let norm = Norm::new(layer, weights);
    let inverse = norm.inverse_deviation(&seen.variance);
    let size = channels * positions;
    let (beta, products) = {
        let dy = dy.values();
        channel_sums(x, |sample, channel, plane| {
            let mean = seen.mean[channel] as f32;
            let dy = &dy[sample * size + channel * positions..][..positions];
            sums(dy, plane, |d, v| (d, d * (v - mean)))
        })
    };

    // dγ = Σ dy x̂, dβ = Σ dy, dx = γ/σ (dy − dβ/n − x̂ dγ/n), linear in dy and x. Running
    // statistics do not depend on x: only γ/σ dy is left.
    let gamma: Vec<f64> = products.iter().zip(&inverse).map(|(p, i)| p * i).collect();
    let share = if seen.count == 0 {
        0.0
    } else {
        1.0 / seen.count as f64
    };
    let coefficients: Vec<[f32; 3]> = (0..channels)
        .map(|c| {
            let scale = norm.gamma[c] * inverse[c];
            let slope = -scale * inverse[c] * gamma[c] * share;
            let shift = -scale * beta[c] * share - slope * seen.mean[c];
            [scale, slope, shift].map(|v| v as f32)
        })
        .collect();

    for (param, values) in [(&layer.gamma, &gamma), (&layer.beta, &beta)] {
        if let Some(param) = param {
            gradients.add(&param.name, values.iter().map(|&v| v as f32).collect());
        }
    }

    let mut values = dy.into_values();
    values
        .par_chunks_mut(size)
        .zip(x.values().par_chunks(size))
        .for_each(|(dy, sample)| {
            let planes = dy.chunks_mut(positions).zip(sample.chunks(positions));
            for ((dy, plane), [scale, slope, shift]) in planes.zip(&coefficients) {
                dy.iter_mut()
                    .zip(plane)
                    .for_each(|(d, v)| *d = *d * scale + v * slope + shift);
            }
        });
    CpuActivation::new(values, x.shape())
}

/// Elements summed in f32 before f64 takes over.
const F32_RUN: usize = 1024;

/// `Σ f(a, b)`, two figures at once, in independent lanes that the compiler turns into vectors.
fn sums(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> (f32, f32)) -> (f64, f64) {
    let mut totals = (0.0, 0.0);
    for (a, b) in a.chunks(F32_RUN).zip(b.chunks(F32_RUN)) {
        let mut lanes = ([0f32; 16], [0f32; 16]);
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..16 {
                let (first, second) = f(a[lane], b[lane]);
                lanes.0[lane] += first;
                lanes.1[lane] += second;
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let (first, second) = f(a, b);
            lanes.0[lane] += first;
            lanes.1[lane] += second;
        }
        totals = (totals.0 + sum(lanes.0), totals.1 + sum(lanes.1));
    }

    totals
}

fn sum(lanes: [f32; 16]) -> f64 {
    lanes.into_iter().map(f64::from).sum()
}

/// Sums over the samples, in their order, of two figures of every (sample, channel) plane.
fn channel_sums(
    x: &CpuActivation,
    of_plane: impl Fn(usize, usize, &[f32]) -> (f64, f64) + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let positions = x.positions();
    let samples: Vec<Vec<(f64, f64)>> = x
        .values()
        .par_chunks(x.size())
        .enumerate()
        .map(|(sample, values)| {
            let planes = values.chunks(positions).enumerate();
            planes
                .map(|(channel, plane)| of_plane(sample, channel, plane))
                .collect()
        })
        .collect();
    let mut totals = (vec![0.0; x.channels()], vec![0.0; x.channels()]);

    for sample in samples {
        for (channel, (first, second)) in sample.into_iter().enumerate() {
            totals.0[channel] += first;
            totals.1[channel] += second;
        }
    }

    totals
}
