//! One model's way through its graph, node by node, all samples at once.
//!
//! The models of a fit walk in step: at a point all of them have put out what stands there, and nothing
//! is held any longer than somebody reads it.

use std::collections::HashMap;

use crate::{
    execution::{
        BatchNormMode, Executor, Samples, Weights,
        cpu::{CpuActivation, run_instruction},
    },
    network::{Operand, Program},
    tensors::Checkpoint,
};

/// A model on its way. Cloning shares what it holds.
#[derive(Clone)]
pub struct Walk<'m> {
    program: &'m Program,
    pub params: Checkpoint,
    alive: HashMap<Operand, CpuActivation>,
    /// Whether batch norms take the moments of what they see: the model was changed before them.
    pub is_changed: bool,
}

/// When each activation was read for the last time.
pub struct Lifetimes(HashMap<Operand, usize>);

impl Lifetimes {
    /// Those of a program; `also` are `(activation, node)`: the activation is read there, too.
    pub fn of(program: &Program, also: &[(Operand, usize)]) -> Self {
        let mut last = program.last_readers();
        for &(operand, position) in also {
            let end = last.entry(operand).or_insert(position);
            *end = position.max(*end);
        }
        Self(last)
    }

    /// Whether it is read after this node.
    pub fn outlives(&self, operand: Operand, position: usize) -> bool {
        self.0.get(&operand).is_some_and(|&last| last > position)
    }
}

impl<'m> Walk<'m> {
    pub fn new(program: &'m Program, params: Checkpoint, samples: Samples<CpuActivation>) -> Self {
        Self {
            program,
            params,
            alive: samples.operands(),
            is_changed: false,
        }
    }

    /// Runs a node, from what is alive.
    pub fn step(&mut self, position: usize) {
        let instruction = &self.program.instructions[position];
        let inputs = instruction
            .inputs
            .map(|operand| self.alive[operand].clone());
        let read = std::slice::from_ref(instruction);
        let weights = Weights::of(read, &self.params, &Executor::Cpu);
        let mode = if self.is_changed {
            BatchNormMode::Batch
        } else {
            BatchNormMode::Running
        };
        let output = run_instruction(instruction, inputs, &weights, mode);

        self.alive.insert(Operand::Node(position), output);
    }

    /// Takes tensors in the place of its own.
    pub fn take(&mut self, tensors: &Checkpoint) {
        for (name, tensor) in tensors.iter() {
            self.params.insert(name, tensor.clone());
        }
    }

    /// Lets go of what nobody reads after this node.
    pub fn release(&mut self, position: usize, lifetimes: &Lifetimes) {
        self.alive.retain(|operand, _| {
            *operand == Operand::Node(position) || lifetimes.outlives(*operand, position)
        });
    }

    /// Whether what stands at an operand is still held.
    pub fn holds(&self, operand: Operand) -> bool {
        self.alive.contains_key(&operand)
    }

    /// What stands at an operand.
    ///
    /// # Panics
    /// When it was let go.
    pub fn at(&self, operand: Operand) -> &CpuActivation {
        &self.alive[&operand]
    }
}
