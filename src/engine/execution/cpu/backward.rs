//! Walks a program in reverse on the CPU.

mod transformer;

use std::collections::HashMap;

use super::{
    activation::CpuActivation,
    batch_norm::{self, Normalised},
    burn_fallback,
    conv2d::Convolution,
    forward::Trace,
    gradients::Gradients,
    kernels,
    linear::Linear,
    recompute,
};
use crate::network::{
    Instruction, Layer, Operand,
    op::Pair,
    program::layer::{Conv2d, Nonlinearity},
};

impl Trace<'_> {
    /// The gradients, given those of the logits, in their shape.
    ///
    /// # Panics
    /// When the activations were not stored.
    pub fn backward(self, logits: Vec<f32>) -> Gradients {
        self.backward_through(logits, |_, _| {})
    }

    /// [`Trace::backward`]; `observe` hears the gradient of every node's output, last node first.
    ///
    /// # Panics
    /// When the activations were not stored.
    pub fn backward_through(
        mut self,
        logits: Vec<f32>,
        mut observe: impl FnMut(usize, &CpuActivation),
    ) -> Gradients {
        let mut gradients = Gradients::default();
        let output = self.program.output();
        let logits = CpuActivation::new(logits, &self.shapes[&output]);
        let mut pending = HashMap::from([(output, logits)]);

        for instruction in self.program.instructions.iter().rev() {
            let position = instruction.position;
            if let Some(dy) = pending.remove(&Operand::Node(position)) {
                observe(position, &dy);
                for operand in recompute::read_by_backward(instruction) {
                    self.recompute(operand);
                }
                for (operand, dx) in self.step(instruction, dy, &mut gradients) {
                    let sum = match pending.remove(&operand) {
                        Some(earlier) => CpuActivation::plus(earlier, dx),
                        None => dx,
                    };
                    pending.insert(operand, sum);
                }
            }
            let Self { values, plan, .. } = &mut self;
            values.retain(|operand, _| plan.needed_before(position, *operand));
        }

        gradients
    }

    /// An activation, computed once more from others where it was not stored.
    fn recompute(&mut self, operand: Operand) -> CpuActivation {
        let position = match operand {
            Operand::Node(position) if !self.values.contains_key(&operand) => position,
            stored => return self.values[&stored].clone(),
        };

        let instruction = &self.program.instructions[position];
        let inputs = instruction.inputs.map(|&input| self.recompute(input));
        let value = match &instruction.layer {
            Layer::BatchNorm(layer) => {
                batch_norm::forward(layer, inputs.first, self.weights, &self.moments[&position])
            }
            _ => kernels::run(instruction, inputs, self.weights),
        };

        if self.plan.reads(operand) {
            self.values.insert(operand, value.clone());
        }

        value
    }

    /// The gradients that one node hands to those it reads; its own tensors' are added up.
    fn step(
        &self,
        instruction: &Instruction,
        dy: CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let source = instruction.inputs.first;
        // The sample itself needs no gradient.
        let wanted = !source.is_given();

        let dx = match &instruction.layer {
            Layer::Add => {
                return instruction
                    .inputs
                    .iter()
                    .map(|&operand| (operand, dy.clone()))
                    .collect();
            }
            Layer::Linear(layer) => {
                let x = &self.values[&source];
                Linear::new(layer, self.weights).backward(x, &dy, gradients, wanted)
            }
            Layer::Conv2d(layer @ Conv2d { groups: 1, .. }) => {
                let x = &self.values[&source];
                Convolution::new(layer, self.weights).backward(x, &dy, gradients, wanted)
            }
            Layer::BatchNorm(layer) => {
                let x = &self.values[&source];
                let seen = &self.moments[&instruction.position];
                let normalised = Normalised { layer, x, seen };
                Some(batch_norm::backward(
                    normalised,
                    dy,
                    self.weights,
                    gradients,
                ))
            }
            Layer::Nonlinear(Nonlinearity::Relu) => {
                let y = &self.values[&Operand::Node(instruction.position)];
                Some(dy.zip(y, |d, y| if y > 0.0 { d } else { 0.0 }))
            }
            Layer::Identity => Some(dy),
            Layer::Flatten => Some(dy.reshaped(&self.shapes[&source])),
            Layer::GlobalAvgPool { .. }
            | Layer::AdaptiveAvgPool {
                output: Pair(1, 1), ..
            } => Some(dy.spread_over_space(&self.shapes[&source])),
            _ => return self.step_of_transformer(instruction, dy, gradients),
        };

        dx.filter(|_| wanted)
            .map(|dx| (source, dx))
            .into_iter()
            .collect()
    }

    fn step_by_burn(
        &self,
        instruction: &Instruction,
        dy: &CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let inputs = instruction
            .inputs
            .map(|operand| self.values[operand].clone());
        let dxs = burn_fallback::backward(instruction, &inputs, dy, self.weights, gradients);

        instruction
            .inputs
            .iter()
            .zip(dxs)
            .filter(|(operand, _)| !operand.is_given())
            .filter_map(|(&operand, dx)| Some((operand, dx?)))
            .collect()
    }
}
