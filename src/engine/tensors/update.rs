//! Adding a task vector to a tensor: `base + scale · (to − from)`, less what a mask takes out, rounded
//! once to the base's dtype.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;

use super::{
    host_tensor::{CHUNK, HostTensor, RANGE},
    lazy::Elements,
    vectorized::vectorized,
};

/// `scale · (to − from)`; both tensors have one shape.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    pub from: &'a HostTensor,
    pub to: &'a HostTensor,
    pub scale: f64,
}

/// What an update loses, entry by entry. The default takes nothing out.
#[derive(Clone, Debug, Default)]
pub struct UpdateMask {
    pub projection: Option<Projection>,
    /// Summed gradient signs, in the update's shape; entries that would increase the loss are dropped
    /// (`GradFix`, ICLR 2026).
    pub votes: Option<HostTensor>,
}

/// `share · (base − origin)` is taken out of the update.
#[derive(Clone, Debug)]
pub struct Projection {
    pub share: f64,
    pub origin: HostTensor,
}

impl UpdateMask {
    fn tensors(&self) -> impl Iterator<Item = &HostTensor> {
        self.projection
            .iter()
            .map(|projection| &projection.origin)
            .chain(&self.votes)
    }
}

impl HostTensor {
    /// `self + scale · (to − from)`, exact but for one rounding to this tensor's dtype: with
    /// `from == self` and `scale = 1` the result is `to`, bit for bit.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn shifted(&self, from: &Self, to: &Self, scale: f64) -> Self {
        self.shifted_masked(Update { from, to, scale }, UpdateMask::default())
    }

    /// `self + scale · (to − from)`, less what the mask takes out of the update, rounded once to this
    /// tensor's dtype.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn shifted_masked(&self, update: Update<'_>, mask: UpdateMask) -> Self {
        let Update { from, to, scale } = update;
        let others: Vec<&Self> = [from, to].into_iter().chain(mask.tensors()).collect();
        assert!(
            others.iter().all(|other| self.shape() == other.shape()),
            "shapes agree"
        );
        let any_lazy = self.is_lazy() || others.iter().any(|other| other.is_lazy());
        let shifted = Shifted {
            base: self.clone(),
            from: from.clone(),
            to: to.clone(),
            scale,
            mask,
        };

        if self.len() > CHUNK && any_lazy {
            return Self::lazy(self.dtype(), self.shape().to_vec(), Arc::new(shifted));
        }

        let values = shifted.exact(0..self.len());
        Self::from_f32_as(self.dtype(), self.shape().to_vec(), values)
    }
}

/// `base + scale · (to − from)`, less what the mask takes out, rounded once to the base's dtype.
#[derive(Debug)]
struct Shifted {
    base: HostTensor,
    from: HostTensor,
    to: HostTensor,
    scale: f64,
    mask: UpdateMask,
}

impl Shifted {
    /// The values before they are rounded from f32 to the dtype.
    fn exact(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0f32; range.len()];
        values
            .par_chunks_mut(RANGE)
            .enumerate()
            .for_each(|(i, out)| self.write(range.start + i * RANGE, out));
        values
    }

    /// The values from `start` on, as many as `out` takes.
    fn write(&self, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        let base = self.base.floats(range.clone());
        let from = self.from.floats(range.clone());
        let to = self.to.floats(range.clone());
        let projection = self.mask.projection.as_ref();
        let origin = projection.map(|p| (p.share, p.origin.floats(range.clone())));
        let votes = self.mask.votes.as_ref().map(|votes| votes.floats(range));
        if origin.is_none() && votes.is_none() {
            return vectorized(|| {
                let ends = from.iter().zip(to.iter());
                for ((out, &base), (&from, &to)) in out.iter_mut().zip(base.iter()).zip(ends) {
                    *out = shift(base, [from, to], self.scale, 0.0);
                }
            });
        }

        let ends = from.iter().zip(to.iter());
        for (i, ((out, &base), (&from, &to))) in
            out.iter_mut().zip(base.iter()).zip(ends).enumerate()
        {
            let less = origin.as_ref().map_or(0.0, |(share, origin)| {
                share * (f64::from(base) - f64::from(origin[i]))
            });
            let is_kept = votes.as_deref().is_none_or(|votes| {
                (f64::from(to) - f64::from(from) - less) * f64::from(votes[i]) < 0.0
            });
            *out = if is_kept {
                shift(base, [from, to], self.scale, less)
            } else {
                base
            };
        }
    }
}

impl Elements for Shifted {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values = self.exact(range);
        self.base.dtype().round(&mut values);
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.base.dtype().encode(&self.exact(range))
    }
}

