//! Merging an adapter into a weight: `W + s · B A`, and rows that stand in the place of others. What is
//! merged into a lazy tensor is computed where somebody looks.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;

use super::{dtype::DType, host_tensor::HostTensor, lazy::Elements};

/// Values that a task computes at least.
const MIN_LEN: usize = 1 << 12;

/// `s · B A`, of LoRA (Hu et al., ICLR 2022).
#[derive(Clone, Copy, Debug)]
pub struct LowRankProduct<'a> {
    /// `[r, in]`, a convolution's `[r, in, kh, kw]`
    pub a: &'a HostTensor,
    /// `[out, r]`
    pub b: &'a HostTensor,
    pub scale: f64,
    /// The weight is `[in, out]`.
    pub transposed: bool,
    /// `DoRA`'s (Liu et al. 2024), `[out]`: each output's merged weights are brought to that length.
    pub magnitude: Option<&'a HostTensor>,
}

impl LowRankProduct<'_> {
    /// `W + s · B A` (its transpose where the weight is `[in, out]`), summed in f64, rounded to f32; lazy
    /// where the weight is.
    pub fn merged_into(&self, weight: &HostTensor) -> HostTensor {
        let shape = weight.shape().to_vec();
        let mut merged = Merged {
            weight: weight.clone(),
            // Every range of the product reads all of them.
            a: self.a.held(),
            b: self.b.held(),
            columns: shape[1..].iter().product(),
            scale: self.scale,
            transposed: self.transposed,
            factors: None,
        };
        if let Some(magnitude) = self.magnitude {
            merged.factors = Some(merged.factors_to(magnitude));
        }

        let lazy = HostTensor::lazy(DType::F32, shape, Arc::new(merged));
        if weight.is_lazy() { lazy } else { lazy.held() }
    }
}

impl HostTensor {
    /// Some of the rows replaced, in f32: row `indices[k]` by row `k` of `values`; lazy where the tensor is.
    #[must_use]
    pub fn with_rows(&self, indices: &[usize], values: &Self) -> Self {
        let rows = indices
            .iter()
            .enumerate()
            .map(|(at, &row)| (row, at))
            .collect();
        let replaced = Replaced {
            of: self.clone(),
            values: values.held(),
            rows,
            width: self.shape()[1..].iter().product(),
        };

        let lazy = Self::lazy(DType::F32, self.shape().to_vec(), Arc::new(replaced));
        if self.is_lazy() { lazy } else { lazy.held() }
    }
}

/// A weight with the product of an adapter's factors added to it.
#[derive(Debug)]
struct Merged {
    weight: HostTensor,
    /// `[r, in]`, a convolution's `[r, in, kh, kw]`
    a: HostTensor,
    /// `[out, r]`
    b: HostTensor,
    /// Values in a row of the weight.
    columns: usize,
    scale: f64,
    transposed: bool,
    /// `DoRA`'s, by output.
    factors: Option<Arc<Vec<f64>>>,
}

impl Merged {
    /// `‖m‖ / ‖W + s B A‖`, by output.
    fn factors_to(&self, magnitude: &HostTensor) -> Arc<Vec<f64>> {
        let mut squares = vec![0.0; magnitude.len()];
        for piece in self.weight.pieces() {
            let values = self.exact(piece.clone());
            for (at, value) in piece.zip(values) {
                squares[self.place(at).0] += value * value;
            }
        }

        let magnitudes = magnitude.f32();
        let factors = squares.into_iter().zip(magnitudes.iter());
        Arc::new(
            factors
                .map(|(square, &m)| f64::from(m) / square.sqrt())
                .collect(),
        )
    }

    /// The output and the input of the product that a weight is of.
    fn place(&self, at: usize) -> (usize, usize) {
        let (row, column) = (at / self.columns, at % self.columns);
        if self.transposed {
            (column, row)
        } else {
            (row, column)
        }
    }

