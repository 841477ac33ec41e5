//! Elements that exist only while somebody looks at them.
//!
//! A file of parameters, a permuted tensor and a transferred one are all this: asked for a range,
//! they read or compute it. Nothing is remembered, so memory is what the ranges under way take, and
//! every look costs the same again.

use std::{fmt, ops::Range};

use bytes::Bytes;

/// The elements of a tensor, by their positions. The same range always gives the same elements.
pub trait Elements: fmt::Debug + Send + Sync {
    /// As f32; of a narrower dtype, values that it can hold.
    fn floats(&self, range: Range<usize>) -> Vec<f32>;
    /// As little-endian bytes of the tensor's dtype.
    fn bytes(&self, range: Range<usize>) -> Bytes;
}
