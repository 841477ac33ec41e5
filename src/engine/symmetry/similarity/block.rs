//! One side of a product: a tensor with the units of a group first.

use std::{borrow::Cow, ops::Range};

use crate::{
    symmetry::{
        gather::{Offsets, View, along, strides},
        groups::Member,
    },
    tensors::HostTensor,
};

/// Which entries of a tensor a block has.
pub(super) struct Selection<'a> {
    pub member: &'a Member,
    /// Of the member's group.
    pub units: usize,
    /// Of the tensor's first axis.
    pub rows: Range<usize>,
    /// Of the other permuted axis; all of it where absent.
    pub other: Option<Units<'a>>,
}

/// Units along an axis.
pub(super) struct Units<'a> {
    pub axis: &'a Member,
    pub order: Vec<u32>,
}

impl Selection<'_> {
    /// Offsets in a tensor: the member's units first, then its axes in their order.
    pub fn axes(&self, tensor: &HostTensor) -> Vec<Offsets> {
        let Self {
            member,
            units,
            rows,
            other,
        } = self;
        let strides = strides(tensor.shape());
        let stride = strides[member.axis];
        let mut axes: Vec<Offsets> = vec![
            (0..*units)
                .map(|unit| member.first(unit) * stride)
                .collect(),
        ];

        for (axis, (&length, &stride)) in tensor.shape().iter().zip(&strides).enumerate() {
            axes.push(match other {
                _ if axis == member.axis => along(member.repeat, stride),
                Some(other) if axis == other.axis.axis => other.offsets(stride),
                _ if axis == 0 => along(rows.len(), stride),
                _ => along(length, stride),
            });
        }
        axes
    }
}

impl Units<'_> {
    fn offsets(&self, stride: usize) -> Offsets {
        let first = self
            .order
            .iter()
            .map(|&unit| self.axis.first(unit as usize));
        let repeat = self.axis.repeat;
        first
            .flat_map(|first| (first..first + repeat).map(|i| i * stride))
            .collect()
    }
}

/// A tensor as `[units of a member, everything else]`, not copied yet.
pub(super) struct Block<'a> {
    values: Cow<'a, [f32]>,
    /// The member's units first.
    axes: Vec<Offsets>,
    /// The same tensor along other axes, to be subtracted.
    pub less: Option<Vec<Offsets>>,
}

impl<'a> Block<'a> {
    pub fn new(tensor: &'a HostTensor, selection: &Selection) -> Self {
        let row = strides(tensor.shape()).first().copied().unwrap_or(1);
        let Range { start, end } = selection.rows;
        let values = tensor.floats(start * row..end * row);
        Self {
            values,
            axes: selection.axes(tensor),
            less: None,
        }
    }

    /// Values that it holds itself.
    pub fn held(&self) -> usize {
        match self.values {
            Cow::Owned(_) => self.values.len(),
            Cow::Borrowed(_) => 0,
        }
    }

    pub fn view(&self) -> View<'_> {
        match &self.less {
            Some(less) => View::difference(&self.values, &self.axes, less),
            None => View::new(&self.values, &self.axes),
        }
    }
}
