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
        evidence::MapEvidence,
        maps::Maps,
        problem::{Problem, STATISTICS_SAMPLES, TransferError},
        transport::Transport,
    },
};

/// What the map of a layer's outputs is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// The gradients of the loss: bico.
    Gradients,
    /// What the layer puts out: theseus.
    Activations,
}

/// Weight of the weight-matching π beside the largest singular value, and the share of it below
/// which a singular value counts as not determined.
const COMPLETION_WEIGHT: f64 = 1e-6;

/// The maps of one method.
///
/// # Errors
/// When the caller interrupts or values overflow.
///
/// # Panics
/// Without training data.
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
    let mut evidence = MapEvidence { samples, maps: 0, completed: 0 };
    let mut maps = Maps::default();

    for one in &uses {
        let map = match found.entry(one.place) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                problem.step(evidence.maps, places.len())?;
                let open = one.left_open(problem, permutation);
                let (map, completed) = problem
                    .ledger
                    .time(Work::Assignment, || orthogonal_map(products.get(one.place), &open))?;
                evidence.maps += 1;
                evidence.completed += usize::from(completed);
                entry.insert(map)
            }
        };
        let map = if one.squared { square(map) } else { map.clone() };
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

/// What a map does where no sample says anything.
enum LeftOpen {
    /// Entry `j` of the target's axis receives the source's entry `sources[j]`.
    Matched(Vec<usize>),
    /// Nothing is carried from the `from` entries of the source to the `to` of the target.
    Nothing { from: usize, to: usize },
}

impl LeftOpen {
    fn map(&self) -> Mat<f64> {
        match self {
            Self::Matched(sources) => {
                let mut matrix = Mat::zeros(sources.len(), sources.len());
                sources.iter().enumerate().for_each(|(j, &i)| matrix[(i, j)] = 1.0);
                matrix
            }
            Self::Nothing { from, to } => Mat::zeros(*from, *to),
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
            let is_free = problem.symmetry.axes(&param.name).any(|(m, _)| m.axis == axis);
            let place = match kind {
                Axis::Input => Place::Activation(graph.nodes[node].inputs[0]),
                Axis::Output => output(graph, node, outputs),
                Axis::Fixed => continue,
            };
            if is_free {
                let squared = is_scale(&graph.nodes[node].op, &param);
                uses.push(MappedAxis { tensor: param.name.clone(), axis, place, squared });
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
        Op::BatchNorm { .. } | Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::LayerScale { .. }
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
    let train = problem.train.expect("a checked specification gives the maps data");
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
        problem.ledger.time(Work::Gradients, || {
            let source = problem.source().layer_rows(problem.trajectory.base(), &batch, places);
            products.add(&source, &problem.learner.layer_rows(target, &batch, places));
        });
    }
    Ok((products, samples))
}

/// `U Vᵀ` of `C`, and whether `C` left something open.
fn orthogonal_map(
    product: Option<&Mat<f64>>,
    open: &LeftOpen,
) -> Result<(Mat<f64>, bool), TransferError> {
    let Some(product) = product else { return Ok((open.map(), true)) };
    let svd = product.thin_svd().map_err(|_| TransferError::NoSingularValues)?;

    let values = svd.S().column_vector();
    let (largest, smallest) = (values[0], values[values.nrows() - 1]);
    if largest == 0.0 {
        return Ok((open.map(), true));
    }
    if smallest > COMPLETION_WEIGHT * largest {
        return Ok((svd.U() * svd.V().transpose(), false));
    }
    if let LeftOpen::Nothing { .. } = open {
        let seen = values.iter().filter(|value| **value > COMPLETION_WEIGHT * largest).count();
        let (left, right) = (svd.U().subcols(0, seen), svd.V().subcols(0, seen));
        return Ok((left * right.transpose(), true));
    }
    let completed = product + open.map() * faer::Scale(COMPLETION_WEIGHT * largest);
    let svd = completed.thin_svd().map_err(|_| TransferError::NoSingularValues)?;
    Ok((svd.U() * svd.V().transpose(), true))
}

fn square(map: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(map.nrows(), map.ncols(), |i, j| map[(i, j)] * map[(i, j)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_found_and_scale_is_not_its_business() {
        let (s, c) = 0.3f64.sin_cos();
        let product = Mat::from_fn(2, 2, |i, j| 5.0 * [[c, s], [-s, c]][i][j]);
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Matched(vec![0, 1])).unwrap();
        assert!(!completed);
        for ((i, j), expected) in [((0, 0), c), ((0, 1), s), ((1, 0), -s), ((1, 1), c)] {
            assert!((map[(i, j)] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn what_no_sample_shows_goes_by_weight_matching() {
        // The samples show that the source's channel 2 is the target's 0, and nothing else.
        let mut product = Mat::zeros(3, 3);
        product[(2, 0)] = 7.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Matched(vec![2, 0, 1])).unwrap();
        assert!(completed);
        for (i, j) in [(2, 0), (0, 1), (1, 2)] {
            assert!((map[(i, j)] - 1.0).abs() < 1e-9, "{map:?}");
        }
        let overflown = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(orthogonal_map(Some(&overflown), &LeftOpen::Matched(vec![0, 1])).is_err());
    }

    #[test]
    fn between_widths_only_what_samples_show_is_carried() {
        // Two channels to three: the first becomes the target's second, of the other nothing is seen.
        let mut product = Mat::zeros(2, 3);
        product[(0, 1)] = 4.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Nothing { from: 2, to: 3 }).unwrap();
        assert!(completed);
        let expected = Mat::from_fn(2, 3, |i, j| f64::from(u8::from((i, j) == (0, 1))));
        assert!((&map - &expected).norm_max() < 1e-12, "{map:?}");
        // Both are seen: an isometry into the wider space.
        product[(1, 0)] = 2.0;
        product[(1, 2)] = 2.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Nothing { from: 2, to: 3 }).unwrap();
        assert!(!completed);
        let gram = &map * map.transpose();
        assert!((&gram - Mat::<f64>::identity(2, 2)).norm_max() < 1e-12, "{map:?}");
        assert!((map[(1, 0)] - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
