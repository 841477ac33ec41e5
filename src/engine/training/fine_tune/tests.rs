//! Training: that it learns, repeats itself and ends when told.

use burn::tensor::Device;
use serde_json::json;

use super::*;
use crate::{
    network::Graph,
    tensors::Signature,
    training::{
        Batch,
        testing::{self, network, same_signs},
    },
};

mod by_hand;
mod looks;
mod low_rank;
mod trials;

fn plan(validation: &Dataset) -> FineTunePlan<'_> {
    FineTunePlan {
        batch_size: 32,
        seed: 1,
        validation: Some(validation),
        statistics_samples: 300,
        snapshots: 4,
        ..FineTunePlan::new(Optimizer::Sgd, 40, 0.1)
    }
}

#[test]
fn both_optimisers_learn_what_is_not_linear_and_repeat_themselves() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (same_signs(1), same_signs(2));
    for (optimizer, learning_rate) in [(Optimizer::Sgd, 0.1), (Optimizer::AdamW, 0.02)] {
        let plan = FineTunePlan {
            optimizer,
            learning_rate,
            ..plan(&validation)
        };
        let mut go = |_: Event<'_>| ControlFlow::Continue(());
        let tuned = learner.fine_tune(&start, &train, &plan, &mut go);
        let last = tuned.epochs.last().unwrap();
        assert!(last.validation_accuracy.unwrap() > 0.9, "{last:?}");
        assert!(last.train_loss < 0.3 && last.train_loss < tuned.epochs[0].train_loss);
        assert_eq!((tuned.steps, tuned.end), (400, End::Finished));
        let taken: Vec<usize> = tuned.snapshots.iter().map(|(step, _)| *step).collect();
        assert_eq!(taken, [100, 200, 300, 400]);
        let again = learner.fine_tune(&start, &train, &plan, &mut go);
        for (name, tensor) in tuned.checkpoint.iter() {
            assert_eq!(tensor.bytes(), again.checkpoint[name].bytes(), "{name}");
            assert_eq!(tensor.bytes(), tuned.snapshots[3].1[name].bytes(), "{name}");
        }
    }
}

#[test]
fn it_ends_at_the_target_or_when_told() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (same_signs(1), same_signs(2));
    let target = FineTunePlan {
        stop_at: Some(0.75),
        ..plan(&validation)
    };
    let mut go = |_: Event<'_>| ControlFlow::Continue(());
    let tuned = learner.fine_tune(&start, &train, &target, &mut go);
    assert_eq!(tuned.end, End::TargetReached);
    assert!(tuned.epochs.len() < 40);
    assert!(tuned.epochs.last().unwrap().validation_accuracy.unwrap() >= 0.75);

    let mut until_three = |event: Event<'_>| match event {
        Event::Step {
            done: 3,
            total: 400,
            ..
        } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let tuned = learner.fine_tune(&start, &train, &plan(&validation), &mut until_three);
    assert_eq!(
        (tuned.steps, tuned.end, tuned.epochs.len()),
        (3, End::Interrupted, 0)
    );
    assert_ne!(
        tuned.checkpoint["a.weight"].bytes(),
        start["a.weight"].bytes()
    );
}

/// Without batch norm, whose statistics are nobody's gradient.
fn perceptron() -> (Graph, Signature) {
    let graph = testing::graph(
        &[4],
        json!([{"op":"linear","param":"a"},{"op":"gelu"},{"op":"linear","param":"b"}]),
    );
    let signature = testing::signature(&[
        ("a.weight", &[16, 4]),
        ("a.bias", &[16]),
        ("b.weight", &[2, 16]),
        ("b.bias", &[2]),
    ]);
    (graph, signature)
}

fn go(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The whole data in one batch, in the order of the epochs.
fn full_batch(data: &Dataset, epochs: usize, rate: f64) -> FineTunePlan<'static> {
    FineTunePlan {
        batch_size: data.len(),
        ..FineTunePlan::new(Optimizer::Sgd, epochs, rate)
    }
}
