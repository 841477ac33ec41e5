//! `AdamW`'s step in host memory: one pass over the values in the place of a dozen. Each number goes through the
//! same operations in the same order as on a device, so the bits are the same.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{EPSILON, MOMENTUM, SQUARE_MOMENTUM};
use crate::{
    execution::{cpu::TASK_ELEMENTS, floats},
    tensors::vectorized,
};

/// The numbers of one step.
#[derive(Clone, Copy)]
pub(super) struct AdamStep {
    /// What the values are multiplied by; 1 without decay.
    pub kept: f64,
    /// The rate over the bias of the first moment.
    pub rate: f64,
    /// The bias of the second moment.
    pub second_bias: f64,
}

/// Values, gradient and moments of one tensor.
pub(super) struct Tensors {
    pub value: Tensor<1>,
    pub gradient: Tensor<1>,
    /// `None` before the first step.
    pub first: Option<Tensor<1>>,
    pub second: Option<Tensor<1>>,
}

/// What one step makes of a tensor and of its moments.
pub(super) struct Stepped {
    pub value: Tensor<1>,
    pub first: Tensor<1>,
    pub second: Tensor<1>,
}

impl AdamStep {
    /// The tensors lie in host memory.
    pub fn apply(self, tensors: Tensors) -> Stepped {
        let gradient = floats(tensors.gradient);
        let [mut first, mut second] = [tensors.first, tensors.second]
            .map(|moment| moment.map_or_else(|| vec![0.0; gradient.len()], floats));
        let mut value = floats(tensors.value);

        value
            .par_chunks_mut(TASK_ELEMENTS)
            .zip(gradient.par_chunks(TASK_ELEMENTS))
            .zip(first.par_chunks_mut(TASK_ELEMENTS))
            .zip(second.par_chunks_mut(TASK_ELEMENTS))
            .for_each(|(((value, gradient), first), second)| {
                vectorized(|| {
                    let moments = first.iter_mut().zip(second);
                    let numbers = value.iter_mut().zip(gradient).zip(moments);
                    for ((value, gradient), (first, second)) in numbers {
                        self.of_number(value, *gradient, first, second);
                    }
                });
            });

        let [value, first, second] = [value, first, second].map(uploaded);
        Stepped {
            value,
            first,
            second,
        }
    }

    #[expect(
        clippy::inline_always,
        reason = "a loop that is not inlined is not compiled for AVX"
    )]
    #[inline(always)]
    fn of_number(self, value: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        let square = gradient * gradient * (1.0 - SQUARE_MOMENTUM) as f32;
        let fresh = gradient * (1.0 - MOMENTUM) as f32;
        *first = *first * MOMENTUM as f32 + fresh;
        *second = *second * SQUARE_MOMENTUM as f32 + square;

        let denominator = (*second / self.second_bias as f32).sqrt() + EPSILON as f32;
        *value = *value * self.kept as f32 - *first * self.rate as f32 / denominator;
    }
}

fn uploaded(values: Vec<f32>) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), &Device::flex())
}
