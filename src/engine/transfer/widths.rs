//! Networks of one family that differ in width.
//!
//! No permutation leads from 64 channels to 96. The maps of bico and theseus do, `R` `[d_A, d_B]`:
//! wherever an axis follows a permutation group it may have another length in the new base. What
//! follows none (what the network reads, what it tells apart) must agree, and so must the wiring.

use super::compatibility::Incompatible;
use crate::{
    network::{Axis, Graph, Op, Role},
    symmetry::Symmetry,
    tensors::Signature,
};

/// A network with the headers of its file, and what a message calls it.
#[derive(Clone, Copy, Debug)]
pub struct NamedNetwork<'a> {
    pub name: &'a str,
    pub graph: &'a Graph,
    pub signature: &'a Signature,
}

/// Whether `of` and `than` are one network at two widths.
///
/// # Errors
/// What differs besides channels.
pub fn compare(of: NamedNetwork, than: NamedNetwork) -> Result<(), Incompatible> {
    let mut differences = wiring(of, than);
    match Symmetry::derive(than.graph, than.signature) {
        Ok(symmetry) if differences.is_empty() => differences = shapes(of, than, &symmetry),
        Ok(_) => {}
        Err(error) => differences.push(error.to_string()),
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Incompatible::new(of.name, than.name, differences))
}

/// Inputs, task and nodes, but for the number of heads.
fn wiring(of: NamedNetwork, than: NamedNetwork) -> Vec<String> {
    let mut differences = Vec::new();
    if of.graph.input != than.graph.input || of.graph.task != than.graph.task {
        let reads = |graph: &Graph| format!("{:?} for {:?}", graph.input, graph.task);
        differences.push(format!(
            "{} reads {} and {} {}",
            of.name,
            reads(of.graph),
            than.name,
            reads(than.graph)
        ));
    }

    if of.graph.nodes.len() != than.graph.nodes.len() {
        let (here, there) = (of.graph.nodes.len(), than.graph.nodes.len());
        differences.push(format!(
            "{} has {here} nodes and {} {there}",
            of.name, than.name
        ));
        return differences;
    }

    let pairs = of.graph.nodes.iter().zip(&than.graph.nodes);
    let differ =
        pairs.filter(|(a, b)| a.inputs != b.inputs || any_heads(&a.op) != any_heads(&b.op));
    differences
        .extend(differ.map(|(a, b)| format!("{:?} stands where the other has {:?}", a.op, b.op)));

    differences
}

/// The op without what follows from its width.
fn any_heads(op: &Op) -> Op {
    match op.clone() {
        Op::Attention {
            causal,
            mask,
            rotary,
            fused,
            head_norms,
            window,
            soft_cap,
            fully_masked,
            sinks,
            position_bias,
            distances,
            mask_queries,
            cross,
            windows,
            ..
        } => Op::Attention {
            heads: 1,
            kv_heads: None,
            causal,
            mask,
            rotary,
            fused,
            head_norms,
            window,
            scale: None,
            soft_cap,
            fully_masked,
            sinks,
            position_bias,
            distances,
            mask_queries,
            cross,
            windows,
        },
        // Embeddings times the root of their width.
        Op::Scale { .. } => Op::Scale { factor: 1.0 },
        other => other,
    }
}

/// Axes that differ in length and follow no group.
fn shapes(of: NamedNetwork, than: NamedNetwork, symmetry: &Symmetry) -> Vec<String> {
    let mut differences = Vec::new();
    for (_, param) in than
        .graph
        .params()
        .filter(|(_, param)| param.role == Role::Learned)
    {
        let name = param.name.as_str();
        let (Some(here), Some(there)) = (of.signature.get(name), than.signature.get(name)) else {
            if of.signature.contains_key(name) != than.signature.contains_key(name) {
                differences.push(format!("only one of them has {name}"));
            }
            continue;
        };
        let (here, there) = (&here.shape, &there.shape);
        let pairs = here.iter().zip(there).enumerate();
        // No map leads from one number of an expert's hidden units to another.
        let is_free = |axis: usize| {
            let inside = [Axis::Hidden, Axis::HiddenPairs, Axis::Heads];
            !param
                .axes
                .get(axis)
                .is_some_and(|kind| inside.contains(kind))
                && symmetry.axes(name).any(|(member, _)| member.axis == axis)
        };
        let mut fixed = pairs.filter(|(axis, (a, b))| a != b && !is_free(*axis));
        if here.len() != there.len() || fixed.next().is_some() {
            differences.push(format!("{name} is {here:?} here and {there:?} there"));
        }
    }

    differences
}
