//! Walks a graph in reverse on the CPU.

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
use crate::network::{Node, Op, Operand};

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
        let last = Operand::Node(self.graph.nodes.len() - 1);
        let mut pending = HashMap::from([(last, CpuActivation::new(logits, &self.shapes[&last]))]);

        for (position, node) in self.graph.nodes.iter().enumerate().rev() {
            if let Some(dy) = pending.remove(&Operand::Node(position)) {
                observe(position, &dy);
                for operand in recompute::read_by_backward(position, node) {
                    self.recompute(operand);
                }
                for (operand, dx) in self.step(position, node, dy, &mut gradients) {
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
        if let Some(value) = self.values.get(&operand) {
            return value.clone();
        }

        let Operand::Node(position) = operand else {
            unreachable!("an input that is read is stored")
        };
        let graph = self.graph;
        let Node { op, inputs, .. } = &graph.nodes[position];
        let mut inputs: Vec<CpuActivation> =
            inputs.iter().map(|&input| self.recompute(input)).collect();
        let value = match op {
            Op::BatchNorm { .. } => {
                batch_norm::forward(op, inputs.remove(0), self.weights, &self.moments[&position])
            }
            op => kernels::run(op, inputs, self.weights),
        };

        if self.plan.reads(operand) {
            self.values.insert(operand, value.clone());
        }
        value
    }

    /// The gradients that one node hands to those it reads; its own tensors' are added up.
    fn step(
        &self,
        position: usize,
        node: &Node,
        dy: CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let source = node.inputs[0];
        // The sample itself needs no gradient.
        let wanted = source != Operand::Input;

        let dx = match &node.op {
            Op::Add {} => return node.inputs.iter().map(|&o| (o, dy.clone())).collect(),
            op @ Op::Linear { .. } => {
                let x = &self.values[&source];
                Linear::new(op, self.weights).backward(x, &dy, gradients, wanted)
            }
            op @ Op::Conv2d { groups: 1, .. } => {
                let x = &self.values[&source];
                Convolution::new(op, x, self.weights).backward(x, &dy, gradients, wanted)
            }
            op @ Op::BatchNorm { .. } => {
                let (x, seen) = (&self.values[&source], &self.moments[&position]);
                let normalised = Normalised { op, x, seen };
                Some(batch_norm::backward(normalised, dy, self.weights, gradients))
            }
            Op::Relu {} => {
                let y = &self.values[&Operand::Node(position)];
                Some(dy.zip(y, |d, y| if y > 0.0 { d } else { 0.0 }))
            }
            Op::Dropout { .. } => Some(dy),
            Op::Flatten {} => Some(dy.reshaped(&self.shapes[&source])),
            Op::GlobalAvgPool {} => Some(dy.spread_over_space(&self.shapes[&source])),
            _ => return self.step_by_burn(node, &dy, gradients),
        };
        dx.filter(|_| wanted).map(|dx| (source, dx)).into_iter().collect()
    }

    fn step_by_burn(
        &self,
        node: &Node,
        dy: &CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let inputs: Vec<CpuActivation> =
            node.inputs.iter().map(|operand| self.values[operand].clone()).collect();
        let dxs = burn_fallback::backward(&node.op, &inputs, dy, self.weights, gradients);
        node.inputs
            .iter()
            .zip(dxs)
            .filter(|(operand, _)| **operand != Operand::Input)
            .filter_map(|(&operand, dx)| Some((operand, dx?)))
            .collect()
    }
}
