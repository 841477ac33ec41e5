//! Labelled samples in host memory. Reading them from a store is for `artifacts`.

use bytes::Bytes;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::super::network::HostTensor;

/// Samples with their labels. Cloning and [`Dataset::subset`] share the values.
#[derive(Clone, Debug)]
pub struct Dataset {
    inputs: Inputs,
    sample_shape: Vec<usize>,
    labels: Vec<i64>,
    /// Which rows of `inputs` belong, in order; as long as `labels`.
    rows: Vec<usize>,
    /// `(x − mean) · inverse deviation`, per channel (or one for all); empty: none.
    scaling: Vec<(f32, f32)>,
}

#[derive(Clone, Debug)]
enum Inputs {
    Floats(HostTensor),
    /// Scaled by 1/255 when read.
    Bytes(Bytes),
}

/// Samples `[B, …sample_shape]`, row-major, with their labels `[B]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub inputs: Vec<f32>,
    pub sample_shape: Vec<usize>,
    pub labels: Vec<i64>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

impl Dataset {
    /// Samples stored as f32, `[N, …]`.
    ///
    /// # Panics
    /// When there are not as many labels as rows; readers check first.
    pub fn from_floats(inputs: HostTensor, labels: Vec<i64>) -> Self {
        assert_eq!(inputs.shape().first(), Some(&labels.len()), "one label a sample");
        let sample_shape = inputs.shape()[1..].to_vec();
        let rows = (0..labels.len()).collect();
        Self { inputs: Inputs::Floats(inputs), sample_shape, labels, rows, scaling: Vec::new() }
    }

    /// Samples stored as u8, read as value / 255.
    ///
    /// # Panics
    /// When the bytes do not fill the shape; readers check first.
    pub fn from_bytes(bytes: Bytes, sample_shape: Vec<usize>, labels: Vec<i64>) -> Self {
        let size: usize = sample_shape.iter().product();
        assert_eq!(bytes.len(), size * labels.len(), "the bytes fill the samples");
        let rows = (0..labels.len()).collect();
        Self { inputs: Inputs::Bytes(bytes), sample_shape, labels, rows, scaling: Vec::new() }
    }

    /// With `(x − mean) / std` applied per channel (the sample's first axis), or with one value
    /// for all. `None` when the number of values fits neither.
    #[must_use]
    pub fn normalised(mut self, mean: &[f64], std: &[f64]) -> Option<Self> {
        let channels = self.sample_shape.first().copied().unwrap_or(1);
        if mean.len() != std.len() || (mean.len() != 1 && mean.len() != channels) {
            return None;
        }
        self.scaling = mean.iter().zip(std).map(|(&m, &s)| (m as f32, (1.0 / s) as f32)).collect();
        Some(self)
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape of one sample, without the batch axis.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The samples at these positions.
    ///
    /// # Panics
    /// When a position is out of range.
    pub fn batch(&self, positions: &[usize]) -> Batch {
        let size: usize = self.sample_shape.iter().product();
        let mut inputs = Vec::with_capacity(size * positions.len());
        match &self.inputs {
            Inputs::Floats(tensor) => {
                let values = tensor.f32();
                for &p in positions {
                    inputs.extend_from_slice(&values[self.rows[p] * size..][..size]);
                }
            }
            Inputs::Bytes(bytes) => {
                for &p in positions {
                    let row = &bytes[self.rows[p] * size..][..size];
                    inputs.extend(row.iter().map(|&v| f32::from(v) / 255.0));
                }
            }
        }
        self.scale(&mut inputs);
        let labels = positions.iter().map(|&p| self.labels[p]).collect();
        Batch { inputs, sample_shape: self.sample_shape.clone(), labels }
    }

    fn scale(&self, inputs: &mut [f32]) {
        if self.scaling.is_empty() {
            return;
        }
        let size: usize = self.sample_shape.iter().product();
        let channel = size / self.scaling.len();
        for sample in inputs.chunks_mut(size) {
            for (values, (mean, inverse)) in sample.chunks_mut(channel).zip(&self.scaling) {
                for v in values {
                    *v = (*v - mean) * inverse;
                }
            }
        }
    }

    /// The samples at these positions as a data set of their own.
    #[must_use]
    pub fn subset(&self, positions: &[usize]) -> Self {
        Self {
            inputs: self.inputs.clone(),
            sample_shape: self.sample_shape.clone(),
            labels: positions.iter().map(|&p| self.labels[p]).collect(),
            rows: positions.iter().map(|&p| self.rows[p]).collect(),
            scaling: self.scaling.clone(),
        }
    }

    /// `(rest, held out)`: of every class `fraction` of its samples (rounded, drawn by `ChaCha8` from
    /// `seed`) are held out; both parts keep the order of the samples.
    pub fn hold_out(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let mut classes = self.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut held = vec![false; self.len()];
        for class in classes {
            let mut members: Vec<usize> =
                (0..self.len()).filter(|&i| self.labels[i] == class).collect();
            members.shuffle(&mut rng);
            let count = (members.len() as f64 * fraction).round() as usize;
            members[..count].iter().for_each(|&i| held[i] = true);
        }
        let part =
            |want: bool| -> Vec<usize> { (0..self.len()).filter(|&i| held[i] == want).collect() };
        (self.subset(&part(false)), self.subset(&part(true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Dataset {
        let bytes = Bytes::from((0u8..20).map(|v| v * 5).collect::<Vec<_>>());
        Dataset::from_bytes(bytes, vec![2, 1, 1], vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    }

    #[test]
    fn bytes_are_scaled_and_channels_normalised() {
        let data = tiny().normalised(&[0.0, 0.5], &[1.0, 0.5]).unwrap();
        let batch = data.batch(&[2, 0]);
        let expected = [20.0 / 255.0, (25.0 / 255.0 - 0.5) * 2.0, 0.0, (5.0 / 255.0 - 0.5) * 2.0];
        for (value, expected) in batch.inputs.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6);
        }
        assert!(tiny().normalised(&[0.0; 3], &[1.0; 3]).is_none());
    }

    #[test]
    fn holding_out_is_stratified_and_repeatable() {
        let (rest, held) = tiny().hold_out(0.4, 7);
        assert_eq!(held.labels().iter().filter(|&&l| l == 0).count(), 2);
        assert_eq!((rest.len(), held.len()), (6, 4));
        assert_eq!(tiny().hold_out(0.4, 7).1.batch(&[0, 1]), held.batch(&[0, 1]));
        let mut firsts: Vec<u32> = [&rest, &held]
            .iter()
            .flat_map(|d| (0..d.len()).map(|i| (d.batch(&[i]).inputs[0] * 255.0).round() as u32))
            .collect();
        firsts.sort_unstable();
        assert_eq!(firsts, (0..10).map(|i| i * 10).collect::<Vec<_>>());
    }
}