    fn exact(&self, range: Range<usize>) -> Vec<f64> {
        let rank = self.a.shape()[0];
        let read = self.a.len() / rank;
        let (a, b) = (self.a.f32(), self.b.f32());
        let weight = self.weight.floats(range.clone());

        weight
            .par_iter()
            .enumerate()
            .with_min_len(MIN_LEN)
            .map(|(at, &weight)| {
                let (o, i) = self.place(range.start + at);
                let products =
                    (0..rank).map(|k| f64::from(b[o * rank + k]) * f64::from(a[k * read + i]));
                let sum = f64::from(weight) + self.scale * products.sum::<f64>();
                self.factors
                    .as_ref()
                    .map_or(sum, |factors| factors[o] * sum)
            })
            .collect()
    }
}

impl Elements for Merged {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        self.exact(range)
            .into_iter()
            .map(|value| value as f32)
            .collect()
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        DType::F32.encode(&self.floats(range))
    }
}

/// A tensor with some of its rows taken from another.
#[derive(Debug)]
struct Replaced {
    of: HostTensor,
    values: HostTensor,
    /// Where a row is among `values`.
    rows: BTreeMap<usize, usize>,
    width: usize,
}

impl Elements for Replaced {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = self.of.floats(range.clone()).into_owned();
        let touched = range.start / self.width..=range.end.saturating_sub(1) / self.width;
        for (&row, &at) in self.rows.range(touched) {
            let start = (row * self.width).max(range.start);
            let end = ((row + 1) * self.width).min(range.end);
            if start < end {
                let from = at * self.width + (start - row * self.width);
                let own = self.values.floats(from..from + (end - start));
                values[start - range.start..end - range.start].copy_from_slice(&own);
            }
        }

        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        DType::F32.encode(&self.floats(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor::from_f32(shape.to_vec(), values.to_vec())
    }

    #[test]
    fn the_product_is_scaled_and_added() {
        let a = tensor(&[1, 3], &[1.0, 2.0, 3.0]);
        let b = tensor(&[2, 1], &[10.0, 1.0]);
        let product = |transposed| LowRankProduct {
            a: &a,
            b: &b,
            scale: 2.0,
            transposed,
            magnitude: None,
        };
        let merged = product(false).merged_into(&tensor(&[2, 3], &[0.5; 6]));
        assert_eq!(merged.f32().as_ref(), [20.5, 40.5, 60.5, 2.5, 4.5, 6.5]);
        let merged = product(true).merged_into(&tensor(&[3, 2], &[0.0; 6]));
        assert_eq!(merged.f32().as_ref(), [20.0, 2.0, 40.0, 4.0, 60.0, 6.0]);
    }

    /// Outputs of lengths 5 and 13 are brought to 10 and 6.5.
    #[test]
    fn a_magnitude_is_the_length_of_each_output() {
        let a = tensor(&[1, 2], &[3.0, 4.0]);
        let b = tensor(&[2, 1], &[1.0, 0.0]);
        let magnitude = tensor(&[2], &[10.0, 6.5]);
        let product = LowRankProduct {
            a: &a,
            b: &b,
            scale: 1.0,
            transposed: false,
            magnitude: Some(&magnitude),
        };
        let merged = product.merged_into(&tensor(&[2, 2], &[0.0, 0.0, 5.0, 12.0]));
        assert_eq!(merged.f32().as_ref(), [6.0, 8.0, 2.5, 6.0]);
    }

    #[test]
    fn rows_take_the_place_of_others() {
        let values = tensor(&[1, 2], &[7.0, 8.0]);
        let replaced = tensor(&[3, 2], &[0.0; 6]).with_rows(&[1], &values);
        assert_eq!(replaced.f32().as_ref(), [0.0, 0.0, 7.0, 8.0, 0.0, 0.0]);
        let rows = Replaced {
            of: tensor(&[3, 2], &[0.0; 6]),
            values,
            rows: BTreeMap::from([(1, 0)]),
            width: 2,
        };
        assert_eq!(rows.floats(1..3), [0.0, 7.0]);
        assert_eq!(rows.floats(3..5), [8.0, 0.0]);
    }
}
