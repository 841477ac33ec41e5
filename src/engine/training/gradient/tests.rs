use burn::tensor::Device;
use serde_json::{Value, json};

use super::*;
use crate::{network::Graph, training::testing};

mod images;
mod kernels;
mod transformers;

/// Every element's gradient against a central difference of the loss.
fn check(sample_shape: &[usize], nodes: Value, shapes: &[(&str, &[usize])]) {
    let graph = testing::graph(sample_shape, nodes);
    let signature = testing::signature(shapes);
    let classes = graph
        .resolve(&signature)
        .and_then(|program| program.classes())
        .unwrap() as i64;
    check_on(
        &graph,
        shapes,
        &testing::random_batch(sample_shape, 5, classes, 1),
    );
}

fn check_on(graph: &Graph, shapes: &[(&str, &[usize])], batch: &Batch) {
    let signature = testing::signature(shapes);
    let learner = Learner::new(graph, &signature, Device::flex()).unwrap();
    let params = testing::random_params(&signature, 2);
    let gradient = learner.gradient(&params, batch);
    let weights = Weights::upload(&learner.program, &params, &Executor::Cpu);
    let share = cross_entropy::share(&batch.labels);
    let (scores, by_burn) = learner.backward_by_burn(
        &weights.leaves(),
        batch.clone(),
        BatchNormMode::Batch,
        Goal { share, soft: None },
    );
    assert!((gradient.loss - scores.mean_loss()).abs() < 1e-5);
    agree_with_running_statistics(&learner, &weights, batch);
    assert_eq!(by_burn.len(), gradient.parts.len());
    let scale = gradient
        .parts
        .iter()
        .flat_map(|(_, t)| t.f32().into_owned());
    let scale = f64::from(scale.fold(0f32, |a, v| a.max(v.abs())));
    assert!(scale > 1e-3, "there is a gradient");
    for name in graph.learned() {
        let Some(tensor) = params.get(&name) else {
            continue;
        };
        let burn = floats(by_burn[&name].clone());
        assert_eq!(burn.len(), tensor.len());
        for (i, &by_burn) in burn.iter().enumerate() {
            let slope = slope(&learner, &params, batch, &name, i);
            let found = f64::from(gradient.parts[&name].f32()[i]);
            assert!(
                (f64::from(by_burn) - found).abs() < 1e-5 * scale,
                "{name}[{i}]"
            );
            let off = (slope - found).abs();
            assert!(
                off < 2e-3 * scale,
                "{name}[{i}]: {found} but the slope is {slope}"
            );
        }
    }
}

fn agree_with_running_statistics(learner: &Learner, weights: &Weights, batch: &Batch) {
    let (loss, here) = learner.backward(weights, batch, BatchNormMode::Running);
    let share = cross_entropy::share(&batch.labels);
    let (by_burn, there) = learner.backward_by_burn(
        &weights.leaves(),
        batch.clone(),
        BatchNormMode::Running,
        Goal { share, soft: None },
    );
    assert!((loss - by_burn.mean_loss()).abs() < 1e-5);
    for (name, tensor) in &there {
        let pairs = floats(here[name].clone())
            .into_iter()
            .zip(floats(tensor.clone()));
        let scale = floats(tensor.clone())
            .iter()
            .fold(1e-3f32, |a, v| a.max(v.abs()));
        for (i, (a, b)) in pairs.enumerate() {
            assert!(
                (a - b).abs() < 1e-5 * scale.max(1.0),
                "{name}[{i}]: {a}, burn {b}"
            );
        }
    }
}

fn slope(learner: &Learner<'_>, params: &Checkpoint, batch: &Batch, name: &str, i: usize) -> f64 {
    let step = 1f32 / 512.0;
    let loss = |by: f32| {
        let mut values = params[name].f32().into_owned();
        values[i] += by;
        let mut moved = params.clone();
        moved.insert(
            name,
            HostTensor::from_f32(params[name].shape().to_vec(), values),
        );
        learner.gradient(&moved, batch).loss
    };
    (loss(step) - loss(-step)) / f64::from(2.0 * step)
}

#[test]
fn linear_gelu_and_feature_batch_norm() {
    check(
        &[4],
        json!([{"op":"linear","param":"a"},{"op":"batch_norm","param":"n"},{"op":"gelu"},
            {"op":"dropout","p":0.5},{"op":"linear","param":"b"}]),
        &[
            ("a.weight", &[5, 4]),
            ("a.bias", &[5]),
            ("n.weight", &[5]),
            ("n.bias", &[5]),
            ("n.running_mean", &[5]),
            ("n.running_var", &[5]),
            ("b.weight", &[3, 5]),
        ],
    );
}

