//! Forward and backward on the CPU, in plain slices.
//!
//! burn's CPU backend is fast where matrices are multiplied and slow around it: convolutions change
//! layouts, batch norm makes a dozen passes, and its tape keeps every activation. So on the CPU a
//! graph runs here, by matrix products (`engine::matmul`) and single passes over the samples, and
//! only those activations are kept that the way back reads and that are dear to compute: batch norm,
//! `relu` and residual sums of what is kept anyway are had once more (`way_back`). Ops without a
//! kernel here (pooling, GELU, grouped convolutions, attention) are run and differentiated by burn,
//! one at a time.
//!
//! Order of events: [`forward`] walks the nodes and returns a [`Trace`]; [`Trace::backward`] walks
//! them in reverse. Every sum over samples is taken in the order of the samples, so results do not
//! depend on how threads are scheduled.

mod batch_norm;
mod conv2d;
mod elsewhere;
mod linear;
mod signal;
mod way_back;

use std::collections::{HashMap, HashSet};

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    forward::Weights,
    graph::{Graph, Node, Operand},
    op::Op,
};
pub use signal::Signal;
use way_back::{WayBack, operands};

/// Where batch normalisation takes its mean and variance from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The running ones of the checkpoint.
    Running,
    /// Those of the batch itself, as in training.
    Batch,
}

/// What a batch-norm node normalised by: mean and biased variance per channel, over `count` values
/// each. Running ones are constants and come from none: their `count` is 0.
#[derive(Clone, Debug)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub count: usize,
}

/// Which activations a forward pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The logits alone.
    Nothing,
    /// What the way back reads.
    WayBack,
    /// Those of every node, the way back included.
    Everything,
}

/// A forward pass with what the way back needs.
pub struct Trace<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    way_back: WayBack,
    values: HashMap<Operand, Signal>,
    /// Of every batch-norm node.
    pub moments: HashMap<usize, Moments>,
    shapes: HashMap<Operand, Vec<usize>>,
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
    input: Signal,
    mode: Mode,
    keep: Keep,
) -> Trace<'a> {
    let last_reader = last_readers(graph);
    let way_back = WayBack::of(graph);
    let kept = match keep {
        Keep::Nothing => HashSet::new(),
        Keep::WayBack => way_back.kept.clone(),
        Keep::Everything => operands(graph).collect(),
    };
    let mut shapes = HashMap::from([(Operand::Input, input.shape().to_vec())]);
    let mut alive = HashMap::from([(Operand::Input, input)]);
    let mut moments = HashMap::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        let mut inputs: Vec<Signal> = node.inputs.iter().map(|o| alive[o].clone()).collect();
        // Let go first: an op works in place on what nobody else holds.
        alive.retain(|operand, _| {
            last_reader.get(operand).is_some_and(|&last| last > position) || kept.contains(operand)
        });
        let output = match &node.op {
            Op::BatchNorm { .. } => {
                let seen = match mode {
                    Mode::Batch => batch_norm::moments(&inputs[0]),
                    Mode::Running => batch_norm::running(&node.op, &inputs[0], weights),
                };
                let output = batch_norm::forward(&node.op, inputs.remove(0), weights, &seen);
                moments.insert(position, seen);
                output
            }
            op => run(op, inputs, weights),
        };
        shapes.insert(Operand::Node(position), output.shape().to_vec());
        alive.insert(Operand::Node(position), output);
    }
    let last = Operand::Node(graph.nodes.len() - 1);
    // Logits may be larger than everything else: they are copied only where the way back reads them.
    let held = if kept.contains(&last) { alive.get(&last).cloned() } else { alive.remove(&last) };
    let logits = held.expect("a graph has nodes").into_values();
    Trace { graph, weights, way_back, values: alive, moments, shapes, logits }
}

/// The activations that a forward pass keeps for the way back.
pub fn kept(graph: &Graph) -> HashSet<Operand> {
    WayBack::of(graph).kept
}

/// Whether an op has a kernel here.
pub(super) fn runs(op: &Op) -> bool {
    matches!(
        op,
        Op::Add {}
            | Op::Linear { .. }
            | Op::Conv2d { groups: 1, .. }
            | Op::BatchNorm { .. }
            | Op::Relu {}
            | Op::GlobalAvgPool {}
            | Op::Flatten {}
            | Op::Dropout { .. }
    )
}

fn run(op: &Op, mut inputs: Vec<Signal>, weights: &Weights) -> Signal {
    if !runs(op) {
        return elsewhere::forward(op, &inputs, weights);
    }
    if matches!(op, Op::Add {}) {
        return inputs.into_iter().reduce(Signal::plus).expect("add has inputs");
    }
    let x = inputs.remove(0);
    match op {
        Op::Linear { .. } => linear::Linear::new(op, weights).forward(&x),
        Op::Conv2d { groups: 1, .. } => conv2d::Convolution::new(op, &x, weights).forward(&x),
        Op::Relu {} => x.map(relu),
        Op::GlobalAvgPool {} => x.mean_over_space(),
        Op::Flatten {} => x.flattened(),
        Op::Dropout { .. } => x,
        other => unreachable!("{} is run elsewhere", other.name()),
    }
}

fn relu(v: f32) -> f32 {
    v.max(0.0)
}

