//! Parameters that no output depends on.
//!
//! In a softmax over keys, what a key's bias adds to a score is the same for all keys of a query, and
//! cancels; rotary positions turn it by the key's own place, and it does not. Where it cancels the
//! bias is left to chance, and its gradient is rounding.

use std::ops::Range;

use crate::{
    network::{Graph, Node, Op, Operand},
    tensors::Signature,
};

/// Entries of biases that no output depends on, `(tensor, range)`.
pub(super) fn parameters(graph: &Graph, signature: &Signature) -> Vec<(String, Range<usize>)> {
    let readers = |node: usize| {
        let operands = graph.nodes.iter().flat_map(|reader| &reader.inputs);
        operands.filter(|operand| **operand == Operand::Node(node)).count()
    };
    let users =
        |param: &str| graph.nodes.iter().filter(|node| node.op.param() == Some(param)).count();
    let of_attention = |node: &Node| {
        let Op::Attention { rotary: None, mask, .. } = &node.op else { return None };
        let reads = &node.inputs[..node.inputs.len() - usize::from(*mask)];
        let Operand::Node(keys) = *reads.get(1).or(reads.first())? else { return None };
        let Op::Linear { param, .. } = &graph.nodes[keys].op else { return None };
        let bias = format!("{param}.bias");
        let size = signature.get(&bias)?.shape.first().copied()?;
        let alone = readers(keys) == 1 && users(param) == 1;
        let range = if reads.len() == 1 { size / 3..2 * size / 3 } else { 0..size };
        alone.then_some((bias, range))
    };
    graph.nodes.iter().filter_map(of_attention).collect()
}
