//! Uncentred cross-covariances of two models' activations and output gradients, layer by layer.

use std::collections::HashMap;

use faer::Mat;

use super::{Batch, Learner, cross_entropy};
use crate::{
    execution::{
        BatchNormMode, Executor, Weights,
        cpu::{self, CpuActivation, Stored},
    },
    network::Operand,
    tensors::{Checkpoint, matmul::exact_accumulate},
};

/// A place of the graph where rows are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// What flows there.
    Activation(Operand),
    /// The gradient of the summed loss by the node's output.
    Gradient(usize),
}

/// One model's rows on one batch.
pub struct LayerRows(HashMap<Place, CpuActivation>);

/// `Σ_rows x_Aᵀ x_B` by place, f64, `[d_A, d_B]`: rows are samples × positions, uncentred.
#[derive(Default)]
pub struct CrossCovariances(HashMap<Place, Mat<f64>>);

impl Learner<'_> {
    /// The rows of a model at these places, batch norm with its running statistics. Runs on the
    /// CPU, whatever the device.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the batch.
    pub fn layer_rows(&self, params: &Checkpoint, batch: &Batch, places: &[Place]) -> LayerRows {
        let weights = Weights::upload(&self.program, params, &Executor::Cpu);
        let trace = cpu::forward(
            &self.program,
            &weights,
            batch.clone().on_cpu(&self.program),
            BatchNormMode::Running,
            Stored::Everything,
        );

        let mut rows = HashMap::new();
        for place in places {
            if let Place::Activation(operand) = place {
                rows.insert(*place, trace.activation(*operand).clone());
            }
        }
        if !places
            .iter()
            .any(|place| matches!(place, Place::Gradient(_)))
        {
            self.spent_forwards(batch.len());
            return LayerRows(rows);
        }

        self.spent_gradients(batch.len());
        // The loss is summed, so that batches of any size weigh by their samples.
        let share = cross_entropy::share(&batch.labels);
        let logits = trace.logits.clone();
        let mut factor = self.loss().gradient(logits, &batch.labels, share);
        factor.iter_mut().for_each(|v| *v *= batch.len() as f32);

        trace.backward_through(factor, |node, gradient| {
            let place = Place::Gradient(node);
            if places.contains(&place) {
                rows.insert(place, gradient.clone());
            }
        });

        LayerRows(rows)
    }
}

impl CrossCovariances {
    /// Adds the products of two models' rows on the same batch.
    ///
    /// # Panics
    /// When they have not the same number of rows.
    pub fn add(&mut self, a: &LayerRows, b: &LayerRows) {
        for (place, a) in &a.0 {
            let Some(b) = b.0.get(place) else { continue };
            let (a, b) = (matrix(a), matrix(b));
            let sum = self
                .0
                .entry(*place)
                .or_insert_with(|| Mat::zeros(a.ncols(), b.ncols()));
            exact_accumulate(sum.as_mut(), a.transpose(), b.as_ref());
        }
    }

    /// `[d_A, d_B]`; `None` where no row was seen: a gradient that the loss does not depend on.
    pub fn get(&self, place: Place) -> Option<&Mat<f64>> {
        self.0.get(&place)
    }
}

/// `[rows, channels]`: channels are an image's first axis and otherwise the last.
fn matrix(signal: &CpuActivation) -> Mat<f64> {
    let values = signal.values();
    if let [channels, _, _] = signal.shape() {
        let (positions, size) = (signal.positions(), signal.size());
        return Mat::from_fn(signal.batch() * positions, *channels, |row, channel| {
            let (sample, position) = (row / positions, row % positions);
            f64::from(values[sample * size + channel * positions + position])
        });
    }

    let width = signal.shape().last().copied().unwrap_or(1);

    Mat::from_fn(values.len() / width, width, |row, i| {
        f64::from(values[row * width + i])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_samples_times_positions() {
        // Two samples, two channels, 1 × 2 positions.
        let image = CpuActivation::new((1u8..=8).map(f32::from).collect(), &[2, 1, 2]);
        let expected = [[1.0, 3.0], [2.0, 4.0], [5.0, 7.0], [6.0, 8.0]];
        let found = matrix(&image);
        assert_eq!((found.nrows(), found.ncols()), (4, 2));
        for (row, expected) in expected.iter().enumerate() {
            for (channel, expected) in expected.iter().enumerate() {
                assert!((found[(row, channel)] - expected).abs() < 1e-12);
            }
        }
        let tokens = CpuActivation::new(vec![1.0, 2.0, 3.0, 4.0], &[2, 2]);

        assert!((matrix(&tokens)[(1, 0)] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn products_are_summed_over_batches() {
        let place = Place::Activation(Operand::Input);
        let rows = |values: &[f32]| {
            LayerRows(HashMap::from([(
                place,
                CpuActivation::new(values.to_vec(), &[2]),
            )]))
        };
        let mut products = CrossCovariances::default();
        products.add(&rows(&[1.0, 2.0]), &rows(&[3.0, 4.0]));
        products.add(&rows(&[0.0, 1.0]), &rows(&[1.0, 1.0]));
        let sum = products.get(place).unwrap();

        // [1 2]ᵀ[3 4] + [0 1]ᵀ[1 1]
        for ((i, j), expected) in [((0, 0), 3.0), ((0, 1), 4.0), ((1, 0), 7.0), ((1, 1), 9.0)] {
            assert!((sum[(i, j)] - expected).abs() < 1e-12);
        }
    }
}
