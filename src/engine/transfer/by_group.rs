//! One α for every kind of layer in every part of the depth, in place of one for all (ours).
//!
//! One number is the wrong knob where a transfer is right in some layers and half right in others. With
//! `δ_g` the carried update restricted to group g ([`groups`]), the result is `θ_B⁰ + Σ_g α_g δ_g`. These
//! numbers are found by Gauss–Newton on the loss: with `J_g` the forward difference of the logits along
//! `δ_g`, p the softmax and y the target (of a regression `2z` and `2y`),
//!
//! `(Σ Jᵀ (diag(p) − ppᵀ) J + ρI) Δα = −Σ Jᵀ (p − y)`
//!
//! over the samples, a few rounds, each α moving by at most a trust radius. A round costs a forward pass a
//! group and one more.

pub mod groups;
mod normal_equations;

use std::ops::ControlFlow;

use faer::Mat;

use self::{groups::AlphaGroup, normal_equations::NormalEquations};
use crate::{
    network::Graph,
    tensors::{Checkpoint, solve::solve_positive},
    training::{Batch, Dataset, Learner},
};

/// Training samples of a search, at most.
pub const SAMPLES: usize = 512;
/// Rounds of Gauss–Newton, at most.
const ROUNDS: usize = 4;
/// How far an α moves in the first round.
const TRUST: f64 = 0.5;
/// Step of the forward difference; a power of two, so that it is exact.
const STEP: f64 = 1.0 / 64.0;
/// ρ, in shares of the mean of the diagonal.
const DAMPING: f64 = 1e-2;
/// Samples of a batch, times the models that see it.
const MOST_SAMPLES: usize = 1024;
/// An improvement of the loss below which no further round is made, relative.
const ENOUGH: f64 = 1e-3;

/// What is searched, and by which samples.
pub struct GroupSearch<'a> {
    pub learner: &'a Learner<'a>,
    /// `θ_B⁰`
    pub base: &'a Checkpoint,
    /// `θ_B⁰ + π(θ_A^t − θ_A⁰)`: every α is 1.
    pub carried: &'a Checkpoint,
    /// Every α at the start.
    pub start: f64,
    /// With labels.
    pub samples: &'a Dataset,
    /// Running statistics taken anew, where a network has them.
    pub restated: &'a dyn Fn(Checkpoint) -> Checkpoint,
    /// Asked before each forward pass over the samples.
    pub go_on: &'a dyn Fn() -> ControlFlow<()>,
}

/// The best point of a search.
#[derive(Clone, Debug)]
pub struct GroupAlphas {
    /// The α of each group, by name.
    pub alphas: Vec<(String, f64)>,
    pub model: Checkpoint,
    /// Mean loss of the samples at the start and at the end.
    pub loss_before: f64,
    pub loss: f64,
    pub rounds: usize,
}

/// Forward passes of a search over the groups of a graph, at most.
pub fn most_passes(graph: &Graph, samples: usize) -> usize {
    (groups::of(graph).len() + 1) * (ROUNDS + 1) * samples.min(SAMPLES)
}

impl GroupSearch<'_> {
    /// The α of each group; `None` where the caller interrupts, or nothing of the update can be scaled.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the samples, or they have no labels.
    pub fn run(&self) -> Option<GroupAlphas> {
        let mut groups = groups::of(self.learner.graph());
        groups
            .iter_mut()
            .for_each(|group| group.keep_moved(self.base, self.carried));
        groups.retain(|group| !group.params.is_empty());
        if groups.is_empty() {
            return None;
        }

        let mut best = self.look(&groups, vec![self.start; groups.len()])?;
        let (loss_before, mut radius, mut rounds) = (best.equations.loss(), TRUST, 0);
        while rounds < ROUNDS {
            rounds += 1;
            let Some(step) = best.equations.step(radius) else {
                break;
            };
            let alphas = best
                .alphas
                .iter()
                .zip(&step)
                .map(|(alpha, step)| alpha + step)
                .collect();
            let found = self.look(&groups, alphas)?;
            let (before, after) = (best.equations.loss(), found.equations.loss());
            if after >= before {
                radius *= 0.25;
                continue;
            }
            best = found;
            if before - after < ENOUGH * before {
                break;
            }
        }

        let names = groups.into_iter().map(|group| group.name);

        Some(GroupAlphas {
            loss: best.equations.loss(),
            loss_before,
            rounds,
            alphas: names.zip(best.alphas).collect(),
            model: best.model,
        })
    }

    /// Loss and derivatives at a point.
    fn look(&self, groups: &[AlphaGroup], alphas: Vec<f64>) -> Option<Point> {
        let model = (self.restated)(self.at(groups, &alphas));
        let mut beside = Vec::with_capacity(groups.len());
        for (group, alpha) in groups.iter().zip(&alphas) {
            let mut moved = model.clone();
            self.set(&mut moved, group, alpha + STEP);
            beside.push(moved);
        }

        let mut equations = NormalEquations::new(groups.len());
        for batch in self.batches(groups.len() + 1) {
            if (self.go_on)().is_break() {
                return None;
            }
            let at = self.learner.predict(&model, &batch);
            let moved: Vec<Vec<f32>> = beside
                .iter()
                .map(|model| self.learner.predict(model, &batch))
                .collect();
            equations.add(self.learner.loss(), &at, &moved, &batch.labels);
        }

        Some(Point {
            alphas,
            model,
            equations,
        })
    }

    /// Batches whose logits, so many times over, are of bounded size.
    fn batches(&self, times: usize) -> impl Iterator<Item = Batch> + '_ {
        let (learner, size) = (self.learner, self.samples.size());
        let logits = learner.logits_batch_size(size).min(MOST_SAMPLES) / times;
        let size = logits.min(learner.device_batch_size(size)).max(1);
        (0..self.samples.len()).step_by(size).map(move |start| {
            let end = (start + size).min(self.samples.len());
            self.samples.batch(&(start..end).collect::<Vec<_>>())
        })
    }

    fn at(&self, groups: &[AlphaGroup], alphas: &[f64]) -> Checkpoint {
        let mut model = self.carried.clone();
        for (group, alpha) in groups.iter().zip(alphas) {
            self.set(&mut model, group, *alpha);
        }
        model
    }

    fn set(&self, model: &mut Checkpoint, group: &AlphaGroup, alpha: f64) {
        for name in &group.params {
            if let (Some(base), Some(carried)) = (self.base.get(name), self.carried.get(name)) {
                model.insert(name.clone(), base.shifted(base, carried, alpha));
            }
        }
    }
}

