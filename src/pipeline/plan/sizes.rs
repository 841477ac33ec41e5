//! A job as its headers give it.

use super::work::Matching;
use crate::{
    contract::{
        plan::SampleCounts,
        spec::{Methods, Spec},
    },
    engine::{
        training::{DeviceNeeds, Load},
        transfer::Method,
    },
};

/// Bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Of the models that are read.
    pub models: u64,
    /// Of the data that are read.
    pub data: u64,
    /// Of them, in memory.
    pub held: u64,
    /// Of the model that is written.
    pub result: u64,
}

/// A job's sizes, from headers.
pub struct Job<'a> {
    pub spec: &'a Spec,
    pub methods: &'a [Method],
    pub timesteps: usize,
    pub parameters: usize,
    /// Values of the largest tensor.
    pub largest_tensor: usize,
    pub load: Load,
    pub device: DeviceNeeds,
    pub has_batch_norm: bool,
    pub samples: SampleCounts,
    pub bytes: Bytes,
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
        self.spec.options.batch_size.min(self.samples.train) as f64
    }
}
