//! What the run's transfers are about: tiny networks, and jobs that take a fraction of a second.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Failure, store::Store};
use crate::support::models::{self, Files};

const WIDTH: usize = 64;
/// The width of a model whose file, of 24 MB, is read for a while and written in several parts.
const LARGE: usize = 300_000;
const SAMPLES: usize = 256;
const PUT_TRIES: u32 = 60;

/// How a job must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Succeeded, with a model.
    Published,
    /// Succeeded, with a report only: its gate fails.
    Rejected,
    /// Failed for its input, with this code.
    Failed(&'static str),
    /// Either, with one of these codes: whether its input was still whole when it was read is not known
    /// beforehand.
    PublishedOr(&'static [&'static str]),
}

/// Where an object of the run lies.
pub fn uri(name: &str) -> String {
    format!("s3://bucket/chaos/{name}")
}

/// A model whose numbers depend on `seed`.
pub fn model(seed: u64) -> Files {
    models::model(WIDTH, seed)
}

/// A large one.
pub fn large_model(seed: u64) -> Files {
    models::model(LARGE, seed)
}

/// Puts a model into the store.
pub async fn put_model(store: &Store, name: &str, model: Files) -> Result<(), Failure> {
    put(store, &format!("{name}/config.json"), model.config).await?;
    put(store, &format!("{name}/model.safetensors"), model.weights).await
}

/// Puts the training samples into the store.
pub async fn put_data(store: &Store) -> Result<(), Failure> {
    put(store, "train.safetensors", models::samples(SAMPLES)).await
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
            (spec, Expected::Failed("empty_trajectory"))
        }
        1 | 2 => {
            spec["gate"] = json!({"min": 0.99});
            (spec, Expected::Rejected)
        }
        _ => (spec, Expected::Published),
    }
}

/// A job of the large models whose new base lies elsewhere: what it comes to is known ([`is_the_sum`]).
pub fn large_job(target: &str) -> Value {
    json!({
        "source": {"base": uri("large-old/"), "trajectory": uri("large-tuned/")},
        "target": {"base": target},
        "methods": ["identity"],
        "options": {"alpha": 1.0, "step": "last"},
        "output": uri("out/"),
    })
}

/// The seeds of the large models that every large job reads.
pub const LARGE_OLD: u64 = 101;
pub const LARGE_TUNED: u64 = 102;

/// Whether a model's values are those of the new base of this seed and what the tuning added, to the bit.
pub fn is_the_sum(weights: &[u8], target: u64) -> Result<bool, Failure> {
    let read = |bytes: &[u8]| -> Result<Vec<(String, Vec<f32>)>, Failure> {
        let parsed = safetensors::SafeTensors::deserialize(bytes)?;
        let floats = |bytes: &[u8]| {
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        };
        let mut tensors: Vec<(String, Vec<f32>)> = parsed
            .iter()
            .map(|(name, view)| (name.to_owned(), floats(view.data())))
            .collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tensors)
    };
    let [old, tuned, new] =
        [LARGE_OLD, LARGE_TUNED, target].map(|seed| read(&large_model(seed).weights));
    let (old, tuned, new, result) = (old?, tuned?, new?, read(weights)?);
    Ok(result.len() == new.len()
        && (0..new.len()).all(|i| {
            let sum = |at: usize| new[i].1[at] + (tuned[i].1[at] - old[i].1[at]);
            result[i].0 == new[i].0
                && result[i].1.len() == new[i].1.len()
                && result[i]
                    .1
                    .iter()
                    .enumerate()
                    .all(|(at, &value)| value == sum(at))
        }))
}
