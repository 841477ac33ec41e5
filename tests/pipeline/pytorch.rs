//! A `PyTorch` user's files: they load, compute what `PyTorch` computes, and are written back so that
//! `PyTorch` finds what it wrote (`tests/fixtures/pytorch/load_back.py` loads a result there).

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::tensors,
    engine::{network::Graph, symmetry::Permutation, tensors::Checkpoint, training::Batch},
};
use safetensors::SafeTensors;
use serde_json::json;

use super::case::{Case, read_json, read_tensors};
use crate::engine::{networks::Network, planted::relative_error};

const NETWORKS: [&str; 3] = ["small_cnn", "resnet18", "vgg11_bn"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pytorch")
        .join(name)
}

struct Fixture {
    name: &'static str,
    network: Network,
    model: Checkpoint,
    expected: Checkpoint,
}

impl Fixture {
    fn read(name: &'static str) -> Self {
        let folder = folder(name);
        let model = read_tensors(&folder.join("model.safetensors"));
        let config = read_json(&folder.join("config.json"));
        let signature = model.signature();
        let graph = Graph::from_config(&config, &signature).expect("a network");
        let expected = read_tensors(&folder.join("expected.safetensors"));
        Self {
            name,
            network: Network { graph, signature },
            model,
            expected,
        }
    }

    fn batch(&self) -> Batch {
        let inputs = &self.expected["inputs"];
        let labels = self.expected["labels"]
            .f32()
            .iter()
            .map(|&label| label as i64)
            .collect();
        let (values, shape) = (inputs.f32().into_owned(), inputs.shape()[1..].to_vec());
        Batch {
            inputs: values,
            sample_shape: shape,
            labels,
        }
    }

    fn is_near(&self, what: &str, found: &[f32], bound: f64) {
        let off = relative_error(found, &self.expected[what].f32());
        assert!(off <= bound, "{}: {what} is {off:e} off", self.name);
    }
}

#[test]
fn logits_losses_and_gradients_are_pytorchs() {
    for fixture in NETWORKS.map(Fixture::read) {
        let (learner, batch) = (fixture.network.learner(), fixture.batch());
        fixture.is_near(
            "logits.eval",
            &learner.predict(&fixture.model, &batch),
            1e-4,
        );
        let gradient = learner.gradient(&fixture.model, &batch);
        fixture.is_near("loss.train", &[gradient.loss as f32], 1e-4);
        let mut compared = 0;
        for (key, wanted) in fixture.expected.iter() {
            let Some(name) = key.strip_prefix("grad.train.") else {
                continue;
            };
            compared += 1;
            // A bias before a batch norm has no gradient; both sides show rounding there.
            if wanted.f32().iter().all(|g| g.abs() < 1e-6) {
                assert!(
                    gradient.parts[name].f32().iter().all(|g| g.abs() < 1e-5),
                    "{name}"
                );
            } else {
                fixture.is_near(key, &gradient.parts[name].f32(), 1e-3);
            }
        }
        assert!(compared >= 4, "{}", fixture.name);
    }
}

#[test]
fn a_random_order_leaves_the_logits_unchanged() {
    for fixture in NETWORKS.map(Fixture::read) {
        let (learner, symmetry) = (fixture.network.learner(), fixture.network.symmetry());
        let batch = fixture.batch();
        let before = learner.predict(&fixture.model, &batch);
        for seed in 0..3 {
            let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(seed));
            let moved = order.apply(&symmetry, &fixture.model);
            let off = relative_error(&learner.predict(&moved, &batch), &before);
            assert!(off <= 1e-5, "{}: {off:e} off", fixture.name);
        }
    }
}

#[test]
fn what_is_written_back_is_what_was_read() {
    for name in NETWORKS {
        let theirs = std::fs::read(folder(name).join("model.safetensors")).expect("a fixture");
        let model = read_tensors(&folder(name).join("model.safetensors"));
        let ours = tensors::to_bytes(&model);
        let (theirs, ours) = (
            SafeTensors::deserialize(&theirs).expect("PyTorch's file"),
            SafeTensors::deserialize(&ours).expect("our file"),
        );
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (tensor, wanted) in theirs.tensors() {
            let found = ours.tensor(&tensor).expect(&tensor);
            assert_eq!(found.dtype(), wanted.dtype(), "{name}: {tensor}");
            assert_eq!(found.shape(), wanted.shape(), "{name}: {tensor}");
            assert_eq!(found.data(), wanted.data(), "{name}: {tensor}");
        }
    }
}

/// Through the whole pipeline: the model's own fine-tuning onto itself is the model, in names,
/// shapes, dtypes and bytes, with its own configuration.
#[test]
fn a_transfer_between_pytorch_models_returns_a_pytorch_model() {
    for fixture in NETWORKS.map(Fixture::read) {
        let name = fixture.name;
        let case = Case::empty(fixture.network);
        let config = std::fs::read(folder(name).join("config.json")).expect("a fixture");
        for copy in ["old", "tuned", "new"] {
            case.put_weights(copy, &fixture.model);
            case.write(&format!("{copy}/config.json"), &config);
        }
        let mut spec = case.spec();
        spec.as_object_mut()
            .expect("an object")
            .retain(|key, _| key != "data");
        spec["methods"] = json!(["weight_matching"]);
        let (_, result) = case.done(&spec);
        let written = read_tensors(&result.join("model.safetensors"));
        assert_eq!(written.signature(), fixture.model.signature(), "{name}");
        for (tensor, wanted) in fixture.model.iter() {
            assert_eq!(written[tensor].bytes(), wanted.bytes(), "{name}: {tensor}");
        }
        assert_eq!(
            read_json(&result.join("config.json")),
            read_json(&folder(name).join("config.json"))
        );
    }
}