/// What is known at one point.
struct Point {
    alphas: Vec<f64>,
    model: Checkpoint,
    equations: NormalEquations,
}

impl NormalEquations {
    /// The Gauss–Newton step, no α further than the radius; `None` where there is none.
    fn step(&self, radius: f64) -> Option<Vec<f64>> {
        let size = self.gradient.len();
        let trace: f64 = (0..size).map(|g| self.hessian[g * size + g]).sum();
        if trace <= 0.0 {
            return None;
        }
        let damping = DAMPING * trace / size as f64;
        let matrix = Mat::from_fn(size, size, |row, column| {
            let diagonal = if row == column { damping } else { 0.0 };
            self.hessian[row * size + column] + diagonal
        });
        let right = Mat::from_fn(size, 1, |row, _| -self.gradient[row]);
        let step = solve_positive(matrix, right.as_ref())?;

        let longest = (0..size).fold(0.0f64, |most, g| most.max(step[(g, 0)].abs()));
        if !longest.is_finite() || longest <= 0.0 {
            return None;
        }
        let scale = (radius / longest).min(1.0);

        Some((0..size).map(|g| scale * step[(g, 0)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::{tensors::HostTensor, training::testing};

    /// The update of one layer is carried right, that of the other the wrong way round: the first keeps
    /// its α, the second loses it.
    #[test]
    #[expect(
        clippy::too_many_lines,
        reason = "one case from its models to its result"
    )]
    fn a_layer_that_is_carried_wrongly_loses_its_alpha() {
        let nodes =
            json!([{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}]);
        let graph = testing::graph(&[6], nodes);
        let shapes: &[(&str, &[usize])] = &[
            ("a.weight", &[12, 6]),
            ("a.bias", &[12]),
            ("b.weight", &[3, 12]),
            ("b.bias", &[3]),
        ];
        let signature = testing::signature(shapes);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let base = testing::random_params(&signature, 1);
        let right = testing::random_params(&signature, 2);

        // What the right model predicts is the truth.
        let batch = testing::random_batch(&[6], 300, 3, 4);
        let inputs = HostTensor::from_f32(vec![300, 6], batch.inputs);
        let unlabelled = Dataset::unlabelled(inputs);
        let truth = crate::training::Runnable {
            learner: &learner,
            params: &right,
        };
        let labels = truth
            .labels(&unlabelled, &|| ControlFlow::Continue(()))
            .unwrap();
        let samples = unlabelled.labelled(labels);

        let mut carried = right.clone();
        for name in ["a.weight", "a.bias"] {
            // θ − (right − θ)
            carried.insert(name, base[name].shifted(&right[name], &base[name], 1.0));
        }
        let search = GroupSearch {
            learner: &learner,
            base: &base,
            carried: &carried,
            start: 1.0,
            samples: &samples,
            restated: &|model| model,
            go_on: &|| ControlFlow::Continue(()),
        };
        let found = search.run().unwrap();
        let before = learner.evaluate(&carried, &samples);
        let after = learner.evaluate(&found.model, &samples);
        assert!(
            (before.loss - found.loss_before).abs() < 1e-6,
            "{}",
            found.loss_before
        );
        assert!((after.loss - found.loss).abs() < 1e-6, "{}", found.loss);
        assert!(
            after.loss < 0.7 * before.loss,
            "{} of {}",
            after.loss,
            before.loss
        );
        let [(_, wrong), (_, kept)] = &found.alphas[..] else {
            panic!("{:?}", found.alphas)
        };
        assert!(wrong < &0.3 && kept > &0.5, "{:?}", found.alphas);

        let stopped = GroupSearch {
            go_on: &|| ControlFlow::Break(()),
            ..search
        };

        assert!(stopped.run().is_none());
    }

    #[test]
    fn where_nothing_moved_nothing_is_scaled() {
        let graph = testing::graph(&[3], json!([{"op": "linear", "param": "fc"}]));
        let signature = testing::signature(&[("fc.weight", &[4, 3])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let base = testing::random_params(&signature, 1);
        let samples = testing::dataset(&testing::random_batch(&[3], 8, 4, 2));
        let search = GroupSearch {
            learner: &learner,
            base: &base,
            carried: &base,
            start: 1.0,
            samples: &samples,
            restated: &|model| model,
            go_on: &|| ControlFlow::Continue(()),
        };

        assert!(search.run().is_none());
    }
}
