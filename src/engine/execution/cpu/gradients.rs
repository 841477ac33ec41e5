//! Gradients of the learned tensors.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use crate::execution::values::{flat, floats};

/// Gradients of the learned tensors, flat, by name; those of a tied tensor are summed.
#[derive(Default)]
pub struct Gradients {
    tensors: HashMap<String, Tensor<1>>,
}

impl Gradients {
    pub(super) fn add(&mut self, name: &str, gradient: Vec<f32>) {
        self.add_tensor(name, flat(gradient, &Device::flex()));
    }

    /// Adds to a sum of so many values where it lies; it is zero at first.
    pub(super) fn add_in_place(&mut self, name: &str, size: usize, add: impl FnOnce(&mut [f32])) {
        let mut sum = match self.tensors.remove(name) {
            Some(earlier) => floats(earlier),
            None => vec![0.0; size],
        };
        add(&mut sum);
        self.add(name, sum);
    }

    pub(super) fn add_tensor(&mut self, name: &str, gradient: Tensor<1>) {
        let sum = match self.tensors.remove(name) {
            Some(earlier) => earlier + gradient,
            None => gradient,
        };
        self.tensors.insert(name.to_owned(), sum);
    }

    pub fn into_tensors(self) -> HashMap<String, Tensor<1>> {
        self.tensors
    }
}
