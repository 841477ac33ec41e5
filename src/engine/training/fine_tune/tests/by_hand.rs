//! Clipped steps, the pull and a teacher, against values by hand.

use super::*;

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
    let (start, data) = (testing::random_params(&signature, 5), same_signs(1));
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
    let (start, data) = (testing::random_params(&signature, 5), same_signs(1));
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
    let inputs = same_signs(1);
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
