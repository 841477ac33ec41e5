//! What `functional` must give where the right answer is known.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    profiler::Profiler,
    symmetry::Permutation,
    tensors::{Checkpoint, HostTensor},
    testing::ResNet,
    training::{Agreement, Dataset},
    transfer::{
        FunctionalEvidence, FunctionalTrial, Method, Problem, ResumePoint, STATISTICS_SAMPLES,
        Schedule, Stores, Trajectory, TransferError,
        functional::{FittedLayer, LayerKey, LayerStore, Start},
        methods::align,
        resume_point::OnePerRun,
    },
};
use serde_json::json;

use super::{
    networks::{Network, conv8, grouped_blocks, mlp, resnet},
    transformers::{Projection, Size, language_model, transformer},
};

const SMALL: Size = Size {
    depth: 2,
    width: 16,
};

/// An old base and what it was tuned to, with inputs of the tuning.
struct Case {
    network: Network,
    base: Checkpoint,
    tuned: Checkpoint,
    inputs: Dataset,
    /// Inputs that no fit sees.
    others: Dataset,
}

/// What came of a case.
struct Outcome {
    /// Beside the old tuned model, on the other inputs.
    beside: Agreement,
    evidence: FunctionalEvidence,
}

impl Case {
    /// The tuning moves every tensor by about this share of its size.
    fn of(network: Network, samples: usize, share: f64) -> Self {
        let learner = network.learner();
        let classes = learner.classes() as i64;
        let inputs = network.data(samples, classes, 1);
        let others = network.data(64, classes, 2);

        let base = learner.with_statistics(&network.parameters(3), &inputs, STATISTICS_SAMPLES, 64);
        let tuned = base.shifted(&network.parameters(4), &network.parameters(5), share);
        let tuned = learner.with_statistics(&tuned, &inputs, STATISTICS_SAMPLES, 64);
        drop(learner);
        Self {
            network,
            base,
            tuned,
            inputs,
            others,
        }
    }

    fn transfer(&self, target: &Checkpoint) -> Outcome {
        let learner = self.network.learner();
        let symmetry = self.network.symmetry();
        let trajectory =
            Trajectory::linear(self.base.clone(), self.tuned.clone(), Schedule::Uniform, 1);
        let profiler = Profiler::new(|| 0.0);
        let problem = Problem {
            train: Some(&self.inputs),
            ..Problem::new(&learner, &symmetry, &trajectory, target, &profiler)
        };

        let found = align(Method::Functional, &problem, None, None).expect("finite models");
        let model = problem.finished(&found.transports[0], 1, 1.0);
        let evidence = found.functional.expect("the method tells what it did");
        Outcome {
            beside: self.beside(&model),
            evidence,
        }
    }

    /// A model beside the old tuned one.
    fn beside(&self, model: &Checkpoint) -> Agreement {
        let learner = self.network.learner();
        let batch = self
            .others
            .batch(&(0..self.others.len()).collect::<Vec<_>>());
        let reference = learner.predictions(&self.tuned, &batch);
        learner.predictions(model, &batch).beside(&reference)
    }
}

#[test]
fn the_same_base_gives_the_tuned_model() {
    for (name, network, most) in [
        ("mlp", mlp(&[20, 33, 17, 5]), 1e-8),
        // Statistics are estimated anew.
        (
            "resnet18",
            resnet(ResNet {
                width: 8,
                image: 16,
                ..ResNet::CIFAR
            }),
            1e-3,
        ),
        (
            "transformer",
            transformer(Projection::Grouped, SMALL, 5),
            1e-8,
        ),
        (
            "language model",
            language_model(Projection::Grouped, SMALL, true),
            1e-8,
        ),
    ] {
        let case = Case::of(network, 96, 0.3);
        let found = case.transfer(&case.base);
        let trials = &found.evidence.trials;
        let identity = trials.iter().filter(|trial| trial.start == Start::Identity);
        assert!(identity.count() == 2 && trials.len() == 4, "{name}");
        assert!(found.beside.divergence < most, "{name}: {:?}", found.beside);
        assert!(found.beside.agreement >= 0.98, "{name}: {:?}", found.beside);
    }
}

/// A network of linear layers, of which the new base's hidden units are the old ones in other
/// coordinates: the frame finds the rotation, and the layers say everything.
#[test]
fn a_rotation_of_a_linear_network_is_exact() {
    let nodes = json!([{"op": "linear", "param": "a"}, {"op": "linear", "param": "b"}]);
    let config =
        json!({"model_type": "graph", "input": {"kind": "features", "shape": [6]}, "nodes": nodes});
    let shapes = [("a.weight", vec![8, 6]), ("b.weight", vec![4, 8])];
    let network = Network::of(
        &config,
        shapes.map(|(name, shape)| (name.to_owned(), shape)),
    );
    let case = Case::of(network, 64, 0.5);

    // In the plane of the hidden units 2 and 5.
    let (sine, cosine) = 0.7f32.sin_cos();
    let mut target = case.base.clone();
    let mut first = case.base["a.weight"].f32().into_owned();
    for input in 0..6 {
        let (u, v) = (first[2 * 6 + input], first[5 * 6 + input]);
        first[2 * 6 + input] = cosine * u - sine * v;
        first[5 * 6 + input] = sine * u + cosine * v;
    }
    let mut second = case.base["b.weight"].f32().into_owned();
    for row in second.chunks_mut(8) {
        let (u, v) = (row[2], row[5]);
        row[2] = cosine * u - sine * v;
        row[5] = sine * u + cosine * v;
    }
    target.insert("a.weight", HostTensor::from_f32(vec![8, 6], first));
    target.insert("b.weight", HostTensor::from_f32(vec![4, 8], second));

    assert!(
        case.beside(&target).divergence > 0.1,
        "the tuning does something"
    );
    let found = case.transfer(&target);
    assert!(found.beside.divergence < 1e-8, "{:?}", found.beside);
    assert_eq!(found.beside.agreement, 1.0);
}

