//! Samples that are computed with together.

use burn::tensor::Device;

use crate::{
    execution::{Samples, burn::BurnActivation, cpu::CpuActivation},
    network::{Program, SampleSize, Token, token::ABSENT},
};

/// Samples `[B, …sample_shape]`, row-major, with a label for every row of logits: `[B]`, or `[B, S]`
/// where every token predicts the next one, or `[B, T]`, a target sequence; none where the samples have no
/// labels.
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

    /// What a program reads, in host memory.
    pub(crate) fn on_cpu(self, program: &Program) -> Samples<CpuActivation> {
        let length = [self.labels_each()];
        Samples {
            target: self
                .target_of(program)
                .map(|ids| CpuActivation::new(ids, &length)),
            input: CpuActivation::new(self.inputs, &self.sample_shape),
        }
    }

    /// The same on a device.
    pub(crate) fn by_burn(self, program: &Program, device: &Device) -> Samples<BurnActivation> {
        let length = [self.labels_each()];
        Samples {
            target: self
                .target_of(program)
                .map(|ids| BurnActivation::upload(ids, &length, device)),
            input: BurnActivation::upload(self.inputs, &self.sample_shape, device),
        }
    }

    /// The target sequences of a program that has such, packed: the labels, no token where one is ignored.
    fn target_of(&self, program: &Program) -> Option<Vec<f32>> {
        program.target?;
        let ids = self.labels.iter().map(|&label| {
            u32::try_from(label).map_or(ABSENT, |id| {
                let token = Token {
                    id,
                    ..Token::default()
                };
                token.packed()
            })
        });

        Some(ids.collect())
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
