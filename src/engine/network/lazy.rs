//! Elements that exist only while somebody looks at them.
//!
//! A file of parameters, a permuted tensor and a transferred one are all this: asked for a range,
//! they read or compute it. Nothing is remembered, so memory is what the ranges under way take, and
//! every look costs the same again.

use std::{fmt, ops::Range};

use bytes::Bytes;
use rayon::prelude::*;

use super::checkpoint::{HostTensor, RANGE};

/// The elements of a tensor, by their positions. The same range always gives the same elements.
pub trait Elements: fmt::Debug + Send + Sync {
    /// As f32; of a narrower dtype, values that it can hold.
    fn floats(&self, range: Range<usize>) -> Vec<f32>;
    /// As little-endian bytes of the tensor's dtype.
    fn bytes(&self, range: Range<usize>) -> Bytes;
}

/// `base + scale · (to − from)`, rounded once to the base's dtype.
#[derive(Debug)]
pub(super) struct Shifted {
    base: HostTensor,
    from: HostTensor,
    to: HostTensor,
    scale: f64,
}

impl Shifted {
    /// `[base, from, to]`, of one shape.
    pub fn new([base, from, to]: [HostTensor; 3], scale: f64) -> Self {
        Self { base, from, to, scale }
    }

    /// The values before they are rounded from f32 to the dtype.
    pub fn exact(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0f32; range.len()];
        values.par_chunks_mut(RANGE).enumerate().for_each(|(i, out)| {
            let start = range.start + i * RANGE;
            let part = start..start + out.len();
            let base = self.base.floats(part.clone());
            let (from, to) = (self.from.floats(part.clone()), self.to.floats(part));
            let pairs = from.iter().zip(to.iter());
            for ((out, &b), (&f, &t)) in out.iter_mut().zip(base.iter()).zip(pairs) {
                *out = shift(b, f, t, self.scale);
            }
        });
        values
    }
}

impl Elements for Shifted {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = self.exact(range);
        values.iter_mut().for_each(|value| *value = self.base.dtype().round(*value));
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.base.dtype().encode(&self.exact(range))
    }
}

/// `base + scale · (to − from)` with the rounding errors of both f64 sums carried along
/// (Knuth's two-sum), so that only the last conversion rounds when `scale = 1`.
fn shift(base: f32, from: f32, to: f32, scale: f64) -> f32 {
    let (difference, lost) = two_sum(f64::from(to), -f64::from(from));
    let (sum, lost_again) = two_sum(f64::from(base), scale * difference);
    (sum + (scale * lost + lost_again)) as f32
}

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::network::{CHUNK, DType};

    /// The same values, but lazy.
    #[derive(Debug)]
    struct Again(HostTensor);

    impl Elements for Again {
        fn floats(&self, range: Range<usize>) -> Vec<f32> {
            self.0.floats(range).into_owned()
        }

        fn bytes(&self, range: Range<usize>) -> Bytes {
            self.0.bytes_of(range)
        }
    }

    fn pair(dtype: DType, factor: f32) -> (HostTensor, HostTensor) {
        let n = 3 * RANGE + 17;
        let values = (0..n).map(|i| factor * ((i * 7919 % 1000) as f32 - 400.0)).collect();
        let held = HostTensor::from_f32_as(dtype, vec![n], values);
        let lazy = HostTensor::lazy(dtype, vec![n], Arc::new(Again(held.clone())));
        (held, lazy)
    }

    #[test]
    fn lazy_arithmetic_gives_the_same_bytes() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let [base, from, to] = [0.01, 0.003, 0.02].map(|factor| pair(dtype, factor));
            let held = base.0.shifted(&from.0, &to.0, 0.7);
            let lazy = base.1.shifted(&from.1, &to.1, 0.7);
            assert!(lazy.is_lazy() && !held.is_lazy());
            assert_eq!(held.bytes(), lazy.bytes());
            assert_eq!(held.f32(), lazy.f32());
            let pieces: Vec<u8> = lazy.pieces().flat_map(|p| lazy.bytes_of(p)).collect();
            assert_eq!(pieces, held.bytes());
            assert_eq!(held.floats(CHUNK - 1..RANGE + 3), lazy.floats(CHUNK - 1..RANGE + 3));
            assert_eq!(held.inner(&to.0).to_bits(), lazy.inner(&to.1).to_bits());
        }
    }
}
