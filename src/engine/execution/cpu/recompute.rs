//! Which activations the backward pass reads, which of them the forward pass stores, and for how long.

use std::collections::{HashMap, HashSet};

use super::transformer;
use crate::network::{
    Instruction, Layer, Operand, Program, op::Pair, program::layer::Nonlinearity,
};

/// An activation more than this many elementwise layers from the nearest stored one is stored too;
/// otherwise a long residual stream would be recomputed from its start at every step. The end of the
/// second residual block after a convolution is six away.
const MAX_PASSES: usize = 6;

/// The activations that the backward pass needs.
pub(super) struct BackwardPlan {
    /// What the forward pass stores. What else is read is recomputed from these by elementwise layers.
    pub stored: HashSet<Operand>,
    /// What some node's backward step reads.
    read: HashSet<Operand>,
    /// For each activation the first node in the graph, and so the last of the backward pass, that
    /// reads it or what is recomputed from it.
    needed: HashMap<Operand, usize>,
}

impl BackwardPlan {
    pub fn of(program: &Program) -> Self {
        let mut needed = HashMap::new();
        for instruction in &program.instructions {
            for operand in read_by_backward(instruction) {
                needed.entry(operand).or_insert(instruction.position);
            }
        }
        let read: HashSet<Operand> = needed.keys().copied().collect();

        let mut stored = HashSet::new();
        // Elementwise layers between an activation and the stored ones.
        let mut distance: HashMap<Operand, usize> = HashMap::new();
        let mut recomputed = Vec::new();
        for operand in program.operands() {
            let source = recomputed_from(program, operand).and_then(|node| {
                let inputs = node.inputs.iter().map(|input| distance.get(input).copied());
                let farthest = inputs.collect::<Option<Vec<usize>>>()?.into_iter().max()?;
                (farthest < MAX_PASSES).then_some((node, farthest + 1))
            });
            if let Some((node, passes)) = source {
                recomputed.push((operand, &node.inputs));
                distance.insert(operand, passes);
            } else if read.contains(&operand) {
                stored.insert(operand);
                distance.insert(operand, 0);
            }
        }

        for (operand, inputs) in recomputed.into_iter().rev() {
            let Some(&first) = needed.get(&operand) else {
                continue;
            };
            for input in inputs.iter() {
                let earliest = needed.entry(*input).or_insert(first);
                *earliest = first.min(*earliest);
            }
        }

        Self {
            stored,
            read,
            needed,
        }
    }

    /// Whether some node's backward step reads it.
    pub fn reads(&self, operand: Operand) -> bool {
        self.read.contains(&operand)
    }

    /// Whether a node before this one needs it.
    pub fn needed_before(&self, position: usize, operand: Operand) -> bool {
        self.needed
            .get(&operand)
            .is_some_and(|&first| first < position)
    }
}

/// The activations that a forward pass stores for the backward pass.
pub fn stored_for_backward(program: &Program) -> HashSet<Operand> {
    BackwardPlan::of(program).stored
}

/// The activations that a node's backward step reads: the inputs of whatever multiplies or selects,
/// the output of a `relu`, which tells where it let through.
pub(super) fn read_by_backward(instruction: &Instruction) -> Vec<Operand> {
    match &instruction.layer {
        Layer::Nonlinear(Nonlinearity::Relu) => vec![Operand::Node(instruction.position)],
        Layer::Add
        | Layer::Flatten
        | Layer::Identity
        | Layer::GlobalAvgPool { .. }
        | Layer::AdaptiveAvgPool {
            output: Pair(1, 1), ..
        } => Vec::new(),
        _ => transformer::read_by_backward(instruction)
            .unwrap_or_else(|| instruction.inputs.iter().copied().collect()),
    }
}

