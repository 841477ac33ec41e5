//! Tensors of a base with an adapter's changes in them, computed where somebody looks.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;

use super::changes::{Change, Product, Rows, Shift};
use crate::engine::tensors::{Checkpoint, DType, Elements, HostTensor};

/// Values that a task computes at least.
const MIN_LEN: usize = 1 << 12;

impl Change {
    /// The changed tensor, of the base's where nothing stands in its place.
    pub fn of(&self, base: Option<&HostTensor>, own: &Checkpoint) -> Option<HostTensor> {
        let mut tensor = match &self.whole {
            Some(whole) => own[whole].clone(),
            None => base?.clone(),
        };
        if let Some(product) = &self.product {
            tensor = product.added(&tensor, own);
        }

        if let Some(Shift { bias, scale }) = &self.shift {
            let zero = HostTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]);
            let plain = HostTensor::from_f32(tensor.shape().to_vec(), tensor.f32().into_owned());
            tensor = plain.shifted(&zero, &own[bias], *scale);
        }

        Some(match &self.rows {
            Some(rows) => rows.replaced(&tensor, own),
            None => tensor,
        })
    }
}

impl Product {
    /// `W + s · B A` (its transpose where the base is `[in, out]`), summed in f64, rounded to f32; lazy
    /// where the base's tensor is. With a magnitude `m` (`DoRA`, Liu et al. 2024) each output's weights are
    /// brought to that length.
    fn added(&self, weight: &HostTensor, own: &Checkpoint) -> HostTensor {
        let shape = weight.shape().to_vec();
        let mut merged = Merged {
            weight: weight.clone(),
            // Every range of the product reads all of them.
            a: own[&self.a].held(),
            b: own[&self.b].held(),
            columns: shape[1..].iter().product(),
            scale: self.scale,
            transposed: self.transposed,
            factors: None,
        };
        if let Some(magnitude) = &self.magnitude {
            merged.factors = Some(merged.factors_to(&own[magnitude]));
        }

        let lazy = HostTensor::lazy(DType::F32, shape, Arc::new(merged));
        if weight.is_lazy() { lazy } else { lazy.held() }
    }
}

impl Rows {
    fn replaced(&self, tensor: &HostTensor, own: &Checkpoint) -> HostTensor {
        let rows = self
            .indices
            .iter()
            .enumerate()
            .map(|(at, &row)| (row, at))
            .collect();
        let width = tensor.shape()[1..].iter().product();
        let values = own[&self.values].held();
        let replaced = Replaced {
            of: tensor.clone(),
            values,
            rows,
            width,
        };
        let lazy = HostTensor::lazy(DType::F32, tensor.shape().to_vec(), Arc::new(replaced));
        if tensor.is_lazy() { lazy } else { lazy.held() }
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
                squares[self.output_of(at)] += value * value;
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

    fn output_of(&self, at: usize) -> usize {
        if self.transposed {
            at % self.columns
        } else {
            at / self.columns
        }
    }

    fn exact(&self, range: Range<usize>) -> Vec<f64> {
        let rank = self.a.shape()[0];
        let read = self.a.len() / rank;
        let (a, b) = (self.a.f32(), self.b.f32());
        let weight = self.weight.floats(range.clone());
        let value = |(at, &weight): (usize, &f32)| {
            let (row, column) = (
                (range.start + at) / self.columns,
                (range.start + at) % self.columns,
            );
            let (o, i) = if self.transposed {
                (column, row)
            } else {
                (row, column)
            };
            let product = |k: usize| f64::from(b[o * rank + k]) * f64::from(a[k * read + i]);
            let sum = f64::from(weight) + self.scale * (0..rank).map(product).sum::<f64>();
            self.factors
                .as_ref()
                .map_or(sum, |factors| factors[o] * sum)
        };

        weight
            .par_iter()
            .enumerate()
            .with_min_len(MIN_LEN)
            .map(value)
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
        let own: Checkpoint = [
            ("a".to_owned(), tensor(&[1, 3], &[1.0, 2.0, 3.0])),
            ("b".to_owned(), tensor(&[2, 1], &[10.0, 1.0])),
            ("rows".to_owned(), tensor(&[1, 2], &[7.0, 8.0])),
        ]
        .into_iter()
        .collect();
        let product = |transposed| Product {
            a: "a".into(),
            b: "b".into(),
            scale: 2.0,
            transposed,
            magnitude: None,
        };
        let merged = product(false).added(&tensor(&[2, 3], &[0.5; 6]), &own);
        assert_eq!(merged.f32().as_ref(), [20.5, 40.5, 60.5, 2.5, 4.5, 6.5]);
        let merged = product(true).added(&tensor(&[3, 2], &[0.0; 6]), &own);
        assert_eq!(merged.f32().as_ref(), [20.0, 2.0, 40.0, 4.0, 60.0, 6.0]);
        let change = Change {
            product: Some(product(true)),
            rows: Some(Rows {
                values: "rows".into(),
                indices: vec![1],
            }),
            ..Change::default()
        };
        let changed = change.of(Some(&tensor(&[3, 2], &[0.0; 6])), &own).unwrap();
        assert_eq!(changed.f32().as_ref(), [20.0, 2.0, 7.0, 8.0, 60.0, 6.0]);
        let rows = Replaced {
            of: tensor(&[3, 2], &[0.0; 6]),
            values: own["rows"].clone(),
            rows: BTreeMap::from([(1, 0)]),
            width: 2,
        };
        assert_eq!(rows.floats(1..3), [0.0, 7.0]);
        assert_eq!(rows.floats(3..5), [8.0, 0.0]);
    }
}
