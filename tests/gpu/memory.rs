//! A device holds no more than it may, and batches are as large as that lets them be.

use retune::engine::{
    testing::ResNet,
    training::{DeviceMemory, DeviceNeeds, Learner},
};

use super::{apart, device};
use crate::engine::networks::{Network, mlp, resnet};

/// Pages of the device's pools are not full, and kernels are given space of their own.
const SLACK: f64 = 2.0;
/// What a pool takes at once.
const PAGE_BYTES: f64 = 64e6;

/// Bytes of tensors, and of the pages that they lie in.
fn held() -> [f64; 2] {
    let usage = device().memory_pool_usage().expect("a device with pools");
    [usage.bytes_in_use as f64, usage.bytes_reserved as f64]
}

fn images() -> Network {
    resnet(ResNet {
        name: "resnet18",
        width: 8,
        kernel: 3,
        image: 32,
    })
}

#[test]
fn small_batches_give_what_large_ones_give() {
    let network = mlp(&[6, 24, 16, 3]);
    let Network { graph, signature } = &network;
    let data = network.data(64, 3, 1);
    let params = network.parameters(2);
    let needs = DeviceNeeds::of(&graph.resolve(signature).expect("a network"), signature, 1);
    let whole = Learner::new(graph, signature, device()).expect("a network");
    let in_parts = Learner::new(graph, signature, device())
        .expect("a network")
        .within(DeviceMemory {
            bytes: needs.training,
            ..DeviceMemory::default()
        });

    let (one, other) = (
        whole.evaluate(&params, &data),
        in_parts.evaluate(&params, &data),
    );
    assert!((one.loss - other.loss).abs() < 1e-5);
    assert_eq!(one.predictions, other.predictions);

    let batch = data.batch(&(0..64).collect::<Vec<_>>());
    let (one, other) = (
        whole.gradient(&params, &batch),
        in_parts.gradient(&params, &batch),
    );
    assert!(apart(&one.parts, &other.parts).0 < 1e-4);
}

/// Nothing of a model stays once it has been used.
#[test]
fn nothing_is_kept() {
    let network = images();
    let Network { graph, signature } = &network;
    let data = network.data(64, 10, 1);
    let params = network.parameters(2);
    let learner = Learner::new(graph, signature, device()).expect("a network");
    let batch = data.batch(&(0..32).collect::<Vec<_>>());

    let _ = learner.gradient(&params, &batch);
    let [before, _] = held();
    for _ in 0..3 {
        let _ = learner.gradient(&params, &batch);
        let _ = learner.evaluate(&params, &data);
    }
    let [after, _] = held();
    println!("{before:.0} bytes, then {after:.0}");
    assert!(after <= before + 1e6);
}

/// What the plan says of a training bounds what the device takes.
#[test]
fn a_gradient_takes_no_more_than_was_planned() {
    let network = images();
    let Network { graph, signature } = &network;
    let params = network.parameters(2);
    let learner = Learner::new(graph, signature, device()).expect("a network");
    let program = graph.resolve(signature).expect("a network");
    device().memory_cleanup();
    let [_, before] = held();

    let samples = 96;
    let data = network.data(samples, 10, 1);
    let _ = learner.gradient(&params, &data.batch(&(0..samples).collect::<Vec<_>>()));

    let [_, after] = held();
    let planned = DeviceNeeds::of(&program, signature, samples).training as f64;
    println!(
        "{:.1e} bytes were planned, {:.1e} taken",
        planned,
        after - before
    );
    assert!(after - before <= SLACK * planned + PAGE_BYTES);
}