/// The node of this output, if its layer is elementwise.
fn recomputed_from(program: &Program, operand: Operand) -> Option<&Instruction> {
    let Operand::Node(position) = operand else {
        return None;
    };
    let instruction = &program.instructions[position];
    let is_elementwise = matches!(
        instruction.layer,
        Layer::BatchNorm(_)
            | Layer::Nonlinear(Nonlinearity::Relu)
            | Layer::Add
            | Layer::Flatten
            | Layer::Identity
    );

    is_elementwise.then_some(instruction)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        network::Graph,
        tensors::{DType, Signature, TensorInfo},
    };

    /// Over images `[3, 8, 8]`; every norm is of three channels.
    fn program(nodes: serde_json::Value, weights: &[(&str, &[usize])]) -> Program {
        let config = json!({"input": {"kind": "image", "shape": [3, 8, 8]}, "nodes": nodes});
        let graph = Graph::from_document(&config).unwrap();

        let mut signature = Signature::new();
        for param in graph
            .params()
            .map(|(_, param)| param)
            .filter(|param| param.required)
        {
            let of_weight = weights.iter().find(|(name, _)| *name == param.name);
            let shape = of_weight.map_or(vec![3], |(_, shape)| shape.to_vec());
            signature.insert(
                param.name,
                TensorInfo {
                    dtype: DType::F32,
                    shape,
                },
            );
        }

        graph.resolve(&signature).unwrap()
    }

    fn stored(program: &Program) -> Vec<Operand> {
        let plan = BackwardPlan::of(program);
        program
            .operands()
            .filter(|operand| plan.stored.contains(operand))
            .collect()
    }

    const KERNEL: [usize; 4] = [3, 3, 1, 1];

    #[test]
    fn of_a_residual_block_only_what_convolutions_read_first_and_make() {
        let nodes = json!([
            {"op": "conv2d", "param": "stem"}, {"op": "batch_norm", "param": "n0"},
            {"op": "relu", "id": "x"},
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n1"}, {"op": "relu"},
            {"op": "conv2d", "param": "b"}, {"op": "batch_norm", "param": "n2", "id": "y"},
            {"op": "add", "inputs": ["y", "x"]}, {"op": "relu"},
            {"op": "global_avg_pool"}, {"op": "linear", "param": "fc"}]);
        let program = program(
            nodes,
            &[
                ("stem.weight", &KERNEL),
                ("a.weight", &KERNEL),
                ("b.weight", &KERNEL),
                ("fc.weight", &[2, 3]),
            ],
        );
        let node = Operand::Node;
        // The input, the three convolutions' outputs and what the head reads.
        assert_eq!(
            stored(&program),
            [Operand::Input, node(0), node(3), node(6), node(10)]
        );
        let plan = BackwardPlan::of(&program);
        // The relu at the end is recomputed from the norm after `b` and from `x`.
        assert!(plan.reads(node(9)) && plan.reads(node(2)));
        assert!(!plan.reads(node(7)) && !plan.reads(node(8)));
        // The output of `b` until its norm is done, the relu before it until that relu is.
        assert!(plan.needed_before(8, node(6)) && !plan.needed_before(7, node(6)));
        assert!(plan.needed_before(6, node(5)) && !plan.needed_before(5, node(5)));

        assert!(plan.needed_before(3, node(2)) && !plan.needed_before(2, node(2)));
    }

    #[test]
    fn a_long_stream_is_stored_now_and_then() {
        let mut nodes = vec![json!({"op": "conv2d", "param": "c", "id": "0"})];
        for i in 1..=20 {
            let before = (i - 1).to_string();
            nodes.push(json!({"op": "add", "inputs": [before, before], "id": format!("s{i}")}));
            nodes.push(json!({"op": "relu", "inputs": [format!("s{i}")], "id": i.to_string()}));
        }
        nodes.push(json!({"op": "flatten"}));
        nodes.push(json!({"op": "linear", "param": "fc"}));
        let program = program(
            nodes.into(),
            &[("c.weight", &KERNEL), ("fc.weight", &[2, 192])],
        );
        // The convolution's output is not read, so the first `relu` is stored; then every fourth, and
        // what the head reads.
        let found: Vec<Operand> = [2, 10, 18, 26, 34, 41].map(Operand::Node).into();

        assert_eq!(
            stored(&program),
            [&[Operand::Input], found.as_slice()].concat()
        );
    }

    #[test]
    fn the_source_of_a_recomputed_activation_outlives_it() {
        let weights: [(&str, &[usize]); 3] = [
            ("a.weight", &KERNEL),
            ("b.weight", &KERNEL),
            ("fc.weight", &[2, 192]),
        ];
        let nodes = json!([
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n", "id": "n"},
            {"op": "conv2d", "param": "b", "inputs": ["a"]}, {"op": "add", "inputs": ["b", "n"]},
            {"op": "gelu"}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]);
        let node = Operand::Node;
        // `b` is not read, so the sum cannot be recomputed; `gelu` reads it.
        let found = stored(&program(nodes, &weights));
        assert_eq!(found, [Operand::Input, node(0), node(3), node(5)]);

        let nodes = json!([
            {"op": "conv2d", "param": "a"}, {"op": "relu", "id": "r"},
            {"op": "add", "inputs": ["a", "r"]}, {"op": "relu", "id": "z"}, {"op": "conv2d", "param": "b", "inputs": ["a"]},
            {"op": "add", "inputs": ["b", "z"]}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]);
        let early = program(nodes, &weights);
        let plan = BackwardPlan::of(&early);
        // `z` is recomputed from `a`, which nobody but `b` reads; `z` is read at its own step.
        assert_eq!(stored(&early), [Operand::Input, node(0), node(6)]);

        assert!(plan.needed_before(4, node(0)) && !plan.needed_before(1, node(0)));
    }
}
