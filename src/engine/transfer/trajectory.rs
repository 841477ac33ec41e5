//! The learning trajectory `θ_A⁰ … θ_A^T` of the old tuning.

use std::collections::BTreeSet;

use super::{options::Schedule, schedule::fractions, shared_vocabulary::SharedRows};
use crate::tensors::Checkpoint;

/// A base and the points after it. Point `t` is `(1 − λ_t) θ_A⁰ + λ_t end_t`: on a linear trajectory
/// every end is the tuned model, on a stored one it is the checkpoint itself and λ is 1.
#[derive(Clone, Debug)]
pub struct Trajectory {
    base: Checkpoint,
    ends: Vec<Checkpoint>,
    fractions: Vec<f64>,
    /// Every point lies on the segment to the tuned model.
    is_straight: bool,
    /// The head's tensors, where a base has none of its own.
    head: BTreeSet<String>,
    /// Tensors of which the target has rows of its own.
    rows: Vec<SharedRows>,
}

impl Trajectory {
    /// The segment from base to tuned model in `timesteps` steps. Needs the two ends only, and is
    /// more stable than the stored one when the bases are pre-trained (section 3.2).
    ///
    /// # Panics
    /// When `timesteps` is 0.
    pub fn linear(
        base: Checkpoint,
        tuned: Checkpoint,
        schedule: Schedule,
        timesteps: usize,
    ) -> Self {
        assert!(timesteps > 0, "at least one step");
        let fractions = fractions(schedule, timesteps);

        Self {
            base,
            ends: vec![tuned; timesteps],
            fractions,
            is_straight: true,
            head: BTreeSet::new(),
            rows: Vec::new(),
        }
    }

    /// The stored checkpoints after the base, in order; of more than `timesteps` an evenly spread
    /// choice that ends with the last.
    ///
    /// # Panics
    /// When there is no checkpoint or `timesteps` is 0.
    pub fn stored(base: Checkpoint, checkpoints: &[Checkpoint], timesteps: usize) -> Self {
        assert!(
            !checkpoints.is_empty() && timesteps > 0,
            "at least one step"
        );
        let steps = timesteps.min(checkpoints.len());
        let ends: Vec<Checkpoint> = (1..=steps)
            .map(|s| checkpoints[s * checkpoints.len() / steps - 1].clone())
            .collect();
        let fractions = vec![1.0; ends.len()];

        Self {
            base,
            ends,
            fractions,
            is_straight: false,
            head: BTreeSet::new(),
            rows: Vec::new(),
        }
    }

    /// With these tensors being a head that a base lacks: the result takes them from here, whatever
    /// becomes of other heads, and they are no part of what the bases have in common.
    #[must_use]
    pub fn with_head(self, tensors: BTreeSet<String>) -> Self {
        Self {
            head: tensors,
            ..self
        }
    }

    /// With every point brought into the target's rows by these.
    #[must_use]
    pub fn with_rows(self, rows: Vec<SharedRows>) -> Self {
        Self { rows, ..self }
    }

    /// By what a tensor's rows were brought into the target's, if they were.
    pub fn rows_of(&self, name: &str) -> Option<&SharedRows> {
        self.rows.iter().find(|rows| rows.tensors.contains(name))
    }

    /// The tensors of a head that a base lacks; none where both have one.
    pub fn head(&self) -> &BTreeSet<String> {
        &self.head
    }

    /// T: points after the base.
    pub fn timesteps(&self) -> usize {
        self.ends.len()
    }

    /// Whether every point lies on the segment from the base to the tuned model.
    pub fn is_straight(&self) -> bool {
        self.is_straight
    }

    /// `θ_A⁰`
    pub fn base(&self) -> &Checkpoint {
        &self.base
    }

    /// `θ_A^T`
    pub fn tuned(&self) -> &Checkpoint {
        self.end_of(self.timesteps())
    }

    /// The checkpoint towards which point `t` lies; the base itself at 0.
    pub fn end_of(&self, t: usize) -> &Checkpoint {
        t.checked_sub(1).map_or(&self.base, |i| &self.ends[i])
    }

    /// `λ_t`; 0 at 0.
    pub fn fraction(&self, t: usize) -> f64 {
        t.checked_sub(1).map_or(0.0, |i| self.fractions[i])
    }

    /// `θ_A^t`
    pub fn point(&self, t: usize) -> Checkpoint {
        self.base.interpolated(self.end_of(t), self.fraction(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    fn model(value: f32) -> Checkpoint {
        [("w".to_owned(), HostTensor::from_f32(vec![1], vec![value]))]
            .into_iter()
            .collect()
    }

    #[test]
    fn points_of_both_kinds() {
        let linear = Trajectory::linear(model(1.0), model(3.0), Schedule::Uniform, 4);
        let values: Vec<f32> = (0..=4).map(|t| linear.point(t)["w"].f32()[0]).collect();
        assert_eq!(values, [1.0, 1.5, 2.0, 2.5, 3.0]);
        let checkpoints: Vec<_> = [2.0, 3.0, 5.0, 7.0, 11.0].map(model).into();
        let stored = Trajectory::stored(model(1.0), &checkpoints, 2);
        let values: Vec<f32> = (0..=2).map(|t| stored.point(t)["w"].f32()[0]).collect();
        assert_eq!(values, [1.0, 3.0, 11.0]);
        assert_eq!(
            Trajectory::stored(model(1.0), &checkpoints, 9).timesteps(),
            5
        );
    }
}
