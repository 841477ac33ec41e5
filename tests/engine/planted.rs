//! A planted permutation: where the new base is the old one with its units reordered, the order is
//! found exactly, and the transfer is exact.

mod pictures;
mod transformers;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    profiler::Profiler,
    symmetry::{Permutation, Symmetry},
    tensors::Checkpoint,
    testing::ResNet,
    training::{Dataset, Learner},
    transfer::{
        Alpha, Candidate, Method, Problem, STATISTICS_SAMPLES, Schedule, Step, Trajectory,
        WEIGHT_ANCHOR,
        candidate::{Incumbents, Selection, select},
        methods::{align, builds_on},
    },
};

use super::{
    fixtures,
    networks::{Network, conv8, mlp, resnet},
    transformers::{ALL, Size, transformer},
};

const TIMESTEPS: usize = 2;

/// An old base and what it was tuned to, with the data of the tuning.
struct Case {
    network: Network,
    symmetry: Symmetry,
    base: Checkpoint,
    tuned: Checkpoint,
    train: Dataset,
    held: Dataset,
    batch_size: usize,
    weight_anchor: f64,
}

/// The fixtures of a folder that are called so, with twelve layers.
fn the_order_of_deepened_fixtures_is_found(folder: &str, names: &[&str]) {
    let fixtures = fixtures::all(folder);
    let deep = fixtures
        .iter()
        .filter(|fixture| names.contains(&fixture.name.as_str()));
    let mut found = 0;
    for fixture in deep {
        let case = Case::of(fixture.deepened(12), 32);
        assert!(case.network.graph.nodes.len() > 100, "{}", fixture.name);
        case.recovers_the_planted_permutation();
        found += 1;
    }

    assert_eq!(found, names.len());
}

impl Case {
    fn of(network: Network, batch_size: usize) -> Self {
        let learner = network.learner();
        let classes = learner.classes() as i64;
        let train = network.data(2 * batch_size, classes, 1);
        let held = network.data(64, classes, 2);
        let settled = |model: &Checkpoint| {
            learner.with_statistics(model, &train, STATISTICS_SAMPLES, batch_size)
        };
        let base = settled(&network.parameters(3));
        let tuned = base.shifted(&network.parameters(4), &network.parameters(5), 0.1);
        let tuned = settled(&tuned);
        let symmetry = network.symmetry();
        drop(learner);
        let weight_anchor = WEIGHT_ANCHOR;
        Self {
            network,
            symmetry,
            base,
            tuned,
            train,
            held,
            batch_size,
            weight_anchor,
        }
    }

    fn transfer(&self, learner: &Learner, target: &Checkpoint, method: Method) -> Candidate {
        let (base, tuned) = (self.base.clone(), self.tuned.clone());
        let trajectory = Trajectory::linear(base, tuned, Schedule::Uniform, TIMESTEPS);
        let ledger = Profiler::new(|| 0.0);
        let problem = Problem {
            train: Some(&self.train),
            weight_anchor: self.weight_anchor,
            batch_size: self.batch_size,
            seed: 6,
            ..Problem::new(learner, &self.symmetry, &trajectory, target, &ledger)
        };
        let on = builds_on(method, Method::Identity, false)
            .map(|on| align(on, &problem, None, None).expect("finite"));
        let alignment = align(method, &problem, on.as_ref(), None).expect("finite");
        let alpha = Alpha::Fixed(1.0);
        let selection = Selection {
            step: Step::Last,
            alpha,
            race: None,
            completes: true,
        };
        let incumbents = Incumbents::default();
        select(method, &problem, alignment, selection, incumbents).expect("not interrupted")
    }

