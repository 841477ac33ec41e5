//! Walks a graph on the CPU.

use std::collections::{HashMap, HashSet};

use super::{activation::CpuActivation, batch_norm, kernels, recompute::BackwardPlan};
use crate::{
    execution::{
        statistics::{BatchNormMode, Moments},
        weights::Weights,
    },
    network::{Graph, Op, Operand},
};

/// Which activations a forward pass stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The logits alone.
    Nothing,
    /// What the backward pass reads.
    ForBackward,
    /// Those of every node, so that the backward pass can be run too.
    Everything,
}

/// A forward pass with what the backward pass needs.
pub struct Trace<'a> {
    pub(super) graph: &'a Graph,
    pub(super) weights: &'a Weights,
    pub(super) plan: BackwardPlan,
    pub(super) values: HashMap<Operand, CpuActivation>,
    /// Of every batch-norm node.
    pub moments: HashMap<usize, Moments>,
    /// Of one sample.
    pub(super) shapes: HashMap<Operand, Vec<usize>>,
    /// `[B, classes]` or `[B, S, vocabulary]`, row-major.
    pub logits: Vec<f32>,
}

/// Runs the graph.
///
/// # Panics
/// When the input or a tensor does not have the shape that [`Graph::shapes`] checked.
pub fn forward<'a>(
    graph: &'a Graph,
    weights: &'a Weights,
    input: CpuActivation,
    mode: BatchNormMode,
    stored: Stored,
) -> Trace<'a> {
    let last_reader = graph.last_readers();
    let plan = BackwardPlan::of(graph);
    let stored = match stored {
        Stored::Nothing => HashSet::new(),
        Stored::ForBackward => plan.stored.clone(),
        Stored::Everything => graph.operands().collect(),
    };
    let mut shapes = HashMap::from([(Operand::Input, input.shape().to_vec())]);
    let mut alive = HashMap::from([(Operand::Input, input)]);
    let mut moments = HashMap::new();

    for (position, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<CpuActivation> =
            node.inputs.iter().map(|operand| alive[operand].clone()).collect();
        // Released first: an op works in place on values that nobody else holds.
        alive.retain(|operand, _| {
            last_reader.get(operand).is_some_and(|&last| last > position)
                || stored.contains(operand)
        });

        let (output, seen) = step(&node.op, inputs, weights, mode);
        moments.extend(seen.map(|seen| (position, seen)));
        shapes.insert(Operand::Node(position), output.shape().to_vec());
        alive.insert(Operand::Node(position), output);
    }

    let last = Operand::Node(graph.nodes.len() - 1);
    // Logits may be larger than everything else: they are copied only where the backward pass reads
    // them.
    let held = if stored.contains(&last) { alive.get(&last).cloned() } else { alive.remove(&last) };
    let logits = held.expect("a graph has nodes").into_values();

    Trace { graph, weights, plan, values: alive, moments, shapes, logits }
}

/// One op, and what it normalised by where it is a batch norm.
fn step(
    op: &Op,
    mut inputs: Vec<CpuActivation>,
    weights: &Weights,
    mode: BatchNormMode,
) -> (CpuActivation, Option<Moments>) {
    if !matches!(op, Op::BatchNorm { .. }) {
        return (kernels::run(op, inputs, weights), None);
    }

    let x = inputs.remove(0);
    let seen = match mode {
        BatchNormMode::Batch => batch_norm::moments(&x),
        BatchNormMode::Running => batch_norm::running(op, &x, weights),
    };
    (batch_norm::forward(op, x, weights, &seen), Some(seen))
}

/// Runs one op.
///
/// # Panics
/// As [`forward`].
pub fn run_node(
    op: &Op,
    inputs: Vec<CpuActivation>,
    weights: &Weights,
    mode: BatchNormMode,
) -> CpuActivation {
    step(op, inputs, weights, mode).0
}

/// Mean and variance of every channel of `[B, C, H, W]`.
pub fn moments(x: &CpuActivation) -> Moments {
    batch_norm::moments(x)
}

impl Trace<'_> {
    /// An operand's activations.
    ///
    /// # Panics
    /// When they were not stored.
    pub fn activation(&self, operand: Operand) -> &CpuActivation {
        &self.values[&operand]
    }
}
