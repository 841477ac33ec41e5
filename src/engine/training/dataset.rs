//! Samples, with or without labels, their values in host memory or in a file. Reading them from a store is for `artifacts`.

mod batch;
mod hold_out;
mod judged;

use bytes::Bytes;

use super::{Value, cross_entropy::IGNORED, value::variance};
use crate::{
    network::SampleSize,
    tensors::{DType, HostTensor},
};
pub use batch::Batch;
pub(super) use judged::explained;
pub use judged::{Flips, Judged};

/// Samples, and their labels where there are any. Cloning and [`Dataset::subset`] share the values.
#[derive(Clone, Debug)]
pub struct Dataset {
    inputs: Inputs,
    sample_shape: Vec<usize>,
    /// One for every row of logits that a sample gives; empty without labels.
    labels: Vec<i64>,
    judged: Judged,
    /// Which rows of `inputs` belong, in order.
    rows: Vec<usize>,
    /// `(x − mean) · inverse deviation`, per channel (or one for all); empty: none.
    scaling: Vec<(f32, f32)>,
    /// Token types were given beside the ids, be they all 0.
    has_token_types: bool,
}

#[derive(Clone, Debug)]
enum Inputs {
    Floats(HostTensor),
    /// u8, scaled by 1/255 when read.
    Bytes(HostTensor),
}

/// What each position predicts, given labels `[N, S]` that stand at the tokens themselves, as Hugging
/// Face has them: the label of the position after it, and nothing at the last.
pub fn next_labels(labels: &[i64], length: usize) -> Vec<i64> {
    labels
        .chunks(length)
        .flat_map(|sample| [&sample[1..], &[IGNORED]].concat())
        .collect()
}

impl Dataset {
    /// Samples without labels, `[N, …]`: u8, read as value / 255, or f32; of tokens `[N, S]` packed
    /// (`network::Token`). Without an axis of samples there are none.
    pub fn unlabelled(inputs: HostTensor) -> Self {
        let (samples, sample_shape) = inputs.shape().split_first().unwrap_or((&0, &[]));

        Self {
            rows: (0..*samples).collect(),
            sample_shape: sample_shape.to_vec(),
            inputs: match inputs.dtype() {
                DType::U8 => Inputs::Bytes(inputs),
                _ => Inputs::Floats(inputs),
            },
            labels: Vec::new(),
            judged: Judged::default(),
            scaling: Vec::new(),
            has_token_types: false,
        }
    }

    /// With a label for every row of logits that a sample gives: one a sample, or one a token that
    /// predicts it; [`IGNORED`] where nothing is predicted.
    ///
    /// # Panics
    /// When the labels are no whole number a sample.
    #[must_use]
    pub fn labelled(self, labels: Vec<i64>) -> Self {
        assert!(
            labels.len().is_multiple_of(self.len().max(1)),
            "as many labels for each sample"
        );
        Self { labels, ..self }
    }

    /// With as many labels for each sample, of which a prediction has to have all: `[N, K]`.
    ///
    /// # Panics
    /// As [`Dataset::labelled`].
    #[must_use]
    pub fn labelled_together(self, labels: Vec<i64>) -> Self {
        Self {
            judged: Judged::Together,
            ..self.labelled(labels)
        }
    }

    /// With as many values for each sample as labels ([`Value`]), `[N, K]`. They are judged beside their
    /// variance here, also in parts of this data set.
    ///
    /// # Panics
    /// As [`Dataset::labelled`].
    #[must_use]
    pub fn valued(self, labels: Vec<i64>) -> Self {
        let labelled = self.labelled(labels);
        let variance = variance(&labelled.labels, labelled.labels_each());
        Self {
            judged: Judged::Values { variance },
            ..labelled
        }
    }

    /// The same of values as they are.
    ///
    /// # Panics
    /// As [`Dataset::labelled`].
    #[must_use]
    pub fn of_values(self, values: &[f32]) -> Self {
        self.valued(values.iter().map(|&value| Value(value).label()).collect())
    }

    /// When a prediction is right.
    pub fn judged(&self) -> Judged {
        self.judged
    }

