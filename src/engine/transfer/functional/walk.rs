//! One model's way through its graph, node by node, all samples at once.
//!
//! The models of a fit walk in step: at a point all of them have put out what stands there, and nothing
//! is held any longer than somebody reads it.

use std::collections::HashMap;

use crate::{
    execution::BatchNormMode,
    execution::{
        Executor, Weights,
        cpu::{CpuActivation, run_node},
    },
    network::{Graph, Operand},
    tensors::Checkpoint,
};

/// A model on its way.
pub struct Walk<'m> {
    graph: &'m Graph,
    pub params: Checkpoint,
    alive: HashMap<Operand, CpuActivation>,
    /// Whether batch norms take the moments of what they see: the model was changed before them.
    pub is_changed: bool,
}

/// When each activation was read for the last time.
pub struct Lifetimes(HashMap<Operand, usize>);

impl Lifetimes {
    /// Those of a graph; `also` are `(activation, node)`: the activation is read there, too.
    pub fn of(graph: &Graph, also: &[(Operand, usize)]) -> Self {
        let mut last = graph.last_readers();
        for &(operand, position) in also {
            let end = last.entry(operand).or_insert(position);
            *end = position.max(*end);
        }
        Self(last)
    }

    fn outlives(&self, operand: Operand, position: usize) -> bool {
        self.0.get(&operand).is_some_and(|&last| last > position)
    }
}

impl<'m> Walk<'m> {
    pub fn new(graph: &'m Graph, params: Checkpoint, input: CpuActivation) -> Self {
        let alive = HashMap::from([(Operand::Input, input)]);
        Self { graph, params, alive, is_changed: false }
    }

    /// Runs a node, from what is alive.
    pub fn step(&mut self, position: usize) {
        let node = &self.graph.nodes[position];
        let inputs = node.inputs.iter().map(|operand| self.alive[operand].clone()).collect();
        let weights = Weights::of_op(&node.op, &self.params, &Executor::Cpu);
        let mode = if self.is_changed { BatchNormMode::Batch } else { BatchNormMode::Running };
        let output = run_node(&node.op, inputs, &weights, mode);
        self.alive.insert(Operand::Node(position), output);
    }

    /// Lets go of what nobody reads after this node.
    pub fn release(&mut self, position: usize, lifetimes: &Lifetimes) {
        self.alive.retain(|operand, _| {
            *operand == Operand::Node(position) || lifetimes.outlives(*operand, position)
        });
    }

    /// What stands at an operand.
    ///
    /// # Panics
    /// When it was let go.
    pub fn at(&self, operand: Operand) -> &CpuActivation {
        &self.alive[&operand]
    }
}
