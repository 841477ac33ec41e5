//! The loss barrier between two checkpoints.

use serde::Serialize;

use super::{Dataset, Learner};
use crate::tensors::Checkpoint;

/// Points on the segment, both ends included.
pub const BARRIER_POINTS: usize = 25;

/// The loss along the straight line between two checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Barrier {
    /// `max_α [L((1 − α)a + αb) − (1 − α)L(a) − αL(b)]`, never below 0.
    pub height: f64,
    /// The losses at α = 0, 1/24, … 1.
    pub losses: Vec<f64>,
}

/// How a barrier is measured.
#[derive(Clone, Copy, Debug)]
pub struct BarrierPlan<'a> {
    /// Where the loss is taken.
    pub data: &'a Dataset,
    /// Where running statistics are re-estimated, at every point anew.
    pub statistics: &'a Dataset,
    pub statistics_samples: usize,
    pub batch_size: usize,
}

impl Learner<'_> {
    /// Measures the barrier between `a` and `b`.
    ///
    /// # Panics
    /// When the signatures differ, or [`Learner::check`] would have refused the data.
    pub fn barrier(&self, a: &Checkpoint, b: &Checkpoint, plan: &BarrierPlan<'_>) -> Barrier {
        let mut losses = Vec::with_capacity(BARRIER_POINTS);
        for point in 0..BARRIER_POINTS {
            let params = a.interpolated(b, point as f64 / (BARRIER_POINTS - 1) as f64);
            let (samples, batch) = (plan.statistics_samples, plan.batch_size);
            let params = self.with_statistics(&params, plan.statistics, samples, batch);
            losses.push(self.evaluate(&params, plan.data).loss);
        }
        Barrier::of(losses)
    }
}

impl Barrier {
    fn of(losses: Vec<f64>) -> Self {
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        let above_chord = losses.iter().enumerate().map(|(point, loss)| {
            let alpha = point as f64 / (losses.len() - 1) as f64;
            loss - (1.0 - alpha) * first - alpha * last
        });

        Self {
            height: above_chord.fold(0.0, f64::max),
            losses,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::training::testing;

    #[test]
    fn the_height_is_taken_above_the_chord() {
        let barrier = Barrier::of(vec![1.0, 4.0, 3.0, 3.0, 5.0]);
        assert!(
            (barrier.height - 2.0).abs() < 1e-12,
            "at the second point, above 2"
        );
        assert!(Barrier::of(vec![1.0, 1.0, 1.0]).height.abs() < 1e-12);
    }

    #[test]
    fn between_a_checkpoint_and_itself_there_is_no_barrier() {
        let (graph, signature) = testing::network();
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let (a, b) = (
            testing::random_params(&signature, 5),
            testing::random_params(&signature, 6),
        );
        let data = testing::same_signs(1);
        let plan = BarrierPlan {
            data: &data,
            statistics: &data,
            statistics_samples: 300,
            batch_size: 100,
        };
        assert!(learner.barrier(&a, &a, &plan).height < 1e-12);
        let barrier = learner.barrier(&a, &b, &plan);
        let expected = learner
            .evaluate(&learner.with_statistics(&b, &data, 300, 100), &data)
            .loss;
        assert!((barrier.losses[24] - expected).abs() < 1e-12);
        assert_eq!(barrier.losses.len(), 25);
    }
}
