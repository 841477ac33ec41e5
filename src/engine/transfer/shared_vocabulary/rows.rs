//! Tensors whose rows are brought into another order, computed where they are read.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::tensors::{DType, Elements, HostTensor};

/// Rows of a tensor in another order; zero where there is none.
pub(super) fn gathered(tensor: &HostTensor, rows: &Arc<[Option<usize>]>) -> HostTensor {
    let width = tensor.shape()[1..].iter().product();
    let mut shape = tensor.shape().to_vec();
    shape[0] = rows.len();
    let gathered = Gathered {
        of: tensor.clone(),
        rows: Arc::clone(rows),
        width,
    };
    let lazy = HostTensor::lazy(tensor.dtype(), shape, Arc::new(gathered));
    if tensor.is_lazy() { lazy } else { lazy.held() }
}

/// Rows of a tensor, in another order.
#[derive(Debug)]
struct Gathered {
    of: HostTensor,
    rows: Arc<[Option<usize>]>,
    width: usize,
}

/// The parts of `range` that lie in one row each, and where they are in the old order.
fn parts(
    rows: &[Option<usize>],
    width: usize,
    range: Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Option<Range<usize>>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        (at < range.end).then(|| {
            let (start, row, column) = (at, at / width, at % width);
            let len = (width - column).min(range.end - at);
            at += len;
            let from = rows[row].map(|row| row * width + column);
            (start..at, from.map(|from| from..from + len))
        })
    })
}

impl Elements for Gathered {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = Vec::with_capacity(range.len());
        for (part, from) in parts(&self.rows, self.width, range) {
            match from {
                Some(from) => values.extend_from_slice(&self.of.floats(from)),
                None => values.resize(values.len() + part.len(), 0.0),
            }
        }
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        let size = DType::size(self.of.dtype());
        let mut bytes = Vec::with_capacity(range.len() * size);
        for (part, from) in parts(&self.rows, self.width, range) {
            match from {
                Some(from) => bytes.extend_from_slice(&self.of.bytes_of(from)),
                None => bytes.resize(bytes.len() + part.len() * size, 0),
            }
        }

        bytes.into()
    }
}

/// A tensor in the new order, the rows that it lacks taken from another.
#[derive(Debug)]
pub(super) struct Completed {
    pub brought: HostTensor,
    pub new: HostTensor,
    /// Of `brought`; the others are those of `new`.
    pub rows: Arc<[Option<usize>]>,
    pub dtype: DType,
}

impl Completed {
    /// Computed where it is read, if a part of it is.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn tensor(self) -> HostTensor {
        assert_eq!(self.brought.shape(), self.new.shape(), "shapes agree");
        let is_lazy = self.brought.is_lazy() || self.new.is_lazy();
        let (dtype, shape) = (self.dtype, self.new.shape().to_vec());
        let lazy = HostTensor::lazy(dtype, shape, Arc::new(self));
        if is_lazy { lazy } else { lazy.held() }
    }
}

impl Elements for Completed {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let width = self.new.shape()[1..].iter().product();
        let mut values = Vec::with_capacity(range.len());
        for (part, from) in parts(&self.rows, width, range) {
            let of = if from.is_some() {
                &self.brought
            } else {
                &self.new
            };
            values.extend_from_slice(&of.floats(part));
        }

        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.dtype.encode(&self.floats(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_across_rows_that_are_lacking() {
        let of = HostTensor::from_f32(vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let lazy = Gathered {
            of,
            rows: [Some(2), None, Some(0), None].into(),
            width: 2,
        };
        assert_eq!(lazy.floats(1..6), [6.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(
            lazy.bytes(1..6)[..],
            *bytemuck::cast_slice::<f32, u8>(&lazy.floats(1..6))
        );
    }
}
