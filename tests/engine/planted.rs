//! A planted permutation: where the new base is the old one with its units reordered, the order is
//! found exactly, and the transfer is exact.

use std::{ops::ControlFlow, sync::OnceLock, time::Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::{
    engine::{
        learning::{Dataset, Learner},
        ledger::Ledger,
        network::Checkpoint,
        symmetry::{Permutation, Symmetry},
        transfer::{
            Candidate, Problem, STATISTICS_SAMPLES, Trajectory,
            candidate::{Selection, select},
            methods::align,
        },
    },
    spec::{Alpha, Head, Method, Schedule, Step},
};

use super::{
    networks::{Network, conv8, mlp, resnet},
    transformers::{ALL, CAUSAL, Projection, language_model, transformer},
};

const TIMESTEPS: usize = 2;
const CLASSES: i64 = 10;

/// An old base and what it was tuned to, with the data of the tuning.
struct Case {
    network: Network,
    symmetry: Symmetry,
    base: Checkpoint,
    tuned: Checkpoint,
    train: Dataset,
    held: Dataset,
    batch_size: usize,
}

impl Case {
    fn of(network: Network, batch_size: usize) -> Self {
        let train = network.data(2 * batch_size, CLASSES, 1);
        let held = network.data(64, CLASSES, 2);
        let learner = network.learner();
        let settled = |model: &Checkpoint| {
            learner.with_statistics(model, &train, STATISTICS_SAMPLES, batch_size)
        };
        let base = settled(&network.parameters(3));
        let tuned = base.shifted(&network.parameters(4), &network.parameters(5), 0.1);
        let tuned = settled(&tuned);
        let symmetry = network.symmetry();
        drop(learner);
        Self { network, symmetry, base, tuned, train, held, batch_size }
    }

    fn transfer(&self, learner: &Learner, target: &Checkpoint, method: Method) -> Candidate {
        let (base, tuned) = (self.base.clone(), self.tuned.clone());
        let trajectory = Trajectory::linear(base, tuned, Schedule::Uniform, TIMESTEPS);
        let ledger = Ledger::new(seconds);
        let problem = Problem {
            learner,
            symmetry: &self.symmetry,
            trajectory: &trajectory,
            target,
            head: Head::Transport,
            train: Some(&self.train),
            validation: None,
            batch_size: self.batch_size,
            seed: 6,
            ledger: &ledger,
            go_on: &|_, _| ControlFlow::Continue(()),
        };
        let alignment = align(method, &problem, None).expect("finite");
        let selection = Selection { step: Step::Last, alpha: Alpha::Fixed(1.0) };
        select(method, &problem, alignment, selection).expect("not interrupted")
    }

    fn recovers_the_planted_permutation(&self) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let planted = Permutation::random(&self.symmetry, &mut rng);
        assert_ne!(planted, planted.inverse(), "a self-inverse order would hide a wrong side");
        let target = planted.apply(&self.symmetry, &self.base);
        let wanted = planted.apply(&self.symmetry, &self.tuned);
        let learner = self.network.learner();
        let predicted = learner.evaluate(&wanted, &self.held);
        for method in [Method::WeightMatching, Method::Fgmt] {
            let found = self.transfer(&learner, &target, method);
            for (index, group) in self.symmetry.groups.iter().enumerate() {
                let (found, planted) = (found.permutation.sigma(index), planted.sigma(index));
                let right = found.iter().zip(planted).filter(|(a, b)| a == b).count();
                assert_eq!(right, group.units, "{method:?}, group {}", group.name);
            }
            for name in self.network.learned() {
                let off = relative_error(&found.model[name].f32(), &wanted[name].f32());
                assert!(off < 1e-6, "{method:?}: {name} is {off:e} off");
            }
            let result = learner.evaluate(&found.model, &self.held);
            assert_eq!(result.predictions, predicted.predictions, "{method:?}");
            assert!((result.loss - predicted.loss).abs() < 1e-4 * predicted.loss, "{method:?}");
        }
    }

    fn returns_the_tuned_model_on_the_same_base(&self) {
        let learner = self.network.learner();
        for method in [Method::Identity, Method::WeightMatching, Method::Fgmt] {
            let found = self.transfer(&learner, &self.base, method);
            assert_eq!(found.permutation, Permutation::identity(&self.symmetry), "{method:?}");
            for name in self.network.learned() {
                let same = found.model[name].bytes() == self.tuned[name].bytes();
                assert!(same, "{method:?}: {name} differs from the tuned model");
            }
        }
    }
}

/// The size of the difference over the size of what is wanted.
pub fn relative_error(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let square = |value: f32| f64::from(value).powi(2);
    let difference: f64 = found.iter().zip(wanted).map(|(a, b)| square(a - b)).sum();
    let size: f64 = wanted.iter().map(|value| square(*value)).sum();
    (difference / size.max(f64::MIN_POSITIVE)).sqrt()
}

fn seconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

fn perceptron() -> Case {
    Case::of(mlp(&[784, 512, 256, 10]), 64)
}

fn convolutions() -> Case {
    Case::of(conv8([64, 64, 128, 128, 256, 256, 512, 512], 10), 16)
}

fn residual() -> Case {
    Case::of(resnet("resnet18", (64, 3), 16), 16)
}

#[test]
fn a_perceptrons_order_is_found() {
    perceptron().recovers_the_planted_permutation();
}

#[test]
fn the_order_of_eight_convolutions_is_found() {
    convolutions().recovers_the_planted_permutation();
}

#[test]
fn the_order_of_a_residual_network_is_found() {
    residual().recovers_the_planted_permutation();
}

#[test]
fn a_perceptron_on_its_own_base_is_the_tuned_one() {
    perceptron().returns_the_tuned_model_on_the_same_base();
}

#[test]
fn convolutions_on_their_own_base_are_the_tuned_ones() {
    convolutions().returns_the_tuned_model_on_the_same_base();
}

#[test]
fn a_residual_network_on_its_own_base_is_the_tuned_one() {
    residual().returns_the_tuned_model_on_the_same_base();
}

#[test]
fn the_order_of_transformers_is_found() {
    for projection in ALL {
        for depth in [1, 12] {
            Case::of(transformer(projection, (depth, 32), 10), 32)
                .recovers_the_planted_permutation();
        }
    }
}

#[test]
fn the_order_of_language_models_is_found() {
    for projection in CAUSAL {
        for (depth, tied) in [(1, true), (1, false), (12, true)] {
            Case::of(language_model(projection, (depth, 32), tied), 32)
                .recovers_the_planted_permutation();
        }
    }
}

#[test]
fn language_models_on_their_own_base_are_the_tuned_ones() {
    for tied in [true, false] {
        Case::of(language_model(Projection::Grouped, (2, 32), tied), 32)
            .returns_the_tuned_model_on_the_same_base();
    }
}

#[test]
fn transformers_on_their_own_base_are_the_tuned_ones() {
    for projection in ALL {
        Case::of(transformer(projection, (2, 32), 10), 32)
            .returns_the_tuned_model_on_the_same_base();
    }
}