    fn recovers_the_planted_permutation(&self) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let planted = Permutation::random(&self.symmetry, &mut rng);
        assert_ne!(
            planted,
            planted.inverse(&self.symmetry),
            "a self-inverse order would hide a wrong side"
        );
        let target = planted.apply(&self.symmetry, &self.base);
        let wanted = planted.apply(&self.symmetry, &self.tuned);
        let learner = self.network.learner();
        let predicted = learner.evaluate(&wanted, &self.held);
        for method in [Method::WeightMatching, Method::Fgmt] {
            let found = self.transfer(&learner, &target, method);
            for (index, group) in self.symmetry.groups.iter().enumerate() {
                let found = found
                    .transport
                    .permutation()
                    .expect("a permutation")
                    .sigma(index);
                let planted = planted.sigma(index);
                let right = found.iter().zip(planted).filter(|(a, b)| a == b).count();
                assert_eq!(right, group.units, "{method:?}, group {}", group.name);
            }
            for name in self.network.learned() {
                let off = relative_error(&found.model[name].f32(), &wanted[name].f32());
                assert!(off < 1e-6, "{method:?}: {name} is {off:e} off");
            }
            let result = learner.evaluate(&found.model, &self.held);
            assert_eq!(result.predictions, predicted.predictions, "{method:?}");
            assert!(
                (result.loss - predicted.loss).abs() < 1e-4 * predicted.loss,
                "{method:?}"
            );
        }
    }

    /// Where the new base has drifted too: whether the order is found, if not the tuned model.
    fn finds_the_order_of_a_drifted_copy(&self, method: Method) -> bool {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let planted = Permutation::random(&self.symmetry, &mut rng);
        let noise = [9, 10].map(|seed| self.network.parameters(seed));
        let drifted = self.base.shifted(&noise[0], &noise[1], 0.05);
        let target = planted.apply(&self.symmetry, &drifted);
        let found = self.transfer(&self.network.learner(), &target, method);
        found.transport.permutation() == Some(&planted)
    }

    /// Maps by layer amount to the planted permutation, though their activations are in f32.
    fn maps_by_layer_follow_the_planted_permutation(&self) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let planted = Permutation::random(&self.symmetry, &mut rng);
        let target = planted.apply(&self.symmetry, &self.base);
        let wanted = planted.apply(&self.symmetry, &self.tuned);
        let learner = self.network.learner();
        for method in [Method::Bico, Method::Theseus] {
            let found = self.transfer(&learner, &target, method);
            assert!(found.transport.permutation().is_none());
            for name in self.network.learned() {
                let update = |model: &Checkpoint| model[name].minus(&target[name]);
                let (found, wanted) = (update(&found.model), update(&wanted));
                let off = relative_error(&found.f32(), &wanted.f32());
                assert!(
                    off < 1e-3,
                    "{method:?}: the update of {name} is {off:e} off"
                );
            }
        }
    }

    fn returns_the_tuned_model_on_the_same_base(&self) {
        let learner = self.network.learner();
        for method in [Method::Identity, Method::WeightMatching, Method::Fgmt] {
            let found = self.transfer(&learner, &self.base, method);
            let identity = Permutation::identity(&self.symmetry);
            assert_eq!(found.transport.permutation(), Some(&identity), "{method:?}");
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

fn perceptron() -> Case {
    Case::of(mlp(&[784, 512, 256, 10]), 64)
}

fn convolutions() -> Case {
    Case::of(conv8([64, 64, 128, 128, 256, 256, 512, 512], 10), 16)
}

fn residual() -> Case {
    Case::of(
        resnet(ResNet {
            image: 16,
            ..ResNet::CIFAR
        }),
        16,
    )
}

#[test]
fn a_perceptrons_order_is_found() {
    perceptron().recovers_the_planted_permutation();
}

#[test]
fn gradients_alone_find_a_perceptrons_order() {
    Case {
        weight_anchor: 0.0,
        ..perceptron()
    }
    .recovers_the_planted_permutation();
}

/// Two samples a gradient leave most units of the network without one.
#[test]
fn weights_settle_what_few_gradients_leave_open() {
    let case = |weight_anchor| Case {
        weight_anchor,
        ..Case::of(mlp(&[784, 512, 256, 10]), 2)
    };
    case(WEIGHT_ANCHOR).recovers_the_planted_permutation();
    let alone = case(0.0);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let planted = Permutation::random(&alone.symmetry, &mut rng);
    let target = planted.apply(&alone.symmetry, &alone.base);
    let found = alone.transfer(&alone.network.learner(), &target, Method::Fgmt);
    assert_ne!(found.transport.permutation(), Some(&planted));
}

/// Figures are those of the gradients, at every step; the pair that settles the rest has its own.
#[test]
fn evidence_is_of_gradients() {
    let found = |weight_anchor: f64| {
        let case = Case {
            weight_anchor,
            ..Case::of(mlp(&[20, 12, 8, 10]), 32)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let planted = Permutation::random(&case.symmetry, &mut rng);
        let target = planted.apply(&case.symmetry, &case.base);
        case.transfer(&case.network.learner(), &target, Method::Fgmt)
    };
    let (anchored, alone) = (found(WEIGHT_ANCHOR), found(0.0));
    assert_eq!(anchored.evidence.len(), TIMESTEPS);
    let (first, other) = (&anchored.evidence[0], &alone.evidence[0]);
    assert_eq!(first.fit.bound.to_bits(), other.fit.bound.to_bits());
    assert_eq!(
        first.fit.objective_at_identity,
        other.fit.objective_at_identity
    );
    assert_eq!(other.weight_anchor, None);
    let anchor = first.weight_anchor.as_ref().expect("it takes part");
    assert!((anchor.bound / (WEIGHT_ANCHOR * first.fit.bound) - 1.0).abs() < 1e-6);
    for step in &anchored.evidence {
        assert!(
            (step.fit.objective / step.fit.bound - 1.0).abs() < 1e-4,
            "it is planted"
        );
        let cosines = step.fit.cosines.iter().zip(&step.fit.cosines_at_identity);
        let close = |(after, before): (&f64, &f64)| (after - 1.0).abs() < 1e-4 && *before < 0.9;
        assert!(cosines.clone().all(close), "{:?}", step.fit);
        assert_eq!(cosines.count(), anchored.groups.len());
    }
    let last = anchored.evidence.last().expect("there is a step");
    let by_group: Vec<f64> = anchored.groups.iter().map(|group| group.cosine).collect();
    assert_eq!(by_group, last.fit.cosines);
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
fn maps_by_layer_follow_the_order_of_a_network() {
    Case::of(mlp(&[784, 64, 32, 10]), 64).maps_by_layer_follow_the_planted_permutation();
    Case::of(conv8([4, 4, 8, 8, 16, 16, 32, 32], 10), 16)
        .maps_by_layer_follow_the_planted_permutation();
    Case::of(
        resnet(ResNet {
            width: 8,
            image: 16,
            ..ResNet::CIFAR
        }),
        16,
    )
    .maps_by_layer_follow_the_planted_permutation();
    for projection in ALL {
        Case::of(
            transformer(
                projection,
                Size {
                    depth: 2,
                    width: 16,
                },
                10,
            ),
            32,
        )
        .maps_by_layer_follow_the_planted_permutation();
    }
}
