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
    let (train, validation) = (data(1), data(2));
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

#[test]
fn between_a_checkpoint_and_itself_there_is_no_barrier() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let (a, b) = (
        testing::random_params(&signature, 5),
        testing::random_params(&signature, 6),
    );
    let data = data(1);
    let plan = super::super::barrier::BarrierPlan {
        data: &data,
        statistics: &data,
        statistics_samples: 300,
        batch_size: 100,
    };
    assert!(learner.barrier(&a, &a, &plan).height < 1e-12);
    let barrier = learner.barrier(&a, &b, &plan);
    let expected = learner
        .evaluate(&learner.with_statistics(&b, &data, 300, 100), &data)
        .loss;
    assert!((barrier.losses[24] - expected).abs() < 1e-12);
    assert_eq!(barrier.losses.len(), 25);
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

fn assert_close(found: &Checkpoint, expected: &Checkpoint) {
    for (name, tensor) in expected.iter() {
        let off = found[name].minus(tensor);
        assert!(
            off.inner(&off).sqrt() < 1e-5 * tensor.inner(tensor).sqrt(),
            "{name}"
        );
    }
}

#[test]
fn a_clipped_step_by_hand() {
    let (graph, signature) = perceptron();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let (start, data) = (testing::random_params(&signature, 5), data(1));
    let gradient = learner.gradient(&start, &data.batch(&(0..data.len()).collect::<Vec<_>>()));
    let norm = gradient.parts.norm();
    let zero = gradient.parts.scaled(0.0);
    for (clip, factor) in [(norm / 4.0, 0.25), (2.0 * norm, 1.0)] {
        let plan = FineTunePlan {
            clip: Some(clip),
            ..full_batch(&data, 1, 0.5)
        };
        let tuned = learner.fine_tune(&start, &data, &plan, &mut go);
        // θ − rate · factor · g; 1e-6 beside the norm is below what is compared.
        assert_close(
            &tuned.checkpoint,
            &start.shifted(&zero, &gradient.parts, -0.5 * factor),
        );
    }
}

#[test]
fn the_pull_by_hand() {
    let (graph, signature) = perceptron();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let (start, data) = (testing::random_params(&signature, 5), data(1));
    let all: Vec<usize> = (0..data.len()).collect();
    let plan = FineTunePlan {
        pull: 2.0,
        ..full_batch(&data, 2, 0.1)
    };
    let tuned = learner.fine_tune(&start, &data, &plan, &mut go);

    // At the start nothing pulls; the second step has half the rate and half the pull.
    let first = learner.gradient(&start, &data.batch(&all)).parts;
    let zero = first.scaled(0.0);
    let middle = start.shifted(&zero, &first, -0.1);
    let second = learner.gradient(&middle, &data.batch(&all)).parts;
    // v = 0.9 g₁ + g₂ + 2 · 1 · (θ₁ − θ₀), and θ₁ − θ₀ = −0.1 g₁.
    let velocity = second.shifted(&zero, &first, 0.9 - 2.0 * 0.1);
    assert_close(&tuned.checkpoint, &middle.shifted(&zero, &velocity, -0.05));

    // A strong pull holds what is trained near the start.
    let [held, free] = [1.0, 0.0].map(|pull| {
        let plan = FineTunePlan {
            pull,
            ..full_batch(&data, 30, 0.1)
        };
        let tuned = learner.fine_tune(&start, &data, &plan, &mut go).checkpoint;
        let moved = tuned
            .iter()
            .map(|(name, tensor)| tensor.minus(&start[name]));
        moved.map(|moved| moved.inner(&moved)).sum::<f64>().sqrt()
    });
    assert!(held < 0.8 * free, "{held} {free}");
}

