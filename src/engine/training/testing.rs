//! Tiny networks and data for the tests of this module.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Batch, Dataset};
use crate::{
    network::Graph,
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};

/// A graph over samples of this shape.
pub fn graph(sample_shape: &[usize], nodes: Value) -> Graph {
    let kind = if sample_shape.len() == 1 {
        "features"
    } else {
        "image"
    };
    Graph::from_document(&json!({"input":{"kind":kind,"shape":sample_shape},"nodes":nodes}))
        .expect("a well-formed test graph")
}

/// A graph over token ids.
pub fn token_graph(length: usize, nodes: Value) -> Graph {
    Graph::from_document(&json!({"input":{"kind":"tokens","shape":[length]},"nodes":nodes}))
        .expect("a well-formed test graph")
}

/// Ids below `vocabulary`, the first half of the length at least; the rest may be padded.
pub fn random_ids(length: usize, vocabulary: usize, mut batch: Batch, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    batch.sample_shape = vec![length];
    batch.inputs.clear();
    for _ in 0..batch.labels.len() {
        let present = rng.random_range(length.div_ceil(2)..=length);
        let id = |p| {
            if p < present {
                rng.random_range(0..vocabulary) as f32
            } else {
                -1.0
            }
        };
        batch.inputs.extend((0..length).map(id));
    }
    batch
}

pub fn signature(shapes: &[(&str, &[usize])]) -> Signature {
    shapes
        .iter()
        .map(|(name, shape)| {
            (
                (*name).to_owned(),
                TensorInfo {
                    dtype: DType::F32,
                    shape: shape.to_vec(),
                },
            )
        })
        .collect()
}

/// Uniform in ±0.5, variances in [0.5, 1.5].
pub fn random_params(signature: &Signature, seed: u64) -> Checkpoint {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    signature
        .iter()
        .map(|(name, info)| {
            let offset = if name.ends_with("running_var") {
                1.0
            } else {
                0.0
            };
            let size = info.shape.iter().product();
            let values = (0..size)
                .map(|_| offset + rng.random::<f32>() - 0.5)
                .collect();
            (
                name.clone(),
                HostTensor::from_f32(info.shape.clone(), values),
            )
        })
        .collect()
}

/// Samples uniform in ±1 whose label is drawn at random.
pub fn random_batch(sample_shape: &[usize], samples: usize, classes: i64, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let size = samples * sample_shape.iter().product::<usize>();
    let inputs = (0..size).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
    let labels = (0..samples).map(|_| rng.random_range(0..classes)).collect();
    Batch {
        inputs,
        sample_shape: sample_shape.to_vec(),
        labels,
    }
}

/// The batch as a data set.
pub fn dataset(batch: &Batch) -> Dataset {
    let shape: Vec<usize> = [&[batch.len()], batch.sample_shape.as_slice()].concat();
    Dataset::from_floats(
        HostTensor::from_f32(shape, batch.inputs.clone()),
        batch.labels.clone(),
    )
}

/// Two layers with batch norm between them: four features, two classes.
pub fn network() -> (Graph, Signature) {
    let graph = graph(
        &[4],
        json!([{"op":"linear","param":"a"},{"op":"batch_norm","param":"n"},{"op":"relu"},
            {"op":"linear","param":"b"}]),
    );
    let signature = signature(&[
        ("a.weight", &[16, 4]),
        ("a.bias", &[16]),
        ("n.running_mean", &[16]),
        ("n.running_var", &[16]),
        ("b.weight", &[2, 16]),
        ("b.bias", &[2]),
    ]);
    (graph, signature)
}

/// Samples of [`network`], labelled by whether the first two features have the same sign: not linear.
pub fn same_signs(seed: u64) -> Dataset {
    let mut batch = random_batch(&[4], 300, 2, seed);
    for (label, x) in batch.labels.iter_mut().zip(batch.inputs.chunks(4)) {
        *label = i64::from((x[0] > 0.0) == (x[1] > 0.0));
    }
    dataset(&batch)
}
