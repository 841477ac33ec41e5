//! A job as its headers give it.

use super::work::Matching;
use crate::{
    contract::spec::{Methods, Spec},
    engine::{learning::Load, transfer::Method},
};

/// Samples of one batch of an evaluation.
pub const EVALUATION_BATCH: usize = 256;

/// A job's sizes, from headers.
pub struct Job<'a> {
    pub spec: &'a Spec,
    pub methods: &'a [Method],
    pub timesteps: usize,
    pub parameters: usize,
    pub load: Load,
    pub has_batch_norm: bool,
    /// Samples of train, validation and test.
    pub samples: [usize; 3],
    /// Bytes of model files read, of data files, and of the result.
    pub bytes: [u64; 3],
    pub matching: Matching,
}

impl Job<'_> {
    pub fn is_auto(&self) -> bool {
        self.spec.methods == Methods::Auto
    }

    pub fn elements(&self, times: f64) -> f64 {
        times * self.parameters as f64
    }

    pub fn batch(&self) -> f64 {
        self.spec.options.batch_size.min(self.samples[0]) as f64
    }
}