/// A base whose units stand in another order is the same function; so is nearly what is fitted to it.
#[test]
fn a_base_in_another_order_becomes_nearly_the_tuned_model() {
    for (name, network, left) in [
        ("mlp", mlp(&[20, 33, 17, 5]), 0.5),
        ("conv8", conv8([4, 4, 8, 8, 16, 16, 32, 32], 5), 0.5),
        (
            "resnet18",
            resnet(ResNet {
                width: 8,
                image: 16,
                ..ResNet::CIFAR
            }),
            0.5,
        ),
        ("convolutions in groups", grouped_blocks(2), 0.5),
        ("transformer", transformer(Projection::Fused, SMALL, 5), 0.5),
    ] {
        let case = Case::of(network, 512, 0.3);
        let symmetry = case.network.symmetry();
        let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(9));
        let target = order.apply(&symmetry, &case.base);

        let before = case.beside(&target).divergence;
        let found = case.transfer(&target);
        assert!(
            found.beside.divergence < left * before,
            "{name}: {:?} of {before}",
            found.beside
        );
    }
}

/// The same inputs, seed and models give the same bytes, whatever the threads.
#[test]
fn the_fit_does_not_depend_on_the_number_of_threads() {
    let case = Case::of(mlp(&[150, 300, 200, 5]), 400, 0.3);
    let target = case.network.parameters(8);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| case.transfer(&target).beside)
    };
    assert_eq!(run(1), run(3));
}

/// Keeps fitted layers, of which it takes so many before its run is interrupted.
#[derive(Debug, Default)]
struct KeptFits {
    layers: Mutex<BTreeMap<LayerKey, FittedLayer>>,
    trials: Mutex<Option<Vec<FunctionalTrial>>>,
    room: AtomicUsize,
    kept: AtomicUsize,
}

impl LayerStore for KeptFits {
    fn get(&self, key: LayerKey) -> Option<FittedLayer> {
        self.layers.lock().expect("no panic").get(&key).cloned()
    }

    fn put(&self, key: LayerKey, layer: FittedLayer) -> FittedLayer {
        let _ = self
            .room
            .fetch_update(Relaxed, Relaxed, |room| room.checked_sub(1));
        self.kept.fetch_add(1, Relaxed);
        self.layers
            .lock()
            .expect("no panic")
            .insert(key, layer.clone());
        layer
    }

    fn remove_run(&self, run: usize) {
        self.layers
            .lock()
            .expect("no panic")
            .retain(|key, _| key.run != run);
    }
}

impl ResumePoint<Vec<FunctionalTrial>> for KeptFits {
    fn load(&self, _: OnePerRun) -> Option<Vec<FunctionalTrial>> {
        self.trials.lock().expect("no panic").clone()
    }

    fn save(&self, _: OnePerRun, trials: &Vec<FunctionalTrial>) {
        *self.trials.lock().expect("no panic") = Some(trials.clone());
    }
}

/// Interrupted behind every layer, a fit goes on behind it, fits none again, and gives the same bytes; so
/// of a network with batch norms as of a language model.
#[test]
fn an_interrupted_fit_goes_on_behind_its_last_layer() {
    for (name, network) in [
        (
            "language model",
            language_model(
                Projection::Grouped,
                Size {
                    depth: 1,
                    width: 16,
                },
                false,
            ),
        ),
        (
            "resnet",
            resnet(ResNet {
                width: 4,
                image: 8,
                ..ResNet::CIFAR
            }),
        ),
    ] {
        let case = Case::of(network, 24, 0.3);
        let target = case.network.parameters(8);
        let learner = case.network.learner();
        let symmetry = case.network.symmetry();
        let trajectory =
            Trajectory::linear(case.base.clone(), case.tuned.clone(), Schedule::Uniform, 1);
        let profiler = Profiler::new(|| 0.0);

        let run = |kept: &KeptFits, room: usize| {
            kept.room.store(room, Relaxed);
            let go_on = |_, _| match kept.room.load(Relaxed) {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            let problem = Problem {
                train: Some(&case.inputs),
                stores: Stores {
                    layers: kept,
                    trials: kept,
                    ..Stores::IN_MEMORY
                },
                go_on: &go_on,
                ..Problem::new(&learner, &symmetry, &trajectory, &target, &profiler)
            };
            let found = align(Method::Functional, &problem, None, None)?;
            let model = problem.finished(&found.transports[0], 1, 1.0);
            Ok::<_, TransferError>((model, found.functional.expect("the method tells")))
        };
        let undisturbed = KeptFits::default();
        let (model, evidence) = run(&undisturbed, usize::MAX).expect("finite models");
        let fits = undisturbed.kept.load(Relaxed);

        let kept = KeptFits::default();
        let (mut attempts, mut ended) = (0, None);
        while ended.is_none() {
            attempts += 1;
            // A point may have several layers, one for each variant: an attempt ends behind all of them.
            ended = run(&kept, 1).ok();
            assert!(attempts <= 2 * fits, "{name}: it does not go on");
        }
        let (again, told) = ended.expect("an end");
        assert!(attempts > 5, "{name}: {attempts} attempts");
        assert_eq!(
            kept.kept.load(Relaxed),
            fits,
            "{name}: a layer was fitted again"
        );
        assert_eq!(told, evidence, "{name}");
        for (tensor, values) in model.iter() {
            assert_eq!(values.bytes(), again[tensor].bytes(), "{name}: {tensor}");
        }
    }
}
