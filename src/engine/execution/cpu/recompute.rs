//! Which activations the backward pass reads, which of them the forward pass stores, and for how long.

use std::collections::{HashMap, HashSet};

use crate::network::{Graph, Node, Op, Operand};

/// An activation more than this many elementwise ops from the nearest stored one is stored too;
/// otherwise a long residual stream would be recomputed from its start at every step. The end of the
/// second residual block after a convolution is six away.
const MAX_PASSES: usize = 6;

/// The activations that the backward pass needs.
pub(super) struct BackwardPlan {
    /// What the forward pass stores. What else is read is recomputed from these by elementwise ops.
    pub stored: HashSet<Operand>,
    /// What some node's backward step reads.
    read: HashSet<Operand>,
    /// For each activation the first node in the graph, and so the last of the backward pass, that
    /// reads it or what is recomputed from it.
    needed: HashMap<Operand, usize>,
}

impl BackwardPlan {
    pub fn of(graph: &Graph) -> Self {
        let mut needed = HashMap::new();
        for (position, node) in graph.nodes.iter().enumerate() {
            for operand in read_by_backward(position, node) {
                needed.entry(operand).or_insert(position);
            }
        }
        let read: HashSet<Operand> = needed.keys().copied().collect();

        let mut stored = HashSet::new();
        // Elementwise ops between an activation and the stored ones.
        let mut distance: HashMap<Operand, usize> = HashMap::new();
        let mut recomputed = Vec::new();
        for operand in graph.operands() {
            let source = recomputed_from(graph, operand).and_then(|node| {
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
            let Some(&first) = needed.get(&operand) else { continue };
            for input in inputs {
                let earliest = needed.entry(*input).or_insert(first);
                *earliest = first.min(*earliest);
            }
        }
        Self { stored, read, needed }
    }

    /// Whether some node's backward step reads it.
    pub fn reads(&self, operand: Operand) -> bool {
        self.read.contains(&operand)
    }

    /// Whether a node before this one needs it.
    pub fn needed_before(&self, position: usize, operand: Operand) -> bool {
        self.needed.get(&operand).is_some_and(|&first| first < position)
    }
}

/// The activations that a forward pass stores for the backward pass.
pub fn stored_for_backward(graph: &Graph) -> HashSet<Operand> {
    BackwardPlan::of(graph).stored
}

/// The activations that a node's backward step reads: the inputs of whatever multiplies or selects,
/// the output of a `relu`, which tells where it let through.
pub(super) fn read_by_backward(position: usize, node: &Node) -> Vec<Operand> {
    match node.op {
        Op::Relu {} => vec![Operand::Node(position)],
        Op::Add {} | Op::Flatten {} | Op::Dropout { .. } | Op::GlobalAvgPool {} => Vec::new(),
        _ => node.inputs.clone(),
    }
}

/// The node of this output, if it is an elementwise op.
fn recomputed_from(graph: &Graph, operand: Operand) -> Option<&Node> {
    let Operand::Node(position) = operand else { return None };
    let node = &graph.nodes[position];
    let is_elementwise = matches!(
        node.op,
        Op::BatchNorm { .. } | Op::Relu {} | Op::Add {} | Op::Flatten {} | Op::Dropout { .. }
    );
    is_elementwise.then_some(node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph(nodes: serde_json::Value) -> Graph {
        let config = json!({"input": {"kind": "image", "shape": [3, 8, 8]}, "nodes": nodes});
        Graph::from_document(&config).unwrap()
    }

    fn stored(graph: &Graph) -> Vec<Operand> {
        let plan = BackwardPlan::of(graph);
        graph.operands().filter(|operand| plan.stored.contains(operand)).collect()
    }

    #[test]
    fn of_a_residual_block_only_what_convolutions_read_first_and_make() {
        let graph = graph(json!([
            {"op": "conv2d", "param": "stem"}, {"op": "batch_norm", "param": "n0"},
            {"op": "relu", "id": "x"},
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n1"}, {"op": "relu"},
            {"op": "conv2d", "param": "b"}, {"op": "batch_norm", "param": "n2", "id": "y"},
            {"op": "add", "inputs": ["y", "x"]}, {"op": "relu"},
            {"op": "global_avg_pool"}, {"op": "linear", "param": "fc"}]));
        let node = Operand::Node;
        // The input, the three convolutions' outputs and what the head reads.
        assert_eq!(stored(&graph), [Operand::Input, node(0), node(3), node(6), node(10)]);
        let plan = BackwardPlan::of(&graph);
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
        let (graph, node) = (graph(nodes.into()), Operand::Node);
        // The convolution's output is not read, so the first `relu` is stored; then every fourth, and
        // what the head reads.
        let found: Vec<Operand> = [2, 10, 18, 26, 34, 41].map(node).into();
        assert_eq!(stored(&graph), [&[Operand::Input], found.as_slice()].concat());
    }

    #[test]
    fn the_source_of_a_recomputed_activation_outlives_it() {
        let graph = graph(json!([
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n", "id": "n"},
            {"op": "conv2d", "param": "b", "inputs": ["a"]}, {"op": "add", "inputs": ["b", "n"]},
            {"op": "gelu"}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]));
        let node = Operand::Node;
        // `b` is not read, so the sum cannot be recomputed; `gelu` reads it.
        assert_eq!(stored(&graph), [Operand::Input, node(0), node(3), node(5)]);
        let early = self::graph(json!([
            {"op": "conv2d", "param": "a"}, {"op": "relu", "id": "r"},
            {"op": "add", "inputs": ["a", "r"]}, {"op": "relu", "id": "z"}, {"op": "conv2d", "param": "b", "inputs": ["a"]},
            {"op": "add", "inputs": ["b", "z"]}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]));
        let plan = BackwardPlan::of(&early);
        // `z` is recomputed from `a`, which nobody but `b` reads; `z` is read at its own step.
        assert_eq!(stored(&early), [Operand::Input, node(0), node(6)]);
        assert!(plan.needed_before(4, node(0)) && !plan.needed_before(1, node(0)));
    }
}
