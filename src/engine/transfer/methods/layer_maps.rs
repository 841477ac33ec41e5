//! `bico` (arXiv 2605.28444) and `theseus` (ICML 2026): orthogonal maps, layer by layer, from what
//! the layers of the two bases see on the same samples.
//!
//! At a place of the graph `C = X_Aᵀ X_B` (rows are samples × positions, uncentred, f64) has the
//! thin decomposition `U S Vᵀ`, and `R = U Vᵀ` is the orthogonal map closest to it. A weight
//! `[out, in]` becomes `R_outᵀ τ R_in`, with `R_in` from the layer's inputs and `R_out` from the
//! gradients of its outputs (bico) or the outputs themselves (theseus, no labels); norm scales
//! become `(R∘R)ᵀ τ`. Where the samples do not span a layer, a small multiple of the weight-matching
//! π decides what they leave open. Between bases of different widths there is no such π: what no
//! sample shows is then not carried over.

mod orthogonal;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use faer::Mat;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    network::{Axis, Graph, Op, Operand, ParamUse, Role},
    profiler::Work,
    symmetry::Permutation,
    training::{CrossCovariances, Place},
    transfer::{
        alignment::Alignment,
        error::TransferError,
        evidence::MapEvidence,
        maps::Maps,
        problem::{Problem, STATISTICS_SAMPLES},
        transport::Transport,
    },
};
use orthogonal::{LeftOpen, orthogonal_map};

/// What the map of a layer's outputs is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// The gradients of the loss: bico.
    Gradients,
    /// What the layer puts out: theseus.
    Activations,
}

/// The maps of one method.
///
/// # Errors
/// When the caller interrupts or values overflow; without training data.
pub fn align(
    problem: &Problem,
    outputs: Outputs,
    weight_matching: Option<&Alignment>,
) -> Result<Alignment, TransferError> {
    let uses = mapped_axes(problem, outputs);
    let mut places: Vec<Place> = uses.iter().map(|u| u.place).collect();
    places.sort_unstable_by_key(|place| format!("{place:?}"));
    places.dedup();
    let placed = weight_matching.and_then(|found| found.transports.last());
    let permutation = placed.and_then(Transport::permutation);
    let (products, samples) = products(problem, placed, &places)?;

    let mut found: HashMap<Place, Mat<f64>> = HashMap::new();
    let mut evidence = MapEvidence {
        samples,
        maps: 0,
        completed: 0,
    };
    let mut maps = Maps::default();

    for one in &uses {
        let map = match found.entry(one.place) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                problem.step(evidence.maps, places.len())?;
                let open = one.left_open(problem, permutation);
                let (map, completed) = problem.profiler.time(Work::Assignment, || {
                    orthogonal_map(products.get(one.place), &open)
                })?;
                evidence.maps += 1;
                evidence.completed += usize::from(completed);
                entry.insert(map)
            }
        };
        let map = if one.squared {
            square(map)
        } else {
            map.clone()
        };
        maps.insert(&one.tensor, one.axis, map);
    }

    let transport = Transport::from(Arc::new(maps));

    Ok(Alignment {
        transports: vec![transport; problem.trajectory.timesteps()],
        maps: Some(evidence),
        ..Alignment::default()
    })
}

/// An axis of a tensor and where its map comes from.
struct MappedAxis {
    tensor: String,
    axis: usize,
    place: Place,
    /// A scale per channel: `(R∘R)ᵀ τ`.
    squared: bool,
}

impl MappedAxis {
    /// By weight matching, where there is one.
    fn left_open(&self, problem: &Problem, permutation: Option<&Permutation>) -> LeftOpen {
        let [from, to] = [problem.trajectory.base(), problem.target]
            .map(|model| model[&self.tensor].shape()[self.axis]);
        match permutation {
            Some(permutation) => {
                let (symmetry, tensor) = (problem.symmetry, &self.tensor);
                LeftOpen::Matched(permutation.sources(symmetry, tensor, self.axis, to))
            }
            None => LeftOpen::Nothing { from, to },
        }
    }
}

