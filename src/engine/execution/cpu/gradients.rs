//! Gradients of the learned tensors.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use crate::execution::values::flat;

/// Gradients of the learned tensors, flat, by name; those of a tied tensor are summed.
#[derive(Default)]
pub struct Gradients {
    tensors: HashMap<String, Tensor<1>>,
}

impl Gradients {
    pub(super) fn add(&mut self, param: &str, suffix: &str, gradient: Vec<f32>) {
        self.add_to(format!("{param}.{suffix}"), flat(gradient, &Device::flex()));
    }

    pub(super) fn add_to(&mut self, name: String, gradient: Tensor<1>) {
        let sum = match self.tensors.remove(&name) {
            Some(earlier) => earlier + gradient,
            None => gradient,
        };
        self.tensors.insert(name, sum);
    }

    pub fn into_tensors(self) -> HashMap<String, Tensor<1>> {
        self.tensors
    }
}
