//! How what the tuning did to the source's parameters is carried into the target's coordinates.
//!
//! A [`Transport`] changes coordinates by a permutation or by maps layer by layer ([`Maps`]). What
//! comes out may then be held back where it does not help the target: by the votes of single
//! samples (`GradFix`) and by the orthogonal shift.

use std::sync::Arc;

use super::maps::Maps;
use crate::engine::{
    network::{Checkpoint, HostTensor},
    symmetry::{Permutation, Symmetry},
};

/// From the source's coordinates to the target's.
#[derive(Clone, Debug)]
pub struct Transport {
    frame: Frame,
    votes: Option<Arc<Checkpoint>>,
}

#[derive(Clone, Debug)]
enum Frame {
    Permutation(Permutation),
    Maps(Arc<Maps>),
}

impl From<Permutation> for Transport {
    fn from(permutation: Permutation) -> Self {
        Self { frame: Frame::Permutation(permutation), votes: None }
    }
}

impl From<Arc<Maps>> for Transport {
    fn from(maps: Arc<Maps>) -> Self {
        Self { frame: Frame::Maps(maps), votes: None }
    }
}

impl Transport {
    /// π, where there is one.
    pub fn permutation(&self) -> Option<&Permutation> {
        match &self.frame {
            Frame::Permutation(permutation) => Some(permutation),
            Frame::Maps(_) => None,
        }
    }

    /// The same, keeping only those entries of an update whose step the votes ask for
    /// ([`with_votes`](HostTensor::where_voted)).
    #[must_use]
    pub fn masked(self, votes: Arc<Checkpoint>) -> Self {
        Self { votes: Some(votes), ..self }
    }

    /// A tensor of the source in the target's coordinates.
    pub(super) fn moved(&self, symmetry: &Symmetry, name: &str, tensor: &HostTensor) -> HostTensor {
        match &self.frame {
            Frame::Permutation(permutation) => permutation.apply_to(symmetry, name, tensor),
            Frame::Maps(maps) => maps.apply_to(name, tensor),
        }
    }

    /// `target + scale · carried(to − from)`, made orthogonal to `target − base` where the source's
    /// base, carried already, is given. By a permutation alone it is exact but for one rounding.
    pub(super) fn shift(
        &self,
        (symmetry, name): (&Symmetry, &str),
        [target, from, to]: [&HostTensor; 3],
        (scale, orthogonal_to): (f64, Option<&HostTensor>),
    ) -> HostTensor {
        let moved = |tensor: &HostTensor| self.moved(symmetry, name, tensor);
        let votes = self.votes.as_ref().and_then(|votes| votes.get(name));
        let is_permuted = matches!(self.frame, Frame::Permutation(_));
        if is_permuted && votes.is_none() && orthogonal_to.is_none() {
            return target.shifted(&moved(from), &moved(to), scale);
        }
        let mut update = moved(&to.minus(from));
        if let Some(base) = orthogonal_to {
            update = update.orthogonal_to(&target.minus(base));
        }
        if let Some(votes) = votes {
            update = update.where_voted(votes);
        }
        target.plus(&update, scale)
    }
}

impl HostTensor {
    /// `self − ⟨self, d⟩ d / ‖d‖²`; itself where `d` is zero.
    fn orthogonal_to(&self, d: &Self) -> Self {
        let norm = d.inner(d);
        if norm == 0.0 { self.clone() } else { self.plus(d, -self.inner(d) / norm) }
    }

    /// The entries that go down where the votes (signs of the loss' slope, summed) are up and up
    /// where they are down; zero elsewhere (`GradFix`, ICLR 2026).
    fn where_voted(&self, votes: &Self) -> Self {
        let kept = |(&value, &vote): (&f32, &f32)| if value * vote < 0.0 { value } else { 0.0 };
        let values = self.f32().iter().zip(votes.f32().iter()).map(kept).collect();
        Self::from_f32(self.shape().to_vec(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> HostTensor {
        HostTensor::from_f32(vec![values.len()], values.to_vec())
    }

    #[test]
    fn what_points_along_the_difference_of_the_bases_is_taken_out() {
        let update = vector(&[3.0, 4.0]);
        assert_eq!(update.orthogonal_to(&vector(&[2.0, 0.0])).f32(), [0.0, 4.0].as_slice());
        assert_eq!(update.orthogonal_to(&vector(&[0.0, 0.0])).f32(), [3.0, 4.0].as_slice());
    }

    #[test]
    fn only_steps_down_the_slope_are_kept() {
        let update = vector(&[1.0, 1.0, -2.0, -2.0, 3.0, 0.0]);
        let votes = vector(&[-5.0, 5.0, 1.0, -1.0, 0.0, 9.0]);
        let kept = update.where_voted(&votes);
        assert_eq!(kept.f32(), [1.0, 0.0, -2.0, 0.0, 0.0, 0.0].as_slice());
    }
}
