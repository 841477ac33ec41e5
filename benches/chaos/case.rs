//! What the run's transfers are about: tiny networks, and jobs that take a fraction of a second.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::tensors,
    engine::network::{Checkpoint, HostTensor},
};
use serde_json::{Value, json};

use super::{Failure, store::Store};

const FEATURES: usize = 16;
const WIDTH: usize = 64;
const CLASSES: usize = 4;
const SAMPLES: usize = 256;
const PUT_TRIES: u32 = 60;

/// How a job must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Succeeded, with a model.
    Published,
    /// Succeeded, with a report only: its gate fails.
    Rejected,
    /// Failed for its input.
    Failed,
}

/// Where an object of the run lies.
pub fn uri(name: &str) -> String {
    format!("s3://bucket/chaos/{name}")
}

/// Puts a model whose numbers depend on `seed` into the store.
pub async fn put_model(store: &Store, name: &str, seed: u64) -> Result<(), Failure> {
    let config = json!({
        "model_type": "graph", "input": {"kind": "features", "shape": [FEATURES]},
        "task": "classification",
        "nodes": [{"op": "linear", "param": "fc1"}, {"op": "relu"}, {"op": "linear", "param": "fc2"}]
    });
    let tensor = |name: &str, shape: &[usize], seed: u64| {
        (name.to_owned(), HostTensor::from_f32(shape.to_vec(), floats(shape, seed)))
    };
    let model: Checkpoint = [
        tensor("fc1.weight", &[WIDTH, FEATURES], seed * 4),
        tensor("fc1.bias", &[WIDTH], seed * 4 + 1),
        tensor("fc2.weight", &[CLASSES, WIDTH], seed * 4 + 2),
        tensor("fc2.bias", &[CLASSES], seed * 4 + 3),
    ]
    .into_iter()
    .collect();
    put(store, &format!("{name}/config.json"), config.to_string().into_bytes()).await?;
    put(store, &format!("{name}/model.safetensors"), tensors::to_bytes(&model)).await
}

/// Puts the training samples into the store.
pub async fn put_data(store: &Store) -> Result<(), Failure> {
    let shape = [SAMPLES, FEATURES];
    let labels: Vec<i64> = (0..SAMPLES).map(|i| (i % CLASSES) as i64).collect();
    let data: Checkpoint = [
        ("inputs".to_owned(), HostTensor::from_f32(shape.to_vec(), floats(&shape, 7))),
        ("labels".to_owned(), HostTensor::from_i64(vec![SAMPLES], &labels)),
    ]
    .into_iter()
    .collect();
    put(store, "train.safetensors", tensors::to_bytes(&data)).await
}

/// The store may be misbehaving just now.
async fn put(store: &Store, name: &str, bytes: Vec<u8>) -> Result<(), Failure> {
    let url = format!("{}/bucket/chaos/{name}", store.endpoint);
    let client = reqwest::Client::new();
    let mut tries = 0;
    loop {
        let answer = client.put(&url).body(bytes.clone()).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return Ok(()),
            Err(error) if tries == PUT_TRIES => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
        tries += 1;
    }
}

/// Numbers in (−0.5, 0.5).
fn floats(shape: &[usize], seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..shape.iter().product()).map(|_| next()).collect()
}

/// A job of some kind and length. One in ten is rejected, one in twenty names what is not there.
pub fn job(rng: &mut ChaCha8Rng) -> (Value, Expected) {
    let method = ["identity", "weight_matching", "gmt", "fgmt"][rng.random_range(0..4)];
    let mut spec = json!({
        "source": {"base": uri("old/"), "trajectory": uri("tuned/")},
        "target": {"base": uri("new/")},
        "data": {"train": uri("train.safetensors")},
        "methods": [method],
        "options": {"timesteps": rng.random_range(4..40), "batch_size": 64, "alpha": 1.0,
            "step": "last", "seed": rng.random_range(0..1000)},
        "output": uri("out/"),
    });
    match rng.random_range(0..20) {
        0 => {
            spec["source"]["trajectory"] = json!(uri("nowhere/"));
            (spec, Expected::Failed)
        }
        1 | 2 => {
            spec["gate"] = json!({"min": 0.99});
            (spec, Expected::Rejected)
        }
        _ => (spec, Expected::Published),
    }
}