    /// Tokens `[N, S]`, packed (`network::Token`), with labels `[N, S]` for a language model: position t
    /// predicts the label at t + 1; [`IGNORED`] is not predicted.
    ///
    /// # Panics
    /// When there are not as many labels as ids; readers check first.
    pub fn of_tokens(ids: HostTensor, labels: &[i64]) -> Self {
        let (&[_, length], true) = (ids.shape(), ids.len() == labels.len()) else {
            panic!(
                "one label a token, not {} for {:?}",
                labels.len(),
                ids.shape()
            )
        };
        Self::unlabelled(ids).labelled(next_labels(labels, length))
    }

    /// Samples stored as f32, `[N, …]`.
    ///
    /// # Panics
    /// When there are not as many labels as rows; readers check first.
    pub fn from_floats(inputs: HostTensor, labels: Vec<i64>) -> Self {
        assert_eq!(
            inputs.shape().first(),
            Some(&labels.len()),
            "one label a sample"
        );
        Self::unlabelled(inputs).labelled(labels)
    }

    /// Samples stored as u8, read as value / 255.
    ///
    /// # Panics
    /// When the bytes do not fill the shape; readers check first.
    pub fn from_bytes(bytes: Bytes, sample_shape: Vec<usize>, labels: Vec<i64>) -> Self {
        let shape = [&[labels.len()], &sample_shape[..]].concat();
        let inputs = HostTensor::from_bytes(DType::U8, shape, bytes);
        Self::from_pixels(inputs.expect("the bytes fill the samples"), labels)
    }

    /// Samples stored as u8, `[N, …]`, read as value / 255.
    ///
    /// # Panics
    /// When they are no u8, or there are not as many labels as rows; readers check first.
    pub fn from_pixels(inputs: HostTensor, labels: Vec<i64>) -> Self {
        assert_eq!(inputs.dtype(), DType::U8, "one byte a value");
        assert_eq!(
            inputs.shape().first(),
            Some(&labels.len()),
            "one label a sample"
        );
        Self::unlabelled(inputs).labelled(labels)
    }

    /// With `(x − mean) / std` applied per channel (the sample's first axis), or with one value
    /// for all. `None` when the number of values fits neither.
    #[must_use]
    pub fn normalised(mut self, mean: &[f64], std: &[f64]) -> Option<Self> {
        let channels = self.sample_shape.first().copied().unwrap_or(1);
        if mean.len() != std.len() || (mean.len() != 1 && mean.len() != channels) {
            return None;
        }

        self.scaling = mean
            .iter()
            .zip(std)
            .map(|(&m, &s)| (m as f32, (1.0 / s) as f32))
            .collect();

        Some(self)
    }

    /// The same values as samples of another shape.
    ///
    /// # Panics
    /// When a sample then has other values.
    #[must_use]
    pub fn shaped(self, sample_shape: Vec<usize>) -> Self {
        let [own, other]: [usize; 2] =
            [&self.sample_shape, &sample_shape].map(|shape| shape.iter().product());
        assert_eq!(own, other, "as many values a sample");
        Self {
            sample_shape,
            ..self
        }
    }

    /// Says that token types were given beside the ids.
    #[must_use]
    pub fn with_token_types(self) -> Self {
        Self {
            has_token_types: true,
            ..self
        }
    }

    pub fn has_token_types(&self) -> bool {
        self.has_token_types
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Shape of one sample, without the batch axis.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// Whether there are labels, given or taken from a model.
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// For every row of logits, [`IGNORED`] where it predicts nothing; empty without labels.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Labels of one sample.
    pub fn labels_each(&self) -> usize {
        self.labels.len() / self.len().max(1)
    }

    /// How large its samples are.
    pub fn size(&self) -> SampleSize<'_> {
        SampleSize {
            shape: &self.sample_shape,
            labels: self.labels_each(),
        }
    }

    fn labels_of<'a>(&'a self, positions: &'a [usize]) -> impl Iterator<Item = i64> + 'a {
        let each = self.labels_each();
        positions
            .iter()
            .flat_map(move |&p| self.labels[p * each..][..each].iter().copied())
    }