/// The axes that follow a permutation group; the others keep their coordinates. A tied tensor is
/// mapped as its first reader has it.
fn mapped_axes(problem: &Problem, outputs: Outputs) -> Vec<MappedAxis> {
    let graph = problem.learner.graph();
    let mut uses: Vec<MappedAxis> = Vec::new();
    let mut seen: Vec<String> = Vec::new();

    for (node, param) in graph.params() {
        let is_new = param.role == Role::Learned && !seen.contains(&param.name);
        if !is_new || problem.target.get(&param.name).is_none() {
            continue;
        }
        seen.push(param.name.clone());
        for (axis, kind) in param.axes.iter().enumerate() {
            let is_free = problem
                .symmetry
                .axes(&param.name)
                .any(|(m, _)| m.axis == axis);
            let place = match kind {
                Axis::Input => Place::Activation(graph.nodes[node].inputs[0]),
                Axis::Output => output(graph, node, outputs),
                // Nobody looks inside an expert, or at heads: they keep their coordinates.
                Axis::Hidden | Axis::HiddenPairs | Axis::Heads | Axis::Fixed => continue,
            };
            if is_free {
                let squared = is_scale(&graph.nodes[node].op, &param);
                uses.push(MappedAxis {
                    tensor: param.name.clone(),
                    axis,
                    place,
                    squared,
                });
            }
        }
    }

    uses
}

/// Where a node's outputs are looked at. The rows of a table of positions or token types are few
/// or the same for every sample: they are looked at in the sum that they enter.
fn output(graph: &Graph, node: usize, outputs: Outputs) -> Place {
    let at = match graph.nodes[node].op {
        Op::PositionEmbedding { .. } | Op::TokenTypeEmbedding { .. } => graph
            .nodes
            .iter()
            .position(|reader| {
                matches!(reader.op, Op::Add {}) && reader.inputs.contains(&Operand::Node(node))
            })
            .unwrap_or(node),
        _ => node,
    };

    match outputs {
        Outputs::Gradients => Place::Gradient(at),
        Outputs::Activations => Place::Activation(Operand::Node(at)),
    }
}

fn is_scale(op: &Op, param: &ParamUse) -> bool {
    let scales = matches!(
        op,
        Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::GlobalResponseNorm { .. }
            | Op::RmsNorm { .. }
            | Op::LayerScale { .. }
    );
    scales && !is_bias(&param.name)
}

fn is_bias(name: &str) -> bool {
    name.rsplit('.').next() == Some("bias")
}

/// The products at the two bases on the same samples, and how many these were.
fn products(
    problem: &Problem,
    placed: Option<&Transport>,
    places: &[Place],
) -> Result<(CrossCovariances, usize), TransferError> {
    let train = problem.training_samples()?;
    let samples = STATISTICS_SAMPLES.min(train.len());
    let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
    let positions = index::sample(&mut rng, train.len(), samples).into_vec();
    let batches: Vec<&[usize]> = positions.chunks(problem.batch_size).collect();

    // The target as it is, but for a head that is the source's.
    let target = placed.map(|placed| problem.carried(placed, 0, 1.0));
    let target = target.as_ref().unwrap_or(problem.target);

    let mut products = CrossCovariances::default();
    for (done, positions) in batches.iter().enumerate() {
        problem.step(done, batches.len())?;
        let batch = train.batch(positions);
        problem.profiler.time(Work::Gradients, || {
            let source = problem
                .source()
                .layer_rows(problem.trajectory.base(), &batch, places);
            products.add(&source, &problem.learner.layer_rows(target, &batch, places));
        });
    }

    Ok((products, samples))
}

fn square(map: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(map.nrows(), map.ncols(), |i, j| map[(i, j)] * map[(i, j)])
}
