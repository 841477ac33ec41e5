//! Trials of learning rates.

use super::*;

#[test]
fn trials_choose_the_learning_rate_of_least_loss() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let (train, validation) = (same_signs(1), same_signs(2));
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
