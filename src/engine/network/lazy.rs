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

/// What is held back of an update, entry by entry. By default nothing is.
#[derive(Clone, Debug, Default)]
pub struct HeldBack {
    /// `(share, origin)`: so much of `base − origin` is taken out.
    pub along: Option<(f64, HostTensor)>,
    /// Signs of the loss' slope, summed: what does not go down where they are up, or up where they
    /// are down, is left out (`GradFix`, ICLR 2026).
    pub votes: Option<HostTensor>,
}

impl HeldBack {
    pub(super) fn tensors(&self) -> impl Iterator<Item = &HostTensor> {
        self.along.iter().map(|(_, origin)| origin).chain(&self.votes)
    }
}

/// `base + scale · (to − from)`, less what is held back, rounded once to the base's dtype.
#[derive(Debug)]
pub(super) struct Shifted {
    base: HostTensor,
    from: HostTensor,
    to: HostTensor,
    scale: f64,
    held_back: HeldBack,
}

impl Shifted {
    /// `[base, from, to]`, of one shape.
    pub fn new([base, from, to]: [HostTensor; 3], scale: f64, held_back: HeldBack) -> Self {
        Self { base, from, to, scale, held_back }
    }

    /// The values before they are rounded from f32 to the dtype.
    pub fn exact(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0f32; range.len()];
        values.par_chunks_mut(RANGE).enumerate().for_each(|(i, out)| {
            let start = range.start + i * RANGE;
            let part = start..start + out.len();
            let base = self.base.floats(part.clone());
            let (from, to) = (self.from.floats(part.clone()), self.to.floats(part.clone()));
            let HeldBack { along, votes } = &self.held_back;
            let along = along.as_ref().map(|(share, origin)| (*share, origin.floats(part.clone())));
            let votes = votes.as_ref().map(|votes| votes.floats(part));
            let pairs = from.iter().zip(to.iter());
            for (i, ((out, &b), (&f, &t))) in out.iter_mut().zip(base.iter()).zip(pairs).enumerate()
            {
                let origin = along.as_ref().map(|(share, origin)| (*share, origin[i]));
                let less = origin.map_or(0.0, |(share, o)| share * (f64::from(b) - f64::from(o)));
                let asked = |votes: &[f32]| {
                    (f64::from(t) - f64::from(f) - less) * f64::from(votes[i]) < 0.0
                };
                let kept = votes.as_deref().is_none_or(asked);
                *out = if kept { shift(b, [f, t], self.scale, less) } else { b };
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

/// `base + scale · (to − from − less)` with the rounding errors of the f64 sums carried along
/// (Knuth's two-sum), so that only the last conversion rounds when `scale = 1` and nothing is taken
/// out.
fn shift(base: f32, [from, to]: [f32; 2], scale: f64, less: f64) -> f32 {
    let (difference, lost) = two_sum(f64::from(to), -f64::from(from));
    let (sum, lost_again) = two_sum(f64::from(base), scale * difference);
    (sum + (scale * (lost - less) + lost_again)) as f32
}

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// The same values, but lazy.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Again(pub HostTensor);

#[cfg(test)]
impl Elements for Again {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        self.0.floats(range).into_owned()
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.0.bytes_of(range)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::network::{CHUNK, DType};

    fn pair(dtype: DType, factor: f32) -> (HostTensor, HostTensor) {
        let n = 3 * RANGE + 17;
        let values = (0..n).map(|i| factor * ((i * 7919 % 1000) as f32 - 400.0)).collect();
        let held = HostTensor::from_f32_as(dtype, vec![n], values);
        let lazy = HostTensor::lazy(dtype, vec![n], Arc::new(Again(held.clone())));
        (held, lazy)
    }

    /// Nothing held back, and both ways of holding back together.
    fn held_back(origin: &HostTensor, votes: &HostTensor) -> [HeldBack; 2] {
        let along = Some((0.3, origin.clone()));
        [HeldBack::default(), HeldBack { along, votes: Some(votes.clone()) }]
    }

    #[test]
    fn lazy_arithmetic_gives_the_same_bytes() {
        for (dtype, which) in
            [DType::F32, DType::BF16, DType::F16].into_iter().flat_map(|d| [(d, 0), (d, 1)])
        {
            let [base, from, to, origin] =
                [0.01, 0.003, 0.02, 0.004].map(|factor| pair(dtype, factor));
            let [votes, held, lazy] = [pair(DType::F32, -1.0).0, base.0.clone(), base.1.clone()];
            let [of_held, of_lazy] = [&origin.0, &origin.1].map(|o| held_back(o, &votes));
            let held = held.shifted_but((&from.0, &to.0), 0.7, of_held[which].clone());
            let lazy = lazy.shifted_but((&from.1, &to.1), 0.7, of_lazy[which].clone());
            assert!(lazy.is_lazy() && !held.is_lazy());
            assert_eq!(held.bytes(), lazy.bytes());
            assert_eq!(held.f32(), lazy.f32());
            let pieces: Vec<u8> = lazy.pieces().flat_map(|p| lazy.bytes_of(p)).collect();
            assert_eq!(pieces, held.bytes());
            assert_eq!(held.floats(CHUNK - 1..RANGE + 3), lazy.floats(CHUNK - 1..RANGE + 3));
            assert_eq!(held.inner(&to.0).to_bits(), lazy.inner(&to.1).to_bits());
        }
    }

    #[test]
    fn only_steps_down_the_slope_are_kept() {
        let vector = |values: [f32; 6]| HostTensor::from_f32(vec![6], values.to_vec());
        let (base, from) = (vector([1.0; 6]), vector([0.0; 6]));
        let to = vector([1.0, 1.0, -2.0, -2.0, 3.0, 0.0]);
        let votes = Some(vector([-5.0, 5.0, 1.0, -1.0, 0.0, 9.0]));
        let held_back = HeldBack { along: None, votes };
        let kept = base.shifted_but((&from, &to), 1.0, held_back);
        assert_eq!(kept.f32()[..], [2.0, 1.0, -1.0, 1.0, 1.0, 1.0]);
    }
}