#[test]
fn a_residual_block_with_strided_dilated_and_grouped_convolutions() {
    check(
        &[2, 7, 6],
        json!([{"op":"conv2d","param":"a","stride":[2,1],"padding":[1,2]},{"op":"gelu","id":"g"},
            {"op":"conv2d","param":"b","groups":2,"padding":2,"dilation":2},
            {"op":"batch_norm","param":"n"},{"op":"add","inputs":["n","g"]},{"op":"relu"},
            {"op":"global_avg_pool"},{"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[4, 2, 3, 3]),
            ("a.bias", &[4]),
            ("b.weight", &[4, 2, 3, 3]),
            ("n.weight", &[4]),
            ("n.bias", &[4]),
            ("n.running_mean", &[4]),
            ("n.running_var", &[4]),
            ("fc.weight", &[3, 4]),
            ("fc.bias", &[3]),
        ],
    );
}

/// `z` is computed once more from `a`, when `b`, the only one to read `a`, has been passed.
#[test]
fn a_sum_that_is_recomputed() {
    check(
        &[2, 4, 3],
        json!([{"op":"conv2d","param":"a","padding":1},{"op":"relu","id":"r"},
            {"op":"add","inputs":["a","r"]},{"op":"relu","id":"z"},
            {"op":"conv2d","param":"b","padding":1,"inputs":["a"]},
            {"op":"add","inputs":["b","z"]},{"op":"flatten"},{"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[3, 2, 3, 3]),
            ("b.weight", &[3, 3, 3, 3]),
            ("fc.weight", &[3, 36]),
        ],
    );
}

#[test]
fn every_pooling() {
    for pool in [
        json!({"op":"max_pool","kernel":3,"stride":2,"padding":1,"ceil_mode":true}),
        json!({"op":"avg_pool","kernel":3,"stride":2,"padding":1,"count_include_pad":false}),
        json!({"op":"avg_pool","kernel":[3,2],"stride":2,"padding":1,"ceil_mode":true}),
        json!({"op":"adaptive_avg_pool","output":[4,3]}),
    ] {
        let nodes = json!([{"op":"conv2d","param":"a","padding":1},pool,{"op":"gelu"},
            {"op":"flatten"},{"op":"linear","param":"fc"}]);
        let probe = testing::graph(&[2, 6, 5], nodes.clone());
        let a: (&str, &[usize]) = ("a.weight", &[3, 2, 3, 3]);
        // The flattened width differs; ask the shapes for it.
        let width = (1..100).find(|width| {
            probe
                .resolve(&testing::signature(&[a, ("fc.weight", &[2, *width])]))
                .is_ok()
        });
        check(&[2, 6, 5], nodes, &[a, ("fc.weight", &[2, width.unwrap()])]);
    }
}

#[test]
fn a_tied_tensor_sums_its_readers() {
    check(
        &[4],
        json!([{"op":"linear","param":"w","id":"one"},{"op":"gelu"},
            {"op":"linear","param":"w","id":"two"}]),
        &[("w.weight", &[4, 4]), ("w.bias", &[4])],
    );
}

#[test]
fn the_same_twice_is_the_same_bytes() {
    let graph: Graph = testing::graph(
        &[3, 12, 12],
        json!([{"op":"conv2d","param":"a","padding":1},{"op":"batch_norm","param":"n"},
            {"op":"relu"},{"op":"flatten"},{"op":"linear","param":"fc"}]),
    );
    let signature = testing::signature(&[
        ("a.weight", &[16, 3, 3, 3]),
        ("n.weight", &[16]),
        ("n.bias", &[16]),
        ("n.running_mean", &[16]),
        ("n.running_var", &[16]),
        ("fc.weight", &[10, 2304]),
    ]);
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let batch = testing::random_batch(&[3, 12, 12], 64, 10, 3);
    let params = testing::random_params(&signature, 4);
    let first = learner.gradient(&params, &batch);
    for _ in 0..5 {
        let again = learner.gradient(&params, &batch);
        assert_eq!(first.loss.to_bits(), again.loss.to_bits());
        for (name, tensor) in first.parts.iter() {
            assert_eq!(tensor.bytes(), again.parts[name].bytes(), "{name}");
        }
    }
    assert_eq!(learner.cost().sample_gradients, 6 * 64);
}