fn last_readers(graph: &Graph) -> HashMap<Operand, usize> {
    let mut last = HashMap::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        last.extend(node.inputs.iter().map(|&operand| (operand, position)));
    }
    last
}

/// Gradients of the learned tensors, flat, by name; those of a tied tensor are summed.
#[derive(Default)]
pub struct Gradients {
    tensors: HashMap<String, Tensor<1>>,
}

impl Gradients {
    fn add(&mut self, param: &str, suffix: &str, gradient: Vec<f32>) {
        let length = gradient.len();
        let data = TensorData::new(gradient, [length]);
        self.add_to(format!("{param}.{suffix}"), Tensor::from_data(data, &Device::flex()));
    }

    fn add_to(&mut self, name: String, gradient: Tensor<1>) {
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

impl Trace<'_> {
    /// An operand's activations.
    ///
    /// # Panics
    /// When they were not kept.
    pub fn activation(&self, operand: Operand) -> &Signal {
        &self.values[&operand]
    }

    /// The gradients, given those of the logits, in their shape.
    ///
    /// # Panics
    /// When the trace was not kept.
    pub fn backward(self, logits: Vec<f32>) -> Gradients {
        self.backward_through(logits, |_, _| {})
    }

    /// [`Trace::backward`]; `observe` hears the gradient of every node's output, last node first.
    ///
    /// # Panics
    /// When the trace was not kept.
    pub fn backward_through(
        mut self,
        logits: Vec<f32>,
        mut observe: impl FnMut(usize, &Signal),
    ) -> Gradients {
        let mut gradients = Gradients::default();
        let last = Operand::Node(self.graph.nodes.len() - 1);
        let mut pending = HashMap::from([(last, Signal::new(logits, &self.shapes[&last]))]);
        for (position, node) in self.graph.nodes.iter().enumerate().rev() {
            let this = Operand::Node(position);
            if let Some(dy) = pending.remove(&this) {
                observe(position, &dy);
                for operand in way_back::read(position, node) {
                    self.had_again(operand);
                }
                for (operand, dx) in self.step(position, node, dy, &mut gradients) {
                    let sum = match pending.remove(&operand) {
                        Some(earlier) => Signal::plus(earlier, dx),
                        None => dx,
                    };
                    pending.insert(operand, sum);
                }
            }
            let Self { values, way_back, .. } = &mut self;
            values.retain(|operand, _| way_back.needed_before(position, *operand));
        }
        gradients
    }

    /// An activation, computed once more from others where it was not kept.
    fn had_again(&mut self, operand: Operand) -> Signal {
        if let Some(value) = self.values.get(&operand) {
            return value.clone();
        }
        let Operand::Node(position) = operand else { unreachable!("a read input is kept") };
        let graph = self.graph;
        let Node { op, inputs, .. } = &graph.nodes[position];
        let mut inputs: Vec<Signal> = inputs.iter().map(|&input| self.had_again(input)).collect();
        let value = match op {
            Op::BatchNorm { .. } => {
                batch_norm::forward(op, inputs.remove(0), self.weights, &self.moments[&position])
            }
            op => run(op, inputs, self.weights),
        };
        if self.way_back.reads(operand) {
            self.values.insert(operand, value.clone());
        }
        value
    }

    /// What one node hands to those it reads; the gradients of its own tensors are added up.
    fn step(
        &self,
        position: usize,
        node: &Node,
        dy: Signal,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, Signal)> {
        let source = node.inputs[0];
        let x = || &self.values[&source];
        // The sample itself needs no gradient.
        let wanted = source != Operand::Input;
        let dx = match &node.op {
            Op::Add {} => return node.inputs.iter().map(|&o| (o, dy.clone())).collect(),
            op @ Op::Linear { .. } => {
                linear::Linear::new(op, self.weights).backward(x(), &dy, gradients, wanted)
            }
            op @ Op::Conv2d { groups: 1, .. } => conv2d::Convolution::new(op, x(), self.weights)
                .backward(x(), &dy, gradients, wanted),
            op @ Op::BatchNorm { .. } => {
                let seen = &self.moments[&position];
                Some(batch_norm::backward((op, x(), seen), dy, self.weights, gradients))
            }
            Op::Relu {} => {
                let y = &self.values[&Operand::Node(position)];
                Some(dy.zip(y, |d, y| if y > 0.0 { d } else { 0.0 }))
            }
            Op::Dropout { .. } => Some(dy),
            Op::Flatten {} | Op::GlobalAvgPool {} => {
                let shape = &self.shapes[&source];
                Some(if matches!(node.op, Op::Flatten {}) {
                    dy.reshaped(shape)
                } else {
                    dy.spread_over_space(shape)
                })
            }
            op => return self.step_elsewhere((op, &node.inputs), &dy, gradients),
        };
        dx.filter(|_| wanted).map(|dx| (source, dx)).into_iter().collect()
    }

    fn step_elsewhere(
        &self,
        (op, operands): (&Op, &[Operand]),
        dy: &Signal,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, Signal)> {
        let inputs: Vec<Signal> = operands.iter().map(|o| self.values[o].clone()).collect();
        let dxs = elsewhere::backward((op, &inputs), dy, self.weights, gradients);
        let pairs = operands.iter().zip(dxs);
        pairs
            .filter(|(operand, _)| **operand != Operand::Input)
            .filter_map(|(&operand, dx)| Some((operand, dx?)))
            .collect()
    }
}
