//! How two bases are related, measured before anything is spent on a transfer.
//!
//! Weights alone say whether the new base is of the old one's lineage: cosines, and how many units
//! the weight-matching π leaves in their place. Data add the loss barrier on the segment between
//! the bases, and training data how well π carries one base's gradient onto the other's; either is
//! taken where somebody asks for it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{alignment::Alignment, problem::Problem, transport::Transport};
use crate::{
    profiler::Work,
    symmetry::Permutation,
    tensors::{Checkpoint, InnerProducts},
    training::{Barrier, BarrierPlan, Batch},
};

/// Samples of either kind at each point of the barrier: a diagnosis must cost less than a method.
pub const BARRIER_SAMPLES: usize = 128;

/// Cosines of two parameter sets, before any permutation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cosines {
    /// Over a layer's tensors together, by the prefix of their names; null where one side is zero.
    pub layers: Vec<(String, Option<f64>)>,
    /// Over all tensors.
    pub all: Option<f64>,
    /// Over tensors of two or more axes: scales start at one in every network, whatever its lineage.
    pub matrices: Option<f64>,
}

/// What a matching of the two bases' weights adds, and what data add to that.
#[derive(Clone, Debug, Serialize)]
pub struct Relation {
    /// Share of units that the weight-matching π leaves in their place.
    pub fixed_points: f64,
    /// Loss barrier on the segment `θ_A⁰ – θ_B⁰`; null where nobody asks for it, without data, and where a
    /// base has no head.
    pub barrier: Option<Barrier>,
    /// Cosine of `∇L(θ_A⁰)` and `∇L(θ_B⁰)`; null where nobody asks for it, without training data, and where a
    /// base has no head.
    pub gradient_cosine_at_identity: Option<f64>,
    /// Cosine of `π ∇L(θ_A⁰)` and `∇L(θ_B⁰)` by that π.
    pub gradient_cosine: Option<f64>,
}

/// What data are to add to a relation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// 25 evaluations.
    pub barrier: bool,
    /// A gradient of each base on one mini-batch.
    pub gradients: bool,
}

/// Inner products of two tensor sets, added up.
#[derive(Clone, Copy, Default)]
struct Sums(InnerProducts);

impl Sums {
    fn add(&mut self, more: InnerProducts) {
        let Self(sums) = self;
        sums.product += more.product;
        sums.squares[0] += more.squares[0];
        sums.squares[1] += more.squares[1];
    }

    fn cosine(self) -> Option<f64> {
        let InnerProducts { product, squares } = self.0;
        let norm = f64::sqrt(squares[0] * squares[1]);
        (norm > 0.0).then(|| product / norm)
    }
}

/// The cosines of the tensors named, which both sets have in the same shapes.
///
/// # Panics
/// When `b` lacks a tensor of `a`, or has it in another size.
pub fn cosines(names: &[String], a: &Checkpoint, b: &Checkpoint) -> Cosines {
    let mut layers: Vec<(String, Sums)> = Vec::new();
    let mut positions = BTreeMap::new();

    let [mut all, mut matrices] = [Sums::default(); 2];
    for name in names {
        let Some(tensor) = a.get(name) else { continue };
        let products = tensor.inner_products(&b[name]);
        let layer = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(layer, _)| layer);
        let position = *positions.entry(layer).or_insert_with(|| {
            layers.push((layer.to_owned(), Sums::default()));
            layers.len() - 1
        });

        layers[position].1.add(products);
        all.add(products);
        if tensor.shape().len() > 1 {
            matrices.add(products);
        }
    }

    let layers = layers
        .into_iter()
        .map(|(name, sums)| (name, sums.cosine()))
        .collect();
    Cosines {
        layers,
        all: all.cosine(),
        matrices: matrices.cosine(),
    }
}

/// What `weight_matching`'s alignment says, and what is wanted beside it as far as the data allow.
pub fn relation(problem: &Problem, alignment: &Alignment, wanted: Wanted) -> Relation {
    let identity = Permutation::identity(problem.symmetry);
    let last = alignment.transports.last().and_then(Transport::permutation);
    let permutation = last.unwrap_or(&identity);

    // Without a head of its own the new base has no loss.
    let has_head = problem.trajectory.head().is_empty();
    let gradients = (has_head && wanted.gradients)
        .then(|| gradients(problem))
        .flatten();
    let [at_identity, aligned] = [&identity, permutation].map(|permutation| {
        let (source, target) = gradients.as_ref()?;
        let moved = permutation.apply(problem.symmetry, source);
        let names: Vec<String> = moved.iter().map(|(name, _)| name.to_owned()).collect();
        cosines(&names, &moved, target).all
    });

    Relation {
        fixed_points: permutation.fixed_points(),
        gradient_cosine_at_identity: at_identity,
        gradient_cosine: aligned,
        barrier: (has_head && wanted.barrier)
            .then(|| barrier(problem))
            .flatten(),
    }
}

/// Both bases' gradients on the same first B training samples of a seeded draw.
fn gradients(problem: &Problem) -> Option<(Checkpoint, Checkpoint)> {
    let train = problem.train?;
    let size = problem.batch_size.min(train.len());
    let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(problem.seed);

    let drawn = rand::seq::index::sample(&mut rng, train.len(), size).into_vec();
    let batch: Batch = train.batch(&drawn);

    let [source, target] = [problem.trajectory.base(), problem.target].map(|base| {
        problem.profiler.time(Work::Gradients, || {
            problem.learner.gradient(base, &batch).parts
        })
    });
    Some((source, target))
}

/// On validation, or where there is no validation split not at all.
fn barrier(problem: &Problem) -> Option<Barrier> {
    let validation = problem.validation?;
    let positions: Vec<usize> = (0..validation.len().min(BARRIER_SAMPLES)).collect();
    let data = validation.subset(&positions);
    // Statistics read no label: without training samples the validation samples will do.
    let statistics = problem.train.unwrap_or(validation);

    let plan = BarrierPlan {
        data: &data,
        statistics,
        statistics_samples: BARRIER_SAMPLES,
        batch_size: problem.batch_size,
    };
    let (from, to) = (problem.trajectory.base(), problem.target);
    Some(problem.profiler.time(Work::Evaluation, || {
        problem.learner.barrier(from, to, &plan)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    fn model(weight: [f32; 2], bias: f32) -> Checkpoint {
        let tensor = |shape, values| HostTensor::from_f32(shape, values);
        [
            ("fc.weight".to_owned(), tensor(vec![1, 2], weight.to_vec())),
            ("fc.bias".to_owned(), tensor(vec![1], vec![bias])),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn cosines_by_hand() {
        let names = ["fc.weight".to_owned(), "fc.bias".to_owned()];
        // Weights (3, 4) and (4, 3): 24/25. With biases 5 and −5: (24 − 25)/50.
        let found = cosines(&names, &model([3.0, 4.0], 5.0), &model([4.0, 3.0], -5.0));
        assert!((found.matrices.unwrap() - 0.96).abs() < 1e-12);
        assert!((found.all.unwrap() + 0.02).abs() < 1e-12);
        assert_eq!(found.layers.len(), 1);
        assert_eq!(found.layers[0].0, "fc");
        assert!((found.layers[0].1.unwrap() + 0.02).abs() < 1e-12);
        assert_eq!(
            cosines(&names, &model([0.0; 2], 0.0), &model([1.0; 2], 1.0)).all,
            None
        );
    }
}