/// `base + scale · (to − from − less)` with the rounding errors of the f64 sums carried along
/// (Knuth's two-sum), so that only the last conversion rounds when `scale = 1` and nothing is taken
/// out.
#[expect(clippy::inline_always, reason = "a loop over it becomes vectors")]
#[inline(always)]
fn shift(base: f32, [from, to]: [f32; 2], scale: f64, less: f64) -> f32 {
    let (difference, lost) = two_sum(f64::from(to), -f64::from(from));
    let (sum, lost_again) = two_sum(f64::from(base), scale * difference);
    (sum + (scale * (lost - less) + lost_again)) as f32
}

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` exactly.
#[expect(clippy::inline_always, reason = "a loop over it becomes vectors")]
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// The same values, but lazy.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Deferred(pub HostTensor);

#[cfg(test)]
impl Elements for Deferred {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        self.0.floats(range).into_owned()
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.0.bytes_of(range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensors::{CHUNK, DType};

    fn pair(dtype: DType, factor: f32) -> (HostTensor, HostTensor) {
        let n = 3 * RANGE + 17;
        let values = (0..n)
            .map(|i| factor * ((i * 7919 % 1000) as f32 - 400.0))
            .collect();
        let held = HostTensor::from_f32_as(dtype, vec![n], values);
        let lazy = HostTensor::lazy(dtype, vec![n], Arc::new(Deferred(held.clone())));
        (held, lazy)
    }

    /// No mask, and both kinds together.
    fn masks(origin: &HostTensor, votes: &HostTensor) -> [UpdateMask; 2] {
        let projection = Some(Projection {
            share: 0.3,
            origin: origin.clone(),
        });
        [
            UpdateMask::default(),
            UpdateMask {
                projection,
                votes: Some(votes.clone()),
            },
        ]
    }

    #[test]
    fn lazy_arithmetic_gives_the_same_bytes() {
        for (dtype, which) in [DType::F32, DType::BF16, DType::F16]
            .into_iter()
            .flat_map(|d| [(d, 0), (d, 1)])
        {
            let [base, from, to, origin] =
                [0.01, 0.003, 0.02, 0.004].map(|factor| pair(dtype, factor));
            let [votes, held, lazy] = [pair(DType::F32, -1.0).0, base.0.clone(), base.1.clone()];
            let [of_held, of_lazy] = [&origin.0, &origin.1].map(|o| masks(o, &votes));
            let held = held.shifted_masked(
                Update {
                    from: &from.0,
                    to: &to.0,
                    scale: 0.7,
                },
                of_held[which].clone(),
            );
            let lazy = lazy.shifted_masked(
                Update {
                    from: &from.1,
                    to: &to.1,
                    scale: 0.7,
                },
                of_lazy[which].clone(),
            );
            assert!(lazy.is_lazy() && !held.is_lazy());
            assert_eq!(held.bytes(), lazy.bytes());
            assert_eq!(held.f32(), lazy.f32());
            let pieces: Vec<u8> = lazy.pieces().flat_map(|p| lazy.bytes_of(p)).collect();
            assert_eq!(pieces, held.bytes());
            assert_eq!(
                held.floats(CHUNK - 1..RANGE + 3),
                lazy.floats(CHUNK - 1..RANGE + 3)
            );
            assert_eq!(held.inner(&to.0).to_bits(), lazy.inner(&to.1).to_bits());
        }
    }

    #[test]
    fn only_steps_down_the_slope_are_kept() {
        let vector = |values: [f32; 6]| HostTensor::from_f32(vec![6], values.to_vec());
        let (base, from) = (vector([1.0; 6]), vector([0.0; 6]));
        let to = vector([1.0, 1.0, -2.0, -2.0, 3.0, 0.0]);
        let votes = Some(vector([-5.0, 5.0, 1.0, -1.0, 0.0, 9.0]));
        let mask = UpdateMask {
            projection: None,
            votes,
        };
        let kept = base.shifted_masked(
            Update {
                from: &from,
                to: &to,
                scale: 1.0,
            },
            mask,
        );
        assert_eq!(kept.f32()[..], [2.0, 1.0, -1.0, 1.0, 1.0, 1.0]);
    }

    fn scalar(value: f32) -> HostTensor {
        HostTensor::from_f32(vec![1], vec![value])
    }

    proptest! {
        #[test]
        fn from_the_same_base_the_tuned_value_comes_back_bit_for_bit(
            a in -1e6f32..1e6, exponent in -40i32..10, mantissa in -1f32..1.0,
        ) {
            let tuned = mantissa * 2f32.powi(exponent);
            prop_assert_eq!(scalar(a).shifted(&scalar(a), &scalar(tuned), 1.0).f32()[0].to_bits(),
                            (tuned + 0.0).to_bits());
        }

        #[test]
        fn without_a_change_the_base_stays(b in -1e6f32..1e6, a in -1e6f32..1e6, alpha in -2f64..2.0) {
            prop_assert_eq!(scalar(b).shifted(&scalar(a), &scalar(a), alpha).f32()[0], b);
        }
    }
}
