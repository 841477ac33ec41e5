//! Samples that are computed with together.

/// Samples `[B, …sample_shape]`, row-major, with a label for every row of logits: `[B]`, or `[B, S]`
/// where every token predicts the next one; none where the samples have no labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub inputs: Vec<f32>,
    pub sample_shape: Vec<usize>,
    pub labels: Vec<i64>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.inputs.len() / self.sample_shape.iter().product::<usize>().max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The batch in order, in parts of at most so many samples.
    pub fn parts(&self, samples: usize) -> impl Iterator<Item = Self> + '_ {
        let size = self.inputs.len() / self.len().max(1);
        let labels = self.labels.len() / self.len().max(1);

        self.inputs
            .chunks(size * samples)
            .enumerate()
            .map(move |(part, inputs)| {
                let first = (part * labels * samples).min(self.labels.len());
                let rest = &self.labels[first..];
                Self {
                    inputs: inputs.to_vec(),
                    sample_shape: self.sample_shape.clone(),
                    labels: rest[..rest.len().min(labels * samples)].to_vec(),
                }
            })
    }
}
