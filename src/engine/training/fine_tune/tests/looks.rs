//! Looks at validation during a training: which is the result, and when they end it.

use super::*;

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
    let (train, validation) = (same_signs(1), same_signs(2));
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
    let (train, validation) = (same_signs(1), same_signs(2));
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