    /// The samples at these positions.
    ///
    /// # Panics
    /// When a position is out of range.
    pub fn batch(&self, positions: &[usize]) -> Batch {
        let size: usize = self.sample_shape.iter().product();
        let mut inputs = Vec::with_capacity(size * positions.len());
        // Rows that follow each other are read at once: the values may lie in a file.
        for run in positions.chunk_by(|&p, &next| self.rows[next] == self.rows[p] + 1) {
            let start = self.rows[run[0]] * size;
            let range = start..start + run.len() * size;
            match &self.inputs {
                Inputs::Floats(tensor) => inputs.extend_from_slice(&tensor.floats(range)),
                Inputs::Bytes(tensor) => {
                    inputs.extend(tensor.bytes_of(range).iter().map(|&v| f32::from(v) / 255.0));
                }
            }
        }

        self.scale(&mut inputs);
        let labels = self.labels_of(positions).collect();

        Batch {
            inputs,
            sample_shape: self.sample_shape.clone(),
            labels,
        }
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
            labels: self.labels_of(positions).collect(),
            judged: self.judged,
            rows: positions.iter().map(|&p| self.rows[p]).collect(),
            scaling: self.scaling.clone(),
            has_token_types: self.has_token_types,
        }
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
        let expected = [
            20.0 / 255.0,
            (25.0 / 255.0 - 0.5) * 2.0,
            0.0,
            (5.0 / 255.0 - 0.5) * 2.0,
        ];
        for (value, expected) in batch.inputs.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6);
        }

        assert!(tiny().normalised(&[0.0; 3], &[1.0; 3]).is_none());
    }

    #[test]
    fn every_token_predicts_the_next_label() {
        let ids = HostTensor::from_f32(vec![3, 3], (0..9).map(|v| v as f32).collect());
        let data = Dataset::of_tokens(ids, &[0, 1, 2, 3, IGNORED, 5, 6, 7, 8]);
        assert_eq!((data.len(), data.labels_each()), (3, 3));
        let batch = data.batch(&[1, 0]);
        assert_eq!(batch.labels, [IGNORED, 5, IGNORED, 1, 2, IGNORED]);
        assert_eq!(
            (batch.len(), batch.inputs.clone()),
            (2, vec![3.0, 4.0, 5.0, 0.0, 1.0, 2.0])
        );
        let parts: Vec<Batch> = batch.parts(1).collect();
        assert_eq!(
            (parts.len(), &parts[1].labels[..]),
            (2, &[1, 2, IGNORED][..])
        );
        assert_eq!(data.subset(&[2]).labels(), [7, 8, IGNORED]);
        let (rest, held) = data.hold_out(0.34, 1);

        assert_eq!((rest.len(), held.len()), (2, 1));
    }

    #[test]
    fn samples_need_no_labels_to_be_read() {
        let inputs = HostTensor::from_f32(vec![3, 2], (0..6).map(|v| v as f32).collect());
        let data = Dataset::unlabelled(inputs);
        assert_eq!(
            (data.len(), data.has_labels(), data.labels_each()),
            (3, false, 0)
        );
        let batch = data.batch(&[2, 0]);
        assert_eq!((batch.len(), batch.labels.len()), (2, 0));
        assert_eq!(
            batch.parts(1).map(|part| part.inputs).collect::<Vec<_>>(),
            [[4.0, 5.0], [0.0, 1.0]]
        );
        let (rest, held) = data.hold_out(0.34, 1);
        assert_eq!((rest.len(), held.len(), held.has_labels()), (2, 1, false));
        let named = data.labelled(vec![7, 8, 9]).subset(&[1]);

        assert_eq!((named.labels(), named.has_labels()), (&[8][..], true));
    }

    #[test]
    fn holding_out_is_stratified_and_repeatable() {
        let (rest, held) = tiny().hold_out(0.4, 7);
        assert_eq!(held.labels().iter().filter(|&&l| l == 0).count(), 2);
        assert_eq!((rest.len(), held.len()), (6, 4));
        assert_eq!(
            tiny().hold_out(0.4, 7).1.batch(&[0, 1]),
            held.batch(&[0, 1])
        );
        // Nine hundredths of five are none.
        let (rest, held) = tiny().hold_out(0.09, 7);
        assert_eq!((rest.len(), held.len()), (9, 1));
        let mut firsts: Vec<u32> = [&rest, &held]
            .iter()
            .flat_map(|d| (0..d.len()).map(|i| (d.batch(&[i]).inputs[0] * 255.0).round() as u32))
            .collect();
        firsts.sort_unstable();

        assert_eq!(firsts, (0..10).map(|i| i * 10).collect::<Vec<_>>());
    }
}
