//! Norms over the channels of each token, a row at a time: two sums and one pass each way.
#![expect(
    clippy::inline_always,
    reason = "a loop that is not inlined is not compiled for AVX"
)]

use std::borrow::Cow;

use rayon::prelude::*;

use super::{
    activation::CpuActivation,
    gradients::Gradients,
    loops::{rows_per_task, sum_of, sum_of_rows, sums_by_column},
};
use crate::{
    execution::weights::Weights,
    network::program::layer::{Norm, NormKind},
    tensors::vectorized,
};

/// A norm with its values.
pub(super) struct RowNorm<'a> {
    layer: &'a Norm,
    /// What the normalised channels are multiplied by.
    factors: Cow<'a, [f32]>,
    bias: Option<Cow<'a, [f32]>>,
}

/// What a row is normalised by: `(x − mean) · inverse`.
#[derive(Clone, Copy, Default)]
struct RowMoments {
    mean: f32,
    inverse: f32,
}

impl<'a> RowNorm<'a> {
    pub fn new(layer: &'a Norm, weights: &'a Weights) -> Self {
        let weight = weights.host(&layer.weight);
        let factors = match layer.kind {
            NormKind::RootMeanSquare { unit_offset: true } => {
                weight.iter().map(|weight| weight + 1.0).collect()
            }
            _ => weight,
        };
        Self {
            layer,
            factors,
            bias: layer.bias.as_ref().map(|bias| weights.host(bias)),
        }
    }

    fn width(&self) -> usize {
        self.factors.len()
    }

    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        CpuActivation::new(self.normalised(x.values()), x.shape())
    }

    /// Rows `[…, width]`, each by itself.
    pub fn normalised(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        let task = rows_per_task(self.width()) * self.width();
        y.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(y, x)| vectorized(|| self.normalise(x, y)));
        y
    }

    #[inline(always)]
    fn normalise(&self, x: &[f32], y: &mut [f32]) {
        let width = self.width();
        for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
            let RowMoments { mean, inverse } = self.moments(x);
            for ((y, x), factor) in y.iter_mut().zip(x).zip(self.factors.iter()) {
                *y = (x - mean) * inverse * factor;
            }
            if let Some(bias) = &self.bias {
                y.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
            }
        }
    }

    #[inline(always)]
    fn moments(&self, row: &[f32]) -> RowMoments {
        let count = row.len() as f64;
        let mean = match self.layer.kind {
            NormKind::Layer => (sum_of(row, row, |v, _| v) / count) as f32,
            NormKind::RootMeanSquare { .. } => 0.0,
        };
        let variance = sum_of(row, row, |v, _| (v - mean) * (v - mean)) / count;
        RowMoments {
            mean,
            inverse: (variance + self.layer.eps).sqrt().recip() as f32,
        }
    }

    /// The gradient of the input, in the place of that of the output; the norm's own tensors' are added up.
    pub fn backward(&self, x: &[f32], mut dy: Vec<f32>, gradients: &mut Gradients) -> Vec<f32> {
        let moments = self.moments_of_rows(x);
        self.add_gradients(x, &dy, &moments, gradients);

        let (width, rows) = (self.width(), rows_per_task(self.width()));
        dy.par_chunks_mut(rows * width)
            .zip(x.par_chunks(rows * width))
            .zip(moments.par_chunks(rows))
            .for_each(|((dy, x), moments)| {
                vectorized(|| {
                    let rows = dy.chunks_mut(width).zip(x.chunks(width)).zip(moments);
                    for ((dy, x), moments) in rows {
                        self.differentiate(x, *moments, dy);
                    }
                });
            });
        dy
    }

    fn moments_of_rows(&self, x: &[f32]) -> Vec<RowMoments> {
        let (width, rows) = (self.width(), rows_per_task(self.width()));
        let mut moments = vec![RowMoments::default(); x.len() / width];
        moments
            .par_chunks_mut(rows)
            .zip(x.par_chunks(rows * width))
            .for_each(|(moments, x)| {
                vectorized(|| {
                    for (moments, row) in moments.iter_mut().zip(x.chunks(width)) {
                        *moments = self.moments(row);
                    }
                });
            });
        moments
    }

    /// `dx = (g − mean g − x̂ · mean g x̂) · inverse`, with `g = dy · factor` and x̂ the normalised row; without
    /// `mean g` where no mean was taken away.
    #[inline(always)]
    fn differentiate(&self, x: &[f32], moments: RowMoments, dy: &mut [f32]) {
        let RowMoments { mean, inverse } = moments;
        let count = x.len() as f64;
        dy.iter_mut()
            .zip(self.factors.iter())
            .for_each(|(d, factor)| *d *= factor);

        let along = sum_of(dy, x, |g, v| g * (v - mean)) / count;
        let slope = (along * f64::from(inverse) * f64::from(inverse)) as f32;
        let shift = match self.layer.kind {
            NormKind::Layer => (sum_of(dy, dy, |g, _| g) / count) as f32,
            NormKind::RootMeanSquare { .. } => 0.0,
        };
        for (d, v) in dy.iter_mut().zip(x) {
            *d = (*d - shift - (v - mean) * slope) * inverse;
        }
    }

    /// `dγ = Σ dy x̂`, `dβ = Σ dy`, over the rows.
    fn add_gradients(
        &self,
        x: &[f32],
        dy: &[f32],
        moments: &[RowMoments],
        gradients: &mut Gradients,
    ) {
        let width = self.width();
        let weight = sums_by_column(width, |columns, sums| {
            let rows = dy.chunks(width).zip(x.chunks(width)).zip(moments);
            for ((dy, x), RowMoments { mean, inverse }) in rows {
                let row = dy[columns.clone()].iter().zip(&x[columns.clone()]);
                for (sum, (d, v)) in sums.iter_mut().zip(row) {
                    *sum += f64::from(d * ((v - mean) * inverse));
                }
            }
        });
        gradients.add(&self.layer.weight.name, weight);

        if let Some(bias) = &self.layer.bias {
            gradients.add(&bias.name, sum_of_rows(dy, width));
        }
    }
}
