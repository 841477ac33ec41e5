//! Walks a program on the CPU.

use std::collections::{HashMap, HashSet};

use super::{
    activation::CpuActivation, attention::RowSoftmax, batch_norm, kernels, recompute::BackwardPlan,
    transformer,
};
use crate::{
    execution::{
        samples::Samples,
        statistics::{BatchNormMode, Moments},
        weights::Weights,
    },
    network::{Inputs, Instruction, Layer, Operand, Program},
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
    pub(super) program: &'a Program,
    pub(super) weights: &'a Weights,
    pub(super) plan: BackwardPlan,
    pub(super) values: HashMap<Operand, CpuActivation>,
    /// Of every batch-norm node.
    pub moments: HashMap<usize, Moments>,
    /// Of every attention whose backward pass may follow.
    pub(super) softmaxes: HashMap<usize, Vec<RowSoftmax>>,
    /// Of one sample.
    pub(super) shapes: HashMap<Operand, Vec<usize>>,
    /// `[B, classes]` or `[B, S, vocabulary]`, row-major.
    pub logits: Vec<f32>,
}

/// Runs the program.
///
/// # Panics
/// When the input is not what the program reads, or the weights are another program's.
pub fn forward<'a>(
    program: &'a Program,
    weights: &'a Weights,
    samples: impl Into<Samples<CpuActivation>>,
    mode: BatchNormMode,
    stored: Stored,
) -> Trace<'a> {
    let last_reader = program.last_readers();
    let plan = BackwardPlan::of(program);
    let stored = match stored {
        Stored::Nothing => HashSet::new(),
        Stored::ForBackward => plan.stored.clone(),
        Stored::Everything => program.operands().collect(),
    };
    let mut alive = samples.into().operands();
    let mut shapes: HashMap<Operand, Vec<usize>> = alive
        .iter()
        .map(|(operand, given)| (*operand, given.shape().to_vec()))
        .collect();
    let (mut moments, mut softmaxes) = (HashMap::new(), HashMap::new());

    for instruction in &program.instructions {
        let position = instruction.position;
        let inputs = instruction.inputs.map(|operand| alive[operand].clone());
        // Released first: an op works in place on values that nobody else holds.
        alive.retain(|operand, _| {
            last_reader
                .get(operand)
                .is_some_and(|&last| last > position)
                || stored.contains(operand)
        });

        let (output, seen) = step(instruction, inputs, weights, mode);
        match seen {
            Seen::Moments(seen) => {
                moments.insert(position, seen);
            }
            Seen::Softmaxes(rows) if stored.contains(&Operand::Node(position)) => {
                softmaxes.insert(position, rows);
            }
            _ => {}
        }
        shapes.insert(Operand::Node(position), output.shape().to_vec());
        alive.insert(Operand::Node(position), output);
    }

    let output = program.output();
    let logits = alive[&output].clone();
    // Logits may be larger than everything else: they are copied only where the backward pass reads
    // them.
    if !stored.contains(&output) {
        alive.remove(&output);
    }
    let logits = logits.into_values();

    Trace {
        program,
        weights,
        plan,
        values: alive,
        moments,
        softmaxes,
        shapes,
        logits,
    }
}

/// What an instruction has seen that others need.
enum Seen {
    Nothing,
    /// What a batch norm normalised by.
    Moments(Moments),
    /// Of the rows of an attention.
    Softmaxes(Vec<RowSoftmax>),
}

/// One instruction, and what it has seen.
fn step(
    instruction: &Instruction,
    inputs: Inputs<CpuActivation>,
    weights: &Weights,
    mode: BatchNormMode,
) -> (CpuActivation, Seen) {
    match &instruction.layer {
        Layer::BatchNorm(layer) => {
            let x = inputs.first;
            let seen = match mode {
                BatchNormMode::Batch => batch_norm::moments(&x),
                BatchNormMode::Running => batch_norm::running(layer, weights),
            };
            let y = batch_norm::forward(layer, x, weights, &seen);
            (y, Seen::Moments(seen))
        }
        Layer::Attention(layer) if !layer.is_left_to_burn() => {
            let (y, rows) = transformer::attention(layer, &inputs, weights);
            (y, Seen::Softmaxes(rows))
        }
        _ => (kernels::run(instruction, inputs, weights), Seen::Nothing),
    }
}

/// Runs one instruction.
///
/// # Panics
/// As [`forward`].
pub fn run_instruction(
    instruction: &Instruction,
    inputs: Inputs<CpuActivation>,
    weights: &Weights,
    mode: BatchNormMode,
) -> CpuActivation {
    step(instruction, inputs, weights, mode).0
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
