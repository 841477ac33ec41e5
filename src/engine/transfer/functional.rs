//! `functional`: carries what the tuning did to the function, in closed form (ours).
//!
//! It needs inputs of the tuning's task and nothing else: no labels, no gradient, no trajectory. On the
//! same inputs, in graph order, with `Z` what stands at a layer's point ([`sites`]), rows = samples ×
//! positions:
//!
//! - `Q = UVᵀ` of the SVD of `(Z_A⁰ − mean)ᵀ (Z_B⁰ − mean)` ([`frame`]);
//! - `want = Z_B⁰ + (Z_A^T − Z_A⁰) Q`; at the output `want = Z_A^T`;
//! - `R = want − Z_now`, where `Z_now` is from the target as it is changed already;
//! - the layer gets the ridge solution of `R` on its present inputs ([`system`]).
//!
//! The old base, the old tuned model, the new base and the results walk through the graph in step
//! ([`walks`]), so that memory holds the activations around one point and the weights of one layer. A
//! fitted layer goes to the caller's [`LayerStore`] as soon as it is made: there a later run finds it, and
//! goes on behind it.

mod apply;
mod fitter;
mod frame;
mod gram;
mod kernel;
mod layer;
mod layer_fits;
mod ridge;
mod rows;
mod sites;
mod store;
mod system;
mod vocabulary;
mod walk;
mod walks;

use serde::Serialize;

use self::{
    fitter::SharedSystem,
    layer_fits::{Common, LayerFits},
    rows::Counted,
    sites::Site,
    walk::Lifetimes,
    walks::Walks,
};
use crate::{
    network::{Graph, Op, Operand, Program, Task},
    tensors::Checkpoint,
    training::Batch,
    transfer::error::TransferError,
};

pub use rows::MAX_FITTED_VALUES;
pub use sites::Rule;
pub use store::{FittedLayer, LayerKey, LayerStore};

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
    /// Fitted tensors are rounded to the new base's dtypes as they are made, and walked with as they will
    /// be published; otherwise they are f32.
    pub rounds: bool,
    /// Where fitted layers are kept.
    pub store: &'a dyn LayerStore,
    /// Tells the fits of one store apart.
    pub run: usize,
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

/// One fit beside the old tuned model, on inputs that it has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FunctionalTrial {
    pub start: Start,
    pub rule: Rule,
    /// Share of predictions that are the old tuned model's.
    pub agreement: f64,
    /// Mean divergence from it, in nats.
    pub divergence: f64,
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
        let sites: Vec<Vec<Site>> = variants
            .iter()
            .map(|variant| self.sites(variant.rule))
            .collect();
        let all: Vec<&Site> = sites.iter().flatten().collect();
        let lifetimes = Lifetimes::of(self.program, &held_longer(self.graph, &all));
        let samples = self.inputs.clone().on_cpu(self.program);
        let counted = Counted::of(self.graph, &samples);
        let layers = LayerFits {
            functions: self,
            counted: &counted,
            walked: self.walked(&all),
        };

        let mut walks = Walks::of(self, variants, &samples);
        let mut found: Vec<PartialFit> = variants.iter().map(|_| PartialFit::default()).collect();
        for position in 0..self.graph.nodes.len() {
            step(position, self.graph.nodes.len())?;
            if position < layers.walked {
                walks.step(position);
            }

            let mut wanted = None;
            for (variant, (sites, found)) in sites.iter().zip(&mut found).enumerate() {
                for site in sites.iter().filter(|site| site.point() == position) {
                    let key = LayerKey {
                        run: self.run,
                        variant,
                        layer: site.layer,
                    };
                    let common = Common {
                        wanted: &mut wanted,
                        system: &mut found.system,
                    };
                    let layer = layers.fit(site, key, &mut walks, common)?;
                    found.layers.extend(layer.fit);
                }

                let result = walks.result(variant);
                found.system = found.system.take().filter(|shared| {
                    result.holds(shared.operand)
                        && self.is_read_behind(shared.operand, sites, position)
                });
            }
            walks.release(position, &lifetimes);
        }

        let fitted = found.into_iter().enumerate();

        Ok(fitted
            .map(|(variant, PartialFit { layers, .. })| Fitted {
                model: walks.result(variant).params.clone(),
                layers,
            })
            .collect())
    }

    /// Nodes that are walked: nobody looks at what stands behind the last point, nor at a vocabulary's logits
    /// all at once.
    fn walked(&self, sites: &[&Site]) -> usize {
        let logits = sites
            .iter()
            .find(|site| vocabulary::is_vocabulary(self, site));
        let last = sites
            .iter()
            .map(|site| site.point() + 1)
            .max()
            .unwrap_or_default();
        logits.map_or(last, |site| site.layer)
    }

    /// Whether a layer whose point comes behind a node reads an operand.
    fn is_read_behind(&self, operand: Operand, sites: &[Site], position: usize) -> bool {
        sites
            .iter()
            .filter(|site| site.point() > position)
            .any(|site| self.graph.nodes[site.layer].inputs[0] == operand)
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

    let mut alive: Vec<Operand> = program.operands().filter(|one| one.is_given()).collect();
    let mut most = 0;
    // A vocabulary's logits are never held.
    let outputs = program
        .shape(program.output())
        .last()
        .copied()
        .unwrap_or_default();
    let instructions = program.instructions.iter().rev();
    let logits = instructions
        .take_while(|last| last.output.last() == Some(&outputs))
        .count();
    let is_vocabulary = outputs >= vocabulary::LEAST_OUTPUTS;
    let walked = program.instructions.len() - if is_vocabulary { logits } else { 0 };
    for position in 0..walked {
        alive.push(Operand::Node(position));
        let sizes = alive
            .iter()
            .map(|&operand| program.shape(operand).iter().product::<usize>());
        most = most.max(sizes.sum());
        alive.retain(|&operand| {
            operand == Operand::Node(position) || lifetimes.outlives(operand, position)
        });
    }

    most
}

/// Whether what stands at the layer's point is the network's output, under a cap or not.
fn is_output(graph: &Graph, site: &Site) -> bool {
    let rest = &graph.nodes[site.point() + 1..];
    rest.iter().all(|node| {
        matches!(
            node.op,
            Op::Dropout { .. } | Op::Flatten {} | Op::Offset { .. } | Op::SoftCap { .. }
        )
    })
}

/// Whether the output may be shifted by the same for all classes: it is under no cap.
fn may_be_shifted(graph: &Graph, site: &Site) -> bool {
    let rest = &graph.nodes[site.point() + 1..];
    // Of the others each output counts by itself, and an answer's ends are chosen among the positions.
    let is_among_classes = graph.task.is_of_tokens() || graph.task == Task::Classification;
    is_among_classes
        && is_output(graph, site)
        && !rest
            .iter()
            .any(|node| matches!(node.op, Op::SoftCap { .. }))
}

/// What a fit reads at a layer's point: its inputs, and its own output where a batch norm follows.
fn held_longer(graph: &Graph, sites: &[&Site]) -> Vec<(Operand, usize)> {
    let mut held = Vec::new();
    for site in sites {
        let inputs = graph.nodes[site.layer].inputs.iter().copied();
        let read = inputs.chain([Operand::Node(site.layer)]);
        held.extend(read.map(|operand| (operand, site.point())));
    }
    held
}

/// What a variant's fit has made so far.
#[derive(Default)]
struct PartialFit {
    layers: Vec<LayerFit>,
    /// Of the rows that were read last, as long as a layer reads them again.
    system: Option<SharedSystem>,
}
