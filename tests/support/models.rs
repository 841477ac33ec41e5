//! Tiny models and samples for jobs that go through processes.

use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::json;

const FEATURES: usize = 16;
const CLASSES: usize = 4;

/// A folder's files.
pub struct Files {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
}

/// 16 → width → 4, its numbers by `seed`: any will do.
pub fn model(width: usize, seed: u64) -> Files {
    let config = json!({
        "model_type": "graph", "input": {"kind": "features", "shape": [FEATURES]},
        "task": "classification",
        "nodes": [{"op": "linear", "param": "fc1"}, {"op": "relu"}, {"op": "linear", "param": "fc2"}]
    });
    let tensor = |name: &str, shape: &[usize], seed: u64| {
        let tensor = HostTensor::from_f32(shape.to_vec(), floats(shape, seed));
        (name.to_owned(), tensor)
    };
    let model: Checkpoint = [
        tensor("fc1.weight", &[width, FEATURES], seed * 4),
        tensor("fc1.bias", &[width], seed * 4 + 1),
        tensor("fc2.weight", &[CLASSES, width], seed * 4 + 2),
        tensor("fc2.bias", &[CLASSES], seed * 4 + 3),
    ]
    .into_iter()
    .collect();
    Files {
        config: config.to_string().into_bytes(),
        weights: tensors::to_bytes(&model),
    }
}

/// Samples for such a model, as a data file holds them.
pub fn samples(count: usize) -> Vec<u8> {
    let shape = [count, FEATURES];
    let labels: Vec<i64> = (0..count).map(|i| (i % CLASSES) as i64).collect();
    let inputs = HostTensor::from_f32(shape.to_vec(), floats(&shape, 7));
    let labels = HostTensor::from_i64(vec![count], &labels);
    let data: Checkpoint = [("inputs".to_owned(), inputs), ("labels".to_owned(), labels)]
        .into_iter()
        .collect();
    tensors::to_bytes(&data)
}

/// Numbers in (−0.5, 0.5), of so few digits that sums of some are exact.
fn floats(shape: &[usize], seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 44) as f32 / (1_u64 << 20) as f32 - 0.5
    };
    (0..shape.iter().product()).map(|_| next()).collect()
}
