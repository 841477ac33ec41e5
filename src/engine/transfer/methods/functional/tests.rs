//! The method on small networks, as if they were large, and how many inputs it takes.

use burn::tensor::Device;
use serde_json::json;

use super::{
    cost::{LEAST_SAMPLES, RULES},
    *,
};
use crate::{
    profiler::Profiler,
    symmetry::Symmetry,
    tensors::{Checkpoint, DType, HostTensor},
    training::{Learner, testing},
    transfer::{Schedule, Trajectory, functional::Start},
};

fn in_bf16(model: &Checkpoint) -> Checkpoint {
    let tensors = model.iter().map(|(name, tensor)| {
        let (shape, values) = (tensor.shape().to_vec(), tensor.f32().into_owned());
        (
            name.to_owned(),
            HostTensor::from_f32_as(DType::BF16, shape, values),
        )
    });
    tensors.collect()
}

/// Both rules from one start in one run; the better fit is published with the bytes that it was
/// judged with.
#[test]
fn a_large_model_is_fitted_once_in_its_own_dtype() {
    let nodes =
        json!([{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}]);
    let graph = testing::graph(&[6], nodes);
    let shapes: [(&str, &[usize]); 3] = [
        ("a.weight", &[9, 6]),
        ("a.bias", &[9]),
        ("b.weight", &[4, 9]),
    ];
    let signature = testing::signature(&shapes);
    let models = [1, 2, 3].map(|seed| in_bf16(&testing::random_params(&signature, seed)));
    let [old, tuned, target] = models;
    let learner = Learner::new(&graph, &target.signature(), Device::flex()).unwrap();
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let train = testing::dataset(&testing::random_batch(&[6], 60, 4, 5));
    let trajectory = Trajectory::linear(old, tuned.clone(), Schedule::Uniform, 1);
    let profiler = Profiler::new(|| 0.0);
    let problem = Problem {
        train: Some(&train),
        ..Problem::new(&learner, &symmetry, &trajectory, &target, &profiler)
    };

    let found = align_sized(&problem, true).unwrap();
    let evidence = found.functional.unwrap();
    assert_eq!(evidence.samples, 48, "a fifth is held back");
    let tried: Vec<_> = evidence
        .trials
        .iter()
        .map(|trial| (trial.start, trial.rule))
        .collect();
    assert_eq!(
        tried,
        RULES.map(|rule| (Start::NewBase, rule)),
        "the bases are unrelated"
    );
    let model = problem.finished(&found.transports[0], 1, 1.0);
    let fitted = found.transports[0].fitted().unwrap();
    for (name, tensor) in model.iter() {
        assert_eq!(tensor.dtype(), DType::BF16, "{name}");
        assert_eq!(tensor.bytes(), fitted[name].bytes(), "{name}");
    }

    let batch = train.batch(&(0..train.len()).collect::<Vec<_>>());
    let reference = learner.predictions(&tuned, &batch);
    let divergence = |model: &Checkpoint| {
        learner
            .predictions(model, &batch)
            .beside(&reference)
            .divergence
    };
    assert!(divergence(&model) < 0.5 * divergence(&target));
    let small = align_sized(&problem, false).unwrap();
    assert_eq!(small.functional.unwrap().trials.len(), 4);
}

#[test]
fn shorter_sequences_leave_room_for_more() {
    let nodes = json!([{"op": "embedding", "param": "e"}, {"op": "linear", "param": "out"}]);
    let graph = testing::token_graph(1 << 15, nodes);
    let signature = testing::signature(&[("e.weight", &[50, 8]), ("out.weight", &[400, 8])]);
    let program = graph.resolve(&signature).unwrap();
    let longest = samples(&graph, &program, 1024, 1 << 15);
    assert!((LEAST_SAMPLES..64).contains(&longest), "{longest}");
    assert_eq!(samples(&graph, &program, 1024, 128), 1024);
}