#[test]
fn a_certain_teacher_is_its_labels() {
    let (graph, signature) = perceptron();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    // So certain of everything that its probabilities are 0 and 1.
    let teacher = testing::random_params(&signature, 6).scaled(1e4);
    let inputs = data(1);
    let taught = learner.evaluate(&teacher, &inputs).predictions;
    let batch = inputs.batch(&(0..inputs.len()).collect::<Vec<_>>());
    let labels = taught.iter().map(|&class| i64::from(class)).collect();
    let labelled = testing::dataset(&Batch { labels, ..batch });
    assert_ne!(labelled.labels(), inputs.labels());

    let plan = FineTunePlan {
        batch_size: 32,
        ..FineTunePlan::new(Optimizer::Sgd, 3, 0.1)
    };
    let by_labels = learner.fine_tune(&start, &labelled, &plan, &mut go);
    let before = learner.cost().sample_forwards;
    let teacher = Teacher {
        learner: &learner,
        model: &teacher,
        known: &[],
    };
    let refreshed = FineTunePlan {
        teacher: Some(teacher),
        ..plan
    };
    let by_teacher = learner.fine_tune(&start, &inputs, &refreshed, &mut go);
    assert_eq!(by_teacher.epochs, by_labels.epochs);
    for (name, tensor) in by_labels.checkpoint.iter() {
        assert_eq!(
            tensor.bytes(),
            by_teacher.checkpoint[name].bytes(),
            "{name}"
        );
    }
    assert_eq!(
        learner.cost().sample_forwards - before,
        3 * 300,
        "the teacher's passes count"
    );

    // A model has nothing to learn from itself.
    let own = Teacher {
        learner: &learner,
        model: &start,
        known: &[],
    };
    let plan = FineTunePlan {
        teacher: Some(own),
        ..full_batch(&inputs, 2, 0.5)
    };
    assert_close(
        &learner
            .fine_tune(&start, &inputs, &plan, &mut go)
            .checkpoint,
        &start,
    );
}

/// The look of the highest accuracy, then of the least loss, then the last.
fn peak(looks: &[Look]) -> (usize, &Look) {
    let figures = looks
        .iter()
        .map(|look| (look.validation_accuracy, -look.validation_loss));
    let all = figures.enumerate();
    let (best, _) = all
        .max_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap())
        .unwrap();
    (best, &looks[best])
}

#[test]
fn the_best_look_is_the_result() {
    let (graph, signature) = perceptron();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (data(1), data(2));
    // So fast that it falls back now and then.
    let looks = Some(Looks {
        per_epoch: 3,
        patience: None,
    });
    let plan = FineTunePlan {
        looks,
        ..FineTunePlan {
            learning_rate: 1.5,
            ..plan(&validation)
        }
    };
    let tuned = learner.fine_tune(&start, &train, &plan, &mut go);
    assert_eq!(
        (tuned.looks.len(), tuned.epochs.len(), tuned.end),
        (120, 40, End::Finished)
    );
    // Ten steps an epoch.
    let steps: Vec<usize> = tuned.looks[..4].iter().map(|look| look.step).collect();
    assert_eq!(steps, [4, 7, 10, 14]);
    let best = tuned.looks[tuned.best_look.unwrap()];
    // A sign test of 300 samples tells a tenth apart.
    let peak = peak(&tuned.looks).1.validation_accuracy;
    assert!(best.validation_accuracy > peak - 0.1, "{best:?}");
    let found = learner.evaluate(&tuned.checkpoint, &validation);
    assert!((found.loss - best.validation_loss).abs() < 1e-12);
    // The epoch's figures are those of its last look.
    assert_eq!(
        tuned.epochs[0].validation_loss,
        Some(tuned.looks[2].validation_loss)
    );
    // Looking does not disturb the training.
    let blind = learner.fine_tune(
        &start,
        &train,
        &FineTunePlan {
            looks: None,
            ..plan
        },
        &mut go,
    );
    assert_eq!(
        blind.snapshots[3].1["a.weight"].bytes(),
        tuned.snapshots[3].1["a.weight"].bytes()
    );
    assert_eq!(blind.best_look, None);
}

