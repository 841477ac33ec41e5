use burn::tensor::Device;
use serde_json::json;

use super::*;
use crate::training::{Batch, testing};
use crate::{network::Graph, tensors::Signature};

fn network() -> (Graph, Signature) {
    let graph = testing::graph(
        &[4],
        json!([{"op":"linear","param":"a"},{"op":"batch_norm","param":"n"},{"op":"relu"},
            {"op":"linear","param":"b"}]),
    );
    let signature = testing::signature(&[
        ("a.weight", &[16, 4]),
        ("a.bias", &[16]),
        ("n.running_mean", &[16]),
        ("n.running_var", &[16]),
        ("b.weight", &[2, 16]),
        ("b.bias", &[2]),
    ]);
    (graph, signature)
}

/// Whether the first two features have the same sign: not linear.
fn data(seed: u64) -> Dataset {
    let mut batch: Batch = testing::random_batch(&[4], 300, 2, seed);
    for (label, x) in batch.labels.iter_mut().zip(batch.inputs.chunks(4)) {
        *label = i64::from((x[0] > 0.0) == (x[1] > 0.0));
    }
    testing::dataset(&batch)
}

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
    let (train, validation) = (data(1), data(2));
    for (optimizer, learning_rate) in [(Optimizer::Sgd, 0.1), (Optimizer::AdamW, 0.02)] {
        let plan = FineTunePlan { optimizer, learning_rate, ..plan(&validation) };
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
    let (train, validation) = (data(1), data(2));
    let target = FineTunePlan { stop_at: Some(0.75), ..plan(&validation) };
    let mut go = |_: Event<'_>| ControlFlow::Continue(());
    let tuned = learner.fine_tune(&start, &train, &target, &mut go);
    assert_eq!(tuned.end, End::TargetReached);
    assert!(tuned.epochs.len() < 40);
    assert!(tuned.epochs.last().unwrap().validation_accuracy.unwrap() >= 0.75);

    let mut until_three = |event: Event<'_>| match event {
        Event::Step { done: 3, total: 400, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let tuned = learner.fine_tune(&start, &train, &plan(&validation), &mut until_three);
    assert_eq!((tuned.steps, tuned.end, tuned.epochs.len()), (3, End::Interrupted, 0));
    assert_ne!(tuned.checkpoint["a.weight"].bytes(), start["a.weight"].bytes());
}

#[test]
fn between_a_checkpoint_and_itself_there_is_no_barrier() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let (a, b) = (testing::random_params(&signature, 5), testing::random_params(&signature, 6));
    let data = data(1);
    let plan = super::super::barrier::BarrierPlan {
        data: &data,
        statistics: &data,
        statistics_samples: 300,
        batch_size: 100,
    };
    assert!(learner.barrier(&a, &a, &plan).height < 1e-12);
    let barrier = learner.barrier(&a, &b, &plan);
    let expected = learner.evaluate(&learner.with_statistics(&b, &data, 300, 100), &data).loss;
    assert!((barrier.losses[24] - expected).abs() < 1e-12);
    assert_eq!(barrier.losses.len(), 25);
}
