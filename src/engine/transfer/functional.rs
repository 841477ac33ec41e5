//! `functional`: carries what the tuning did to the function, in closed form (ours).
//!
//! It needs inputs of the tuning's task and nothing else: no labels, no gradient, no trajectory. On the
//! same inputs, in graph order, with `Z` what stands at a layer's point ([`sites`]), rows = samples ×
//! positions:
//!
//! - `Q = UVᵀ` of the SVD of `(Z_A⁰ − mean)ᵀ (Z_B⁰ − mean)` ([`frame`]);
//! - `want = Z_B⁰ + (Z_A^T − Z_A⁰) Q`; at the output `want = Z_A^T`;
//! - `R = want − Z_now`, where `Z_now` is from the target as it is changed already;
//! - the layer gets the ridge solution of `R` on its present inputs ([`ridge`]).
//!
//! The old base, the old tuned model, the new base and the results walk through the graph in step
//! ([`walk`]), so that memory holds the activations around one point and the weights of one layer.

mod fitter;
mod frame;
mod ridge;
mod rows;
mod sites;
mod walk;

use serde::Serialize;

use self::{
    fitter::Fitter,
    rows::Counted,
    sites::Site,
    walk::{Lifetimes, Walk},
};
use crate::{
    execution::cpu::CpuActivation,
    network::{Graph, Op, Operand, Program},
    tensors::Checkpoint,
    training::Batch,
    transfer::error::TransferError,
};

pub use sites::Rule;

/// What a fit starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    NewBase,
    /// The new base with the old update added as it is.
    Identity,
}

impl Start {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewBase => "new_base",
            Self::Identity => "identity",
        }
    }
}

/// The four models and the inputs on which their functions are compared.
pub struct Functions<'a> {
    /// The target's; the source's network has the same nodes.
    pub graph: &'a Graph,
    pub program: &'a Program,
    pub source_program: &'a Program,
    pub old_base: &'a Checkpoint,
    pub old_tuned: &'a Checkpoint,
    pub new_base: &'a Checkpoint,
    pub inputs: &'a Batch,
    /// The output layer stays the new base's own.
    pub keeps_head: bool,
    pub seed: u64,
}

/// One way to fit, of several that share what the old models and the new base see.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// What the fit starts from: the new base, or a transfer to it.
    pub start: &'a Checkpoint,
    pub rule: Rule,
}

/// What a fit did.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub model: Checkpoint,
    pub layers: Vec<LayerFit>,
}

/// One layer of a fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerFit {
    /// Prefix of the layer's tensors.
    pub layer: String,
    pub rows: usize,
    /// The ridge, in units of the mean square of a row.
    pub factor: f64,
    /// Share of the residual's square that is left on inputs that were held back.
    pub left: f64,
}

impl Functions<'_> {
    /// Fits the layers of every variant, one after the other. `step` is asked before each point with
    /// `(done, total)`.
    ///
    /// # Errors
    /// When the caller interrupts or activations overflow.
    pub fn fit(
        &self,
        variants: &[Variant],
        step: &dyn Fn(usize, usize) -> Result<(), TransferError>,
    ) -> Result<Vec<Fitted>, TransferError> {
        let sites: Vec<Vec<Site>> =
            variants.iter().map(|variant| self.sites(variant.rule)).collect();
        let all: Vec<&Site> = sites.iter().flatten().collect();
        let lifetimes = Lifetimes::of(self.program, &held_longer(self.graph, &all));
        let input = CpuActivation::new(self.inputs.inputs.clone(), &self.inputs.sample_shape);
        let counted = Counted::of(self.graph, &input);

        let walk = |program, model: &Checkpoint| Walk::new(program, model.clone(), input.clone());
        let mut models = Models {
            old_base: walk(self.source_program, self.old_base),
            old_tuned: walk(self.source_program, self.old_tuned),
            new_base: walk(self.program, self.new_base),
        };
        let mut results: Vec<Walk> =
            variants.iter().map(|variant| walk(self.program, variant.start)).collect();
        results.iter_mut().for_each(|result| result.is_changed = true);

        let mut layers = vec![Vec::new(); variants.len()];
        for position in 0..self.graph.nodes.len() {
            step(position, self.graph.nodes.len())?;
            models.each().into_iter().chain(&mut results).for_each(|walk| walk.step(position));

            let here = |site: &&Site| site.point() == position;
            let mut wanted = None;
            for ((result, sites), layers) in results.iter_mut().zip(&sites).zip(&mut layers) {
                for site in sites.iter().filter(here) {
                    let fitter = Fitter { functions: self, counted: &counted, site };
                    let wanted = match &mut wanted {
                        Some(wanted) => &*wanted,
                        none => &*none.insert(fitter.wanted(&models)?),
                    };
                    layers.extend(fitter.fit(wanted, result));
                }
            }
            models
                .each()
                .into_iter()
                .chain(&mut results)
                .for_each(|walk| walk.release(position, &lifetimes));
        }
        let fitted = results.into_iter().zip(layers);
        Ok(fitted.map(|(result, layers)| Fitted { model: result.params, layers }).collect())
    }

    fn sites(&self, rule: Rule) -> Vec<Site> {
        let mut sites = sites::sites(self.graph, rule);
        if self.keeps_head {
            sites.retain(|site| !is_output(self.graph, site));
        }
        sites
    }
}

/// Values that one model holds at once for a sample, on its way through a fit of every layer.
pub fn held_values(graph: &Graph, program: &Program) -> usize {
    let sites = sites::sites(graph, Rule::Every);
    let all: Vec<&Site> = sites.iter().collect();
    let lifetimes = Lifetimes::of(program, &held_longer(graph, &all));

    let mut alive = vec![Operand::Input];
    let mut most = 0;
    for position in 0..program.instructions.len() {
        alive.push(Operand::Node(position));
        let sizes = alive.iter().map(|&operand| program.shape(operand).iter().product::<usize>());
        most = most.max(sizes.sum());
        alive.retain(|&operand| {
            operand == Operand::Node(position) || lifetimes.outlives(operand, position)
        });
    }
    most
}

/// Whether what stands at the layer's point is the network's output.
fn is_output(graph: &Graph, site: &Site) -> bool {
    let rest = &graph.nodes[site.point() + 1..];
    rest.iter().all(|node| matches!(node.op, Op::Dropout { .. } | Op::Flatten {}))
}

/// What a fit reads at a layer's point: its inputs, and its own output where a batch norm follows.
fn held_longer(graph: &Graph, sites: &[&Site]) -> Vec<(Operand, usize)> {
    let of_site = |site: &&Site| {
        let inputs = graph.nodes[site.layer].inputs.iter().copied();
        let also: Vec<_> = inputs.chain([Operand::Node(site.layer)]).collect();
        let point = site.point();
        also.into_iter().map(move |operand| (operand, point))
    };
    sites.iter().flat_map(of_site).collect()
}

/// The models that are not changed, in step.
struct Models<'m> {
    old_base: Walk<'m>,
    old_tuned: Walk<'m>,
    new_base: Walk<'m>,
}

impl<'m> Models<'m> {
    fn each(&mut self) -> [&mut Walk<'m>; 3] {
        [&mut self.old_base, &mut self.old_tuned, &mut self.new_base]
    }
}
