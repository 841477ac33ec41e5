//! An activation in host memory.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use faer::MatRef;
use rayon::prelude::*;

use super::loops::TASK_ELEMENTS;
use crate::tensors::{matmul::matrix, vectorized};

/// `[B, …shape]`, row-major. Cloning shares the values; functions that take `self` work in place
/// where nobody else holds them.
#[derive(Clone, Debug)]
pub struct CpuActivation {
    values: Arc<Vec<f32>>,
    shape: Vec<usize>,
}

impl CpuActivation {
    /// Samples of this shape, as many as the values fill.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Self {
            values: Arc::new(values),
            shape: shape.to_vec(),
        }
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, without a copy where nobody else holds them.
    pub fn into_values(self) -> Vec<f32> {
        Arc::try_unwrap(self.values).unwrap_or_else(|shared| {
            shared
                .par_iter()
                .with_min_len(TASK_ELEMENTS)
                .copied()
                .collect()
        })
    }

    /// Of one sample.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values of one sample.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn batch(&self) -> usize {
        self.values.len() / self.size()
    }

    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// Positions of one channel: H · W, or 1.
    pub fn positions(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// A copy as a burn tensor.
    pub fn tensor<const D: usize>(&self) -> Tensor<D> {
        let dims: Vec<usize> = [&[self.batch()], self.shape.as_slice()].concat();
        Tensor::from_data(TensorData::new(self.values.to_vec(), dims), &Device::flex())
    }

    /// One row for every vector along the last axis: a sample's features, a token's channels.
    pub fn rows(&self) -> MatRef<'_, f32> {
        matrix(&self.values, self.shape.last().copied().unwrap_or(1))
    }

    /// `f` of every value; in place where nobody else holds them.
    #[must_use]
    pub fn map(self, f: impl Fn(f32) -> f32 + Sync) -> Self {
        let Self { values, shape } = self;
        let values = match Arc::try_unwrap(values) {
            Ok(mut own) => {
                own.par_chunks_mut(TASK_ELEMENTS)
                    .for_each(|part| vectorized(|| part.iter_mut().for_each(|v| *v = f(*v))));
                own
            }
            Err(shared) => {
                let mut new = vec![0.0; shared.len()];
                new.par_chunks_mut(TASK_ELEMENTS)
                    .zip(shared.par_chunks(TASK_ELEMENTS))
                    .for_each(|(to, from)| {
                        vectorized(|| to.iter_mut().zip(from).for_each(|(to, &v)| *to = f(v)));
                    });
                new
            }
        };
        Self {
            values: Arc::new(values),
            shape,
        }
    }

    /// `f` on every sample.
    #[must_use]
    pub fn map_samples(self, f: impl Fn(&mut [f32]) + Send + Sync) -> Self {
        let (shape, size) = (self.shape.clone(), self.size());
        let mut values = self.into_values();
        values.par_chunks_mut(size).for_each(f);
        Self {
            values: Arc::new(values),
            shape,
        }
    }

    /// `f(self, other)`, element by element; in place where nobody else holds this one's values.
    #[must_use]
    pub fn zip(self, other: &Self, f: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        let Self { values, shape } = self;
        let others = other.values.par_chunks(TASK_ELEMENTS);
        let values = match Arc::try_unwrap(values) {
            Ok(mut own) => {
                own.par_chunks_mut(TASK_ELEMENTS)
                    .zip(others)
                    .for_each(|(a, b)| {
                        vectorized(|| a.iter_mut().zip(b).for_each(|(a, &b)| *a = f(*a, b)));
                    });
                own
            }
            Err(shared) => {
                let mut new = vec![0.0; shared.len()];
                new.par_chunks_mut(TASK_ELEMENTS)
                    .zip(shared.par_chunks(TASK_ELEMENTS).zip(others))
                    .for_each(|(to, (a, b))| {
                        let pairs = a.iter().zip(b);
                        vectorized(|| {
                            to.iter_mut()
                                .zip(pairs)
                                .for_each(|(to, (&a, &b))| *to = f(a, b));
                        });
                    });
                new
            }
        };
        Self {
            values: Arc::new(values),
            shape,
        }
    }

    /// The sum, in place of whichever nobody else holds.
    #[must_use]
    pub fn plus(a: Self, b: Self) -> Self {
        if Arc::strong_count(&a.values) > 1 && Arc::strong_count(&b.values) == 1 {
            return b.zip(&a, |b, a| a + b);
        }
        a.zip(&b, |a, b| a + b)
    }

    #[must_use]
    pub fn reshaped(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }

    #[must_use]
    pub fn flattened(self) -> Self {
        let size = self.size();
        self.reshaped(&[size])
    }

    /// `[C, H, W]` to `[C]`.
    #[must_use]
    pub fn mean_over_space(&self) -> Self {
        let positions = self.positions();
        let means = self.values.chunks(positions).map(|plane| {
            let sum: f64 = plane.iter().map(|&v| f64::from(v)).sum();
            (sum / positions as f64) as f32
        });
        Self::new(means.collect(), &[self.channels()])
    }

    /// The backward pass of [`CpuActivation::mean_over_space`]: `[C]` to `[C, H, W]`.
    #[must_use]
    pub fn spread_over_space(&self, shape: &[usize]) -> Self {
        let positions: usize = shape[1..].iter().product();
        let values = self
            .values
            .iter()
            .flat_map(|&v| std::iter::repeat_n(v / positions as f32, positions));
        Self::new(values.collect(), shape)
    }
}
