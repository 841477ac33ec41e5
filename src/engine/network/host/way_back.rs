//! Which activations the way back reads, which of them the forward pass keeps, and for how long.

use std::collections::{HashMap, HashSet};

use super::super::{
    graph::{Graph, Node, Operand},
    op::Op,
};

/// What is so many passes over the elements away from what is kept is kept itself: a stream of sums
/// would otherwise be summed up from its beginning at every step. The end of the second residual
/// block after a convolution is six away.
const PASSES: usize = 6;

/// The activations that the way back needs.
pub(super) struct WayBack {
    /// What the forward pass keeps. What else is read is had again from these in passes over the
    /// elements.
    pub kept: HashSet<Operand>,
    /// What some node's step reads.
    read: HashSet<Operand>,
    /// The node, first in the graph and so last on the way back, that needs an activation: reads
    /// it, or reads what is had from it.
    needed: HashMap<Operand, usize>,
}

impl WayBack {
    pub fn of(graph: &Graph) -> Self {
        let mut needed = HashMap::new();
        for (position, node) in graph.nodes.iter().enumerate() {
            for operand in read(position, node) {
                needed.entry(operand).or_insert(position);
            }
        }
        let read: HashSet<Operand> = needed.keys().copied().collect();
        let mut kept = HashSet::new();
        // How many passes what is at hand is away from what is kept.
        let mut at_hand: HashMap<Operand, usize> = HashMap::new();
        let mut had_again = Vec::new();
        for operand in operands(graph) {
            let passes = had_from(graph, operand).and_then(|node| {
                let away = node.inputs.iter().map(|input| at_hand.get(input).copied());
                let most = away.collect::<Option<Vec<usize>>>()?.into_iter().max()?;
                (most < PASSES).then_some((node, most + 1))
            });
            if let Some((node, passes)) = passes {
                had_again.push((operand, &node.inputs));
                at_hand.insert(operand, passes);
            } else if read.contains(&operand) {
                kept.insert(operand);
                at_hand.insert(operand, 0);
            }
        }
        for (operand, inputs) in had_again.into_iter().rev() {
            let Some(&first) = needed.get(&operand) else { continue };
            for input in inputs {
                let earliest = needed.entry(*input).or_insert(first);
                *earliest = first.min(*earliest);
            }
        }
        Self { kept, read, needed }
    }

    /// Whether some node's step reads it.
    pub fn reads(&self, operand: Operand) -> bool {
        self.read.contains(&operand)
    }

    /// Whether a node before this one needs it.
    pub fn needed_before(&self, position: usize, operand: Operand) -> bool {
        self.needed.get(&operand).is_some_and(|&first| first < position)
    }
}

/// The input and every node's output.
pub(super) fn operands(graph: &Graph) -> impl Iterator<Item = Operand> + '_ {
    std::iter::once(Operand::Input).chain((0..graph.nodes.len()).map(Operand::Node))
}

/// The activations that a node's step reads: the inputs of whatever multiplies or selects, the
/// output of a `relu`, which tells where it let through.
pub(super) fn read(position: usize, node: &Node) -> Vec<Operand> {
    match node.op {
        Op::Relu {} => vec![Operand::Node(position)],
        Op::Add {} | Op::Flatten {} | Op::Dropout { .. } | Op::GlobalAvgPool {} => Vec::new(),
        _ => node.inputs.clone(),
    }
}

/// The node of this output, if it merely passes over the elements of its inputs.
fn had_from(graph: &Graph, operand: Operand) -> Option<&Node> {
    let Operand::Node(position) = operand else { return None };
    let node = &graph.nodes[position];
    let passes_over = matches!(
        node.op,
        Op::BatchNorm { .. } | Op::Relu {} | Op::Add {} | Op::Flatten {} | Op::Dropout { .. }
    );
    passes_over.then_some(node)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph(nodes: serde_json::Value) -> Graph {
        let config = json!({"input": {"kind": "image", "shape": [3, 8, 8]}, "nodes": nodes});
        Graph::from_document(&config).unwrap()
    }

    fn kept(graph: &Graph) -> Vec<Operand> {
        let way_back = WayBack::of(graph);
        operands(graph).filter(|operand| way_back.kept.contains(operand)).collect()
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
        assert_eq!(kept(&graph), [Operand::Input, node(0), node(3), node(6), node(10)]);
        let way_back = WayBack::of(&graph);
        // The relu at the end is had from the norm after `b` and from `x`.
        assert!(way_back.reads(node(9)) && way_back.reads(node(2)));
        assert!(!way_back.reads(node(7)) && !way_back.reads(node(8)));
        // The output of `b` until its norm is done, the relu before it until that relu is.
        assert!(way_back.needed_before(8, node(6)) && !way_back.needed_before(7, node(6)));
        assert!(way_back.needed_before(6, node(5)) && !way_back.needed_before(5, node(5)));
        assert!(way_back.needed_before(3, node(2)) && !way_back.needed_before(2, node(2)));
    }

    #[test]
    fn a_long_stream_is_kept_now_and_then() {
        let mut nodes = vec![json!({"op": "conv2d", "param": "c", "id": "0"})];
        for i in 1..=20 {
            let before = (i - 1).to_string();
            nodes.push(json!({"op": "add", "inputs": [before, before], "id": format!("s{i}")}));
            nodes.push(json!({"op": "relu", "inputs": [format!("s{i}")], "id": i.to_string()}));
        }
        nodes.push(json!({"op": "flatten"}));
        nodes.push(json!({"op": "linear", "param": "fc"}));
        let (graph, node) = (graph(nodes.into()), Operand::Node);
        // The convolution's output is not read, so the first `relu` is kept; then every fourth, and
        // what the head reads.
        let found: Vec<Operand> = [2, 10, 18, 26, 34, 41].map(node).into();
        assert_eq!(kept(&graph), [&[Operand::Input], found.as_slice()].concat());
    }

    #[test]
    fn what_is_had_from_something_outlives_it() {
        let graph = graph(json!([
            {"op": "conv2d", "param": "a"}, {"op": "batch_norm", "param": "n", "id": "n"},
            {"op": "conv2d", "param": "b", "inputs": ["a"]}, {"op": "add", "inputs": ["b", "n"]},
            {"op": "gelu"}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]));
        let node = Operand::Node;
        // `b` is not read, so the sum cannot be had again; `gelu` reads it.
        assert_eq!(kept(&graph), [Operand::Input, node(0), node(3), node(5)]);
        let early = self::graph(json!([
            {"op": "conv2d", "param": "a"}, {"op": "relu", "id": "r"},
            {"op": "add", "inputs": ["a", "r"]}, {"op": "relu", "id": "z"}, {"op": "conv2d", "param": "b", "inputs": ["a"]},
            {"op": "add", "inputs": ["b", "z"]}, {"op": "flatten"}, {"op": "linear", "param": "fc"}]));
        let way_back = WayBack::of(&early);
        // `z` is had from `a`, which nobody but `b` reads; `z` is read at its own step.
        assert_eq!(kept(&early), [Operand::Input, node(0), node(6)]);
        assert!(way_back.needed_before(4, node(0)) && !way_back.needed_before(1, node(0)));
    }
}