#[test]
fn looks_end_a_training_early() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (data(1), data(2));
    let with = |looks: Looks| FineTunePlan {
        looks: Some(looks),
        ..plan(&validation)
    };

    let patient = with(Looks {
        per_epoch: 2,
        patience: Some(5),
    });
    let tuned = learner.fine_tune(&start, &train, &patient, &mut go);
    assert_eq!(tuned.end, End::OutOfPatience);
    assert_eq!(tuned.looks.len(), peak(&tuned.looks).0 + 1 + 5);
    assert!(tuned.best_look.unwrap() >= peak(&tuned.looks).0);
    assert_eq!(tuned.steps, tuned.looks.last().unwrap().step);

    let target = FineTunePlan {
        stop_at: Some(0.75),
        ..with(Looks {
            per_epoch: 10,
            patience: None,
        })
    };
    let tuned = learner.fine_tune(&start, &train, &target, &mut go);
    assert_eq!(tuned.end, End::TargetReached);
    let (last, before) = tuned.looks.split_last().unwrap();
    assert!(last.validation_accuracy >= 0.75);
    assert!(before.iter().all(|look| look.validation_accuracy < 0.75));
    assert_eq!(tuned.best_look, Some(before.len()));

    // Interrupted, it is what was the best by then.
    let mut until_seven = |event: Event<'_>| match event {
        Event::Step { done: 7, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let every = with(Looks {
        per_epoch: 10,
        patience: None,
    });
    let tuned = learner.fine_tune(&start, &train, &every, &mut until_seven);
    assert_eq!(
        (tuned.end, tuned.looks.len(), tuned.steps),
        (End::Interrupted, 6, 7)
    );
    assert!(tuned.best_look.is_some());
}

fn squares(row: &[f32]) -> f32 {
    row.iter().map(|v| v * v).sum()
}

#[test]
fn an_update_of_low_rank_is_one_of_the_linear_layers_alone() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let train = data(1);
    let plan = FineTunePlan {
        low_rank: Some(1),
        batch_size: 32,
        ..FineTunePlan::new(Optimizer::AdamW, 10, 0.02)
    };
    let tuned = learner.fine_tune(&start, &train, &plan, &mut go);
    assert!(tuned.epochs[9].train_loss < 0.95 * tuned.epochs[0].train_loss);
    assert_eq!(tuned.checkpoint["a.bias"].bytes(), start["a.bias"].bytes());
    assert_eq!(tuned.checkpoint["b.bias"].bytes(), start["b.bias"].bytes());
    for (name, columns) in [("a.weight", 4), ("b.weight", 16)] {
        let moved = tuned.checkpoint[name].minus(&start[name]);
        let moved = moved.f32();
        // Of rank one every row is a multiple of the largest.
        let rows: Vec<&[f32]> = moved.chunks(columns).collect();
        let largest = rows
            .iter()
            .copied()
            .max_by(|a, b| squares(a).total_cmp(&squares(b)))
            .unwrap();
        assert!(squares(largest) > 1e-4, "{name} was trained");
        for row in rows {
            let factor =
                row.iter().zip(largest).map(|(a, b)| a * b).sum::<f32>() / squares(largest);
            let off: f32 = row
                .iter()
                .zip(largest)
                .map(|(a, b)| (a - factor * b).powi(2))
                .sum();
            assert!(off < 1e-9 + 1e-6 * squares(largest), "{name}");
        }
    }
}

#[test]
fn trials_choose_the_learning_rate_of_least_loss() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (data(1), data(2));
    let plan = plan(&validation);
    let before = learner.cost();
    let found = learner.try_rates(&start, &train, &plan, &mut go).unwrap();
    let spent = learner.cost() - before;
    // An eighth of 400 steps of 32 are five passes over 300 samples.
    let each = FineTunePlan::trial_gradients(plan.epochs, plan.batch_size, train.len());
    assert_eq!((each, spent.sample_gradients), (1500, 3 * 1500));
    // At least eight steps, and never more than the training has.
    assert_eq!(FineTunePlan::trial_gradients(1, 32, 1000), 256);
    assert_eq!(FineTunePlan::trial_gradients(1, 32, 100), 100);
    assert_eq!(found.trials.len(), 3);
    let losses: Vec<f64> = found
        .trials
        .iter()
        .map(|trial| trial.loss.unwrap())
        .collect();
    assert!(losses.iter().all(|loss| *loss >= losses[found.chosen]));
    assert_eq!(
        learner.try_rates(&start, &train, &plan, &mut go).unwrap(),
        found
    );
    assert!(
        learner
            .try_rates(&start, &train, &plan, &mut |_| ControlFlow::Break(()))
            .is_none()
    );

    // What diverges is not chosen.
    let wild = start.scaled(1e30);
    let found = learner.try_rates(&wild, &train, &plan, &mut go).unwrap();
    assert!(found.trials[found.chosen].loss.is_some() || found.chosen == 0);
}
