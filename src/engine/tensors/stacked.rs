//! Tensors that are one in a file and several in a network, or the other way round: parts along the first axis,
//! and several one after the other. Nothing large is copied.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    host_tensor::{CHUNK, HostTensor, TensorInfo},
    lazy::Elements,
};

impl TensorInfo {
    /// What one index of the first axis holds.
    #[must_use]
    pub fn row(&self) -> Self {
        let shape = self.shape.iter().skip(1).copied().collect();
        Self {
            dtype: self.dtype,
            shape,
        }
    }
}

impl HostTensor {
    /// What one index of the first axis holds; lazy where the tensor is.
    ///
    /// # Panics
    /// When the first axis is shorter.
    #[must_use]
    pub fn row(&self, index: usize) -> Self {
        let TensorInfo { dtype, shape } = self.info().row();
        let length: usize = shape.iter().product();
        let start = index * length;
        if self.is_lazy() && length > CHUNK {
            let part = Part {
                whole: self.clone(),
                start,
            };
            return Self::lazy(dtype, shape, Arc::new(part));
        }
        Self::raw(dtype, shape, self.bytes_of(start..start + length))
    }

    /// Tensors of one shape and dtype along a new first axis; `None` of none, or of tensors that differ.
    pub fn stacked(rows: Vec<Self>) -> Option<Self> {
        let TensorInfo { dtype, shape } = rows.first()?.info();
        if rows
            .iter()
            .any(|row| row.dtype() != dtype || row.shape() != shape)
        {
            return None;
        }
        let length = shape.iter().product();
        let shape: Vec<usize> = [&[rows.len()], shape.as_slice()].concat();
        let whole = Self::lazy(dtype, shape, Arc::new(Stack { rows, length }));

        Some(if whole.len() > CHUNK {
            whole
        } else {
            whole.held()
        })
    }
}

/// Elements of a tensor from one on.
#[derive(Debug)]
struct Part {
    whole: HostTensor,
    start: usize,
}

impl Elements for Part {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        self.whole
            .floats(self.start + range.start..self.start + range.end)
            .into_owned()
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.whole
            .bytes_of(self.start + range.start..self.start + range.end)
    }
}

/// Tensors one after the other.
#[derive(Debug)]
struct Stack {
    rows: Vec<HostTensor>,
    /// Elements of each.
    length: usize,
}

impl Stack {
    /// The rows that a range touches, each with the part of it.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&HostTensor, Range<usize>)> {
        let (length, Range { start, end }) = (self.length.max(1), range);
        let touched = self.rows.iter().enumerate().skip(start / length);
        touched
            .take_while(move |(at, _)| at * length < end)
            .map(move |(at, row)| {
                let first = start.max(at * length) - at * length;
                (row, first..end.min((at + 1) * length) - at * length)
            })
    }
}

impl Elements for Stack {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = Vec::with_capacity(range.len());
        self.parts(range)
            .for_each(|(row, part)| values.extend_from_slice(&row.floats(part)));
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        let mut bytes = BytesMut::new();
        self.parts(range)
            .for_each(|(row, part)| bytes.extend_from_slice(&row.bytes_of(part)));
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::DType;

    #[test]
    fn rows_are_parts_of_the_whole_and_the_whole_again() {
        let shape = vec![3, 2, CHUNK];
        let values: Vec<f32> = (0..6 * CHUNK).map(|v| (v % 251) as f32).collect();
        let held = HostTensor::from_f32_as(DType::BF16, shape.clone(), values.clone());
        let part = Part {
            whole: held.clone(),
            start: 0,
        };
        for whole in [
            held.clone(),
            HostTensor::lazy(DType::BF16, shape, Arc::new(part)),
        ] {
            let rows: Vec<HostTensor> = (0..3).map(|row| whole.row(row)).collect();
            assert_eq!(rows[1].is_lazy(), whole.is_lazy());
            assert_eq!(rows[1].f32().as_ref(), &values[2 * CHUNK..4 * CHUNK]);
            let again = HostTensor::stacked(rows).unwrap();
            assert_eq!((again.info(), again.bytes()), (held.info(), held.bytes()));
            let middle = 2 * CHUNK - 3..4 * CHUNK + 5;
            assert_eq!(again.floats(middle.clone()).as_ref(), &values[middle]);
        }
        let small = |length: usize| HostTensor::from_f32(vec![length], vec![1.0; length]);
        assert!(
            !HostTensor::stacked(vec![small(2), small(2)])
                .unwrap()
                .is_lazy()
        );
        assert!(HostTensor::stacked(vec![small(2), small(3)]).is_none());
    }
}
