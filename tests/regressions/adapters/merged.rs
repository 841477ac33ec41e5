//! Adapters as peft writes them (`tests/fixtures/adapters`): what a job makes of them is what peft makes of
//! them, tensor by tensor and in the logits; what it cannot make is refused by name.

use std::{fs, path::Path};

use burn::tensor::Device;
use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::{
        network::{Graph, Input, Naming},
        tensors::{Checkpoint, HostTensor},
        training::{Batch, Learner},
    },
};
use serde_json::{Value, json};

use crate::{
    engine::networks::mlp,
    pipeline::case::{Case, read_json, read_tensors},
    regressions::refused,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/adapters");

/// A case with the folders `base/` and `adapter/` of a fixture, and a job that carries the adapter over to
/// the base that it was tuned from.
pub fn case(base: &str, adapter: &str) -> (Case, Value) {
    let case = Case::empty(mlp(&[2, 2]));
    for (from, to) in [
        (format!("bases/{base}"), "base"),
        (adapter.to_owned(), "adapter"),
    ] {
        for entry in fs::read_dir(Path::new(FIXTURES).join(from)).expect("a fixture") {
            let path = entry.expect("readable").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("UTF-8")
                .to_owned();
            case.write(
                &format!("{to}/{name}"),
                fs::read(path).expect("our own file"),
            );
        }
    }
    let spec = json!({
        "source": {"base": case.uri("base/"), "trajectory": case.uri("adapter/")},
        "target": {"base": case.uri("base/")},
        "methods": ["identity"],
        "options": {"alpha": 1.0, "timesteps": 1},
        "output": case.uri("out/"),
    });
    (case, spec)
}

/// The largest difference of two lists.
pub fn off(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter()
        .zip(other)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// What the model in a folder computes of a fixture's `input`.
pub fn logits(folder: &Path, expected: &Checkpoint) -> Vec<f32> {
    let config = read_json(&folder.join("config.json"));
    let file = read_tensors(&folder.join("model.safetensors"));
    let model = Naming::of(&config, &file.signature()).read(&file);
    let signature = model.signature();
    let mut graph = Graph::from_config(&config, &signature).expect("a known family");
    let input = &expected["input"];
    if let Input::Tokens { shape } = &mut graph.input {
        *shape = [input.shape()[1]];
    }
    let learner = Learner::new(&graph, &signature, Device::flex()).expect("a sound model");
    let batch = Batch {
        inputs: input.f32().into_owned(),
        sample_shape: input.shape()[1..].to_vec(),
        labels: Vec::new(),
    };
    learner.predict(&model, &batch)
}

fn is_what_peft_makes(base: &str, adapter: &str) {
    let (case, spec) = case(base, adapter);
    case.plan(&spec)
        .unwrap_or_else(|failure| panic!("{adapter}: {failure}"));
    let outcome = case
        .run(&spec)
        .unwrap_or_else(|failure| panic!("{adapter}: {failure}"));
    let folder = crate::pipeline::case::path_of(&outcome.uri);
    let found = read_tensors(&folder.join("model.safetensors"));
    let before = read_tensors(&case.path("base/model.safetensors"));
    let expected = read_tensors(
        &Path::new(FIXTURES)
            .join(adapter)
            .join("expected.safetensors"),
    );

    for (name, tensor) in found.iter() {
        let Some(wanted) = expected.get(name).or_else(|| before.get(name)) else {
            panic!("{adapter}: peft has no {name}");
        };
        let off = off(&tensor.f32(), &wanted.f32());
        assert!(off < 1e-6, "{adapter}: {name} is {off:e} off");
    }
    for (name, _) in expected
        .iter()
        .filter(|(name, _)| !["input", "logits"].contains(name))
    {
        assert!(found.get(name).is_some(), "{adapter}: {name} is missing");
    }
    let off = off(&logits(&folder, &expected), &expected["logits"].f32());
    assert!(off < 1e-5, "{adapter}: logits are {off:e} off");
}

#[test]
fn a_square_weight_is_read_as_the_bases_layer_stores_it() {
    is_what_peft_makes("gpt2", "square");
    is_what_peft_makes("gpt2", "transposed_dora");
}

#[test]
fn ranks_scales_and_magnitudes_are_those_of_each_module() {
    for adapter in ["patterns", "dora", "orthogonal"] {
        is_what_peft_makes("llama", adapter);
    }
}

#[test]
fn embeddings_output_matrices_and_single_tokens() {
    for adapter in ["embeddings", "tokens"] {
        is_what_peft_makes("llama", adapter);
    }
}

#[test]
fn a_tied_pair_becomes_two_where_the_adapter_makes_it_two() {
    is_what_peft_makes("gpt2", "tied_head");
    for adapter in [
        "tied_embedding",
        "tied_both",
        "tied_saved",
        "tied_saved_both",
        "tied_tokens",
    ] {
        is_what_peft_makes("qwen2", adapter);
    }
}

/// Rows that no base has come from the adapter, with the table that peft saves whole.
#[test]
fn an_embedding_that_was_resized_before_the_tuning() {
    is_what_peft_makes("qwen2", "resized");
}

#[test]
fn biases_of_every_kind() {
    is_what_peft_makes("qwen2", "some_biases");
    for adapter in ["lora_only", "all_biases", "lora_bias"] {
        is_what_peft_makes("bert", adapter);
    }
}

#[test]
fn modules_saved_whole_and_names_of_transformers_5() {
    is_what_peft_makes("roberta", "classifier");
    is_what_peft_makes("vit", "images");
}

/// The values in memory of their own, whatever becomes of the file that they were read from.
fn copy(tensor: &HostTensor) -> HostTensor {
    HostTensor::from_f32(tensor.shape().to_vec(), tensor.f32().to_vec())
}

/// The names of modules that a wrapper puts before all others.
#[test]
fn an_adapter_saved_in_a_wrapper_is_the_same() {
    let (case, spec) = case("llama", "patterns");
    // Read to its end before the file is written anew.
    let plain = read_tensors(&case.path("adapter/adapter_model.safetensors"));
    let plain: Checkpoint = plain
        .iter()
        .map(|(name, t)| (name.to_owned(), copy(t)))
        .collect();
    let result = |wrapped: fn(&str) -> String| {
        let file = plain
            .iter()
            .map(|(name, tensor)| (wrapped(name), tensor.clone()))
            .collect();
        case.write(
            "adapter/adapter_model.safetensors",
            tensors::to_bytes(&file),
        );
        read_tensors(&case.done(&spec).1.join("model.safetensors"))
    };
    let wanted = result(str::to_owned);
    for wrapped in [
        (|name| format!("_orig_mod.{name}")) as fn(&str) -> String,
        |name| name.replacen("base_model.model.", "base_model.model._orig_mod.", 1),
    ] {
        for (name, tensor) in result(wrapped).iter() {
            assert_eq!(tensor.bytes(), wanted[name].bytes(), "{name}");
        }
    }
}

#[test]
fn settings_that_change_the_function_are_refused_by_name() {
    let (case, spec) = case("llama", "patterns");
    let settings = read_json(&case.path("adapter/adapter_config.json"));
    for (key, value) in [
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("loftq")),
        ("alora_invocation_tokens", json!([1])),
        ("a_setting_of_next_year", json!(1)),
    ] {
        let mut changed = settings.clone();
        changed[key] = value;
        case.write("adapter/adapter_config.json", changed.to_string());
        let found = refused(&case, &spec);
        assert_eq!(
            found,
            (FailureCode::NotImplemented, "/source/trajectory".into()),
            "{key}"
        );
        let detail = case.plan(&spec).expect_err("it is refused").to_string();
        assert!(detail.contains(key), "{detail}");
    }
    // A rank that is not the factors'.
    let mut changed = settings;
    changed["rank_pattern"] = json!({});
    case.write("adapter/adapter_config.json", changed.to_string());
    assert_eq!(refused(&case, &spec).0, FailureCode::WrongShape);
}

#[test]
fn a_pickled_adapter_says_how_to_convert_it() {
    let (case, spec) = case("llama", "patterns");
    let file = case.path("adapter/adapter_model.safetensors");
    fs::rename(&file, file.with_file_name("adapter_model.bin")).expect("our own file");
    assert_eq!(
        refused(&case, &spec),
        (FailureCode::PickleRefused, "/source/trajectory".into())
    );
    let detail = case.plan(&spec).expect_err("it is refused").to_string();
    assert!(
        detail.contains("retune convert adapter_model.bin"),
        "{detail}"
    );
}
