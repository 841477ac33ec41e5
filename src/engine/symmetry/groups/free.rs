//! Parameters that no output depends on.
//!
//! In a softmax over keys, what a key's bias adds to a score is the same for all keys of a query, and
//! cancels; rotary positions turn it by the key's own place, and it does not. Where it cancels the
//! bias is left to chance, and its gradient is rounding.

use std::ops::Range;

use crate::network::{
    Instruction, Layer, Operand, Program,
    op::FusedOrder,
    program::layer::{Attention, Linear},
};

/// Entries of biases that no output depends on, `(tensor, range)`.
pub(super) fn parameters(program: &Program) -> Vec<(String, Range<usize>)> {
    let keys: Vec<Keys> = program
        .instructions
        .iter()
        .filter_map(|node| Keys::of(program, node))
        .collect();
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    for one in &keys {
        // Layers that share their parameters are read by as many attentions.
        let alike = keys.iter().filter(|other| *other == one).count();
        let entry = (one.bias.to_owned(), one.range.clone());
        if alike == users(program, one.weight) && !found.contains(&entry) {
            found.push(entry);
        }
    }
    found
}

/// The layer of an attention's keys, which nobody else reads.
#[derive(PartialEq, Eq)]
struct Keys<'a> {
    weight: &'a str,
    bias: &'a str,
    /// Of the bias.
    range: Range<usize>,
}

impl<'a> Keys<'a> {
    /// Where what is the same for all keys of a query cancels.
    fn of(program: &'a Program, node: &Instruction) -> Option<Self> {
        let Layer::Attention(attention) = &node.layer else {
            return None;
        };
        // A norm and a cap are no sums: what is the same for all keys does not cancel behind them. A sink is
        // a key that the bias is not added to, and keys meet distances that differ.
        let Attention {
            rotary: None,
            head_norms: None,
            soft_cap: None,
            sinks: None,
            distances: None,
            mask,
            ..
        } = attention
        else {
            return None;
        };
        let is_fused = node.inputs.rest.len() == usize::from(*mask);
        let keys = if is_fused {
            Some(&node.inputs.first)
        } else {
            node.inputs.rest.first()
        };
        let Operand::Node(keys) = *keys? else {
            return None;
        };

        let Layer::Linear(Linear {
            weight,
            bias: Some(bias),
            ..
        }) = &program.instructions[keys].layer
        else {
            return None;
        };
        if readers(program, keys) != 1 {
            return None;
        }

        let [queries, of_keys, _] = attention.widths();
        let range = match (is_fused, attention.fused) {
            (true, FusedOrder::Parts) => queries..queries + of_keys,
            // The keys of each head apart.
            (true, FusedOrder::Heads) => return None,
            (false, _) => 0..bias.len(),
        };
        Some(Self {
            weight: &weight.name,
            bias: &bias.name,
            range,
        })
    }
}

/// How often a node's output is read.
fn readers(program: &Program, node: usize) -> usize {
    let operands = program
        .instructions
        .iter()
        .flat_map(|reader| reader.inputs.iter());
    operands
        .filter(|operand| **operand == Operand::Node(node))
        .count()
}

/// How many nodes read a tensor.
fn users(program: &Program, name: &str) -> usize {
    program.params().filter(|param| param.name == name).count()
}
