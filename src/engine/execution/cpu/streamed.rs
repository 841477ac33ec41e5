//! A forward pass that holds the weights of one instruction at a time: of models whose weights would take
//! more memory than the activations.

use std::slice;

use super::{activation::CpuActivation, forward::run_instruction};
use crate::{
    execution::{
        executor::Executor, samples::Samples, statistics::BatchNormMode, weights::Weights,
    },
    network::{Operand, Program},
    tensors::Checkpoint,
};

/// The logits of a program by the running statistics, row-major: the same bits as
/// [`forward`](super::forward()) has.
///
/// # Panics
/// When the input is not what the program reads, or a tensor is missing.
pub fn forward_streamed(
    program: &Program,
    params: &Checkpoint,
    samples: Samples<CpuActivation>,
) -> Vec<f32> {
    let last_reader = program.last_readers();
    let mut alive = samples.operands();

    for instruction in &program.instructions {
        let position = instruction.position;
        let inputs = instruction.inputs.map(|operand| alive[operand].clone());
        alive.retain(|operand, _| {
            last_reader
                .get(operand)
                .is_some_and(|&last| last > position)
        });

        let weights = Weights::of(slice::from_ref(instruction), params, &Executor::Cpu);
        let output = run_instruction(instruction, inputs, &weights, BatchNormMode::Running);
        alive.insert(Operand::Node(position), output);
    }

    let logits = alive.remove(&program.output());

    logits.map(CpuActivation::into_values).unwrap_or_default()
}
