//! Every method on a GPU finds what it finds on the CPU.

use std::ops::ControlFlow;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    profiler::Profiler,
    symmetry::Permutation,
    tensors::Checkpoint,
    training::{Dataset, FineTunePlan, Learner, Optimizer},
    transfer::{
        Method, Problem, STATISTICS_SAMPLES, Schedule, Trajectory,
        methods::{align, builds_on},
    },
};

use super::{apart, device};
use crate::engine::{
    networks::{Network, mlp},
    transformers::{Projection, Size, transformer},
};

const METHODS: [Method; 8] = [
    Method::Identity,
    Method::WeightMatching,
    Method::Gmt,
    Method::Fgmt,
    Method::Bico,
    Method::Theseus,
    Method::Gradfix,
    Method::Functional,
];
/// Of the transferred model, over the spread of each tensor's values.
const BOUND: f64 = 1e-3;

struct Case {
    network: Network,
    base: Checkpoint,
    tuned: Checkpoint,
    target: Checkpoint,
    train: Dataset,
}

impl Case {
    /// A new base that is the old one in another order, and not quite.
    fn of(network: Network) -> Self {
        let learner = network.learner();
        let train = network.data(96, learner.classes() as i64, 1);
        let base = learner.with_statistics(&network.parameters(2), &train, STATISTICS_SAMPLES, 32);
        let plan = FineTunePlan {
            batch_size: 32,
            ..FineTunePlan::new(Optimizer::Sgd, 4, 0.02)
        };
        let tuned = learner
            .fine_tune(&base, &train, &plan, &mut |_| ControlFlow::Continue(()))
            .checkpoint;
        let symmetry = network.symmetry();
        let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(3));
        let target = order.apply(&symmetry, &base).shifted(
            &network.parameters(4),
            &network.parameters(5),
            0.01,
        );
        drop(learner);
        Self {
            network,
            base,
            tuned,
            target,
            train,
        }
    }

    fn transferred(&self, method: Method, device: Device) -> Checkpoint {
        let Network { graph, signature } = &self.network;
        let learner = Learner::new(graph, signature, device).expect("a network");
        let symmetry = self.network.symmetry();
        let trajectory =
            Trajectory::linear(self.base.clone(), self.tuned.clone(), Schedule::Uniform, 2);
        let profiler = Profiler::new(|| 0.0);
        let problem = Problem {
            train: Some(&self.train),
            batch_size: 32,
            ..Problem::new(&learner, &symmetry, &trajectory, &self.target, &profiler)
        };

        let on = builds_on(method, Method::Fgmt, false)
            .map(|on| align(on, &problem, None, None).expect("finite models"));
        let found = align(method, &problem, on.as_ref(), None).expect("finite models");
        let last = found.transports.last().expect("a step");
        problem.finished(last, found.transports.len(), 1.0)
    }

    fn trained(&self, optimizer: Optimizer, device: Device) -> Checkpoint {
        let Network { graph, signature } = &self.network;
        let learner = Learner::new(graph, signature, device).expect("a network");
        let plan = FineTunePlan {
            batch_size: 32,
            ..FineTunePlan::new(optimizer, 3, 0.01)
        };
        learner
            .fine_tune(&self.base, &self.train, &plan, &mut |_| {
                ControlFlow::Continue(())
            })
            .checkpoint
    }

    fn compare(&self, name: &str) {
        for method in METHODS {
            let expected = self.transferred(method, Device::flex());
            let found = self.transferred(method, device());
            let (worst, tensor) = apart(&expected, &found);
            println!("{name}, {method:?}: {worst:.1e} ({tensor})");
            assert!(worst < BOUND, "{name}, {method:?}: {worst:.1e} ({tensor})");
        }
    }
}

#[test]
fn every_method_carries_a_perceptron_alike() {
    Case::of(mlp(&[6, 24, 16, 3])).compare("perceptron");
}

#[test]
fn every_method_carries_a_transformer_alike() {
    let size = Size {
        depth: 2,
        width: 16,
    };
    Case::of(transformer(Projection::Early, size, 3)).compare("transformer");
}

/// Training is SGD and AdamW by tensors of the device.
#[test]
fn training_ends_where_it_ends_on_the_cpu() {
    let case = Case::of(mlp(&[6, 24, 16, 3]));
    for optimizer in [Optimizer::Sgd, Optimizer::AdamW] {
        let expected = case.trained(optimizer, Device::flex());
        let (worst, tensor) = apart(&expected, &case.trained(optimizer, device()));
        println!("{optimizer:?}: {worst:.1e} ({tensor})");
        assert!(worst < BOUND, "{optimizer:?}: {worst:.1e} ({tensor})");
    }
}
