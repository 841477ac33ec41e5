//! Models of architectures that no builder knows: carried by the names of their tensors.

mod limits;
mod parts;

use std::fs;

use retune::{
    contract::{codes::FailureCode, outcome::Verdict},
    engine::tensors::{Checkpoint, DType, HostTensor},
};
use serde_json::{Value, json};

use super::case::{Case, names_in, read_json, read_tensors};
use crate::engine::networks::mlp;

const PROJECTION: &str = "model.layers.0.self_attn.q_proj.weight";

/// A block of next year's decoder: a norm of queries that no builder reads, a buffer, and a tied embedding.
/// Values are multiples of 1/64 about `shift`, so that sums of a few are exact in f32.
fn decoder(shift: f32) -> Checkpoint {
    let tensor = |shape: &[usize], step: usize| {
        let count: usize = shape.iter().product();
        let value = |i: usize| ((i * step) % 23) as f32 / 16.0 - 0.5 + shift;
        HostTensor::from_f32(shape.to_vec(), (0..count).map(value).collect())
    };
    [
        ("model.embed_tokens.weight", tensor(&[10, 4], 7)),
        (PROJECTION, tensor(&[6, 4], 5)),
        ("model.layers.0.self_attn.q_norm.weight", tensor(&[2], 3)),
        ("model.norm.weight", tensor(&[4], 11)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into_iter()
    .collect()
}

fn config() -> Value {
    json!({"model_type": "of_next_year", "architectures": ["NextYearForCausalLM"], "vocab_size": 10,
        "rope_theta": 10000.0})
}

fn put(case: &Case, name: &str, config: &Value, model: &Checkpoint) {
    case.write(&format!("{name}/config.json"), format!("{config:#}\n"));
    case.put_weights(name, model);
}

/// `old/`, `tuned/` and `new/` of the same lineage, and a job that carries the one to the other.
fn case() -> (Case, Value) {
    let case = Case::empty(mlp(&[2, 2, 2]));
    for (name, shift) in [("old", 0.0), ("tuned", 0.25), ("new", 0.015_625)] {
        put(&case, name, &config(), &decoder(shift));
    }
    let spec = spec(&case);
    (case, spec)
}

fn spec(case: &Case) -> Value {
    json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
        "target": {"base": case.uri("new/")},
        "methods": ["identity"],
        "output": case.uri("out/"),
    })
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

#[test]
fn the_update_is_added_to_tensors_of_the_same_names() {
    let (case, spec) = case();
    let plan = case.plan(&spec).expect("headers are enough");
    assert_eq!(
        (&plan["network"], &plan["groups"]),
        (&json!("by_names"), &json!(0))
    );

    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Published);
    // new + (tuned − old): 1/64 + 1/4 above the old base, exactly.
    let (found, expected) = (
        read_tensors(&folder.join("model.safetensors")),
        decoder(0.265_625),
    );
    assert_eq!(found.signature(), expected.signature());
    for (name, tensor) in expected.iter() {
        assert_eq!(found[name].bytes(), tensor.bytes(), "{name}");
    }
    // What the library reads is untouched, and there is no π to tell of.
    let bytes = |folder: &std::path::Path| fs::read(folder.join("config.json")).expect("a file");
    assert_eq!(bytes(&folder), bytes(&case.path("new")));
    assert!(!names_in(&folder).contains(&"permutation.safetensors".to_owned()));

    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["network"], "by_names");
    assert!(
        warnings(&report).contains("no builder knows this architecture"),
        "{report:#}"
    );
    assert!(
        report["diagnosis"]["base_cosines"]["matrices"]
            .as_f64()
            .unwrap()
            > 0.9
    );
}

/// 1 + 1/256 and 1 + 3/256 lie between two neighbours of bf16: the even one is taken, once.
#[test]
fn sums_are_rounded_once_to_the_new_bases_dtype() {
    let case = Case::empty(mlp(&[2, 2, 2]));
    let model = |dtype: DType, values: [f32; 2]| -> Checkpoint {
        let tensor = HostTensor::from_f32_as(dtype, vec![1, 2], values.to_vec());
        [("a.weight".to_owned(), tensor)].into_iter().collect()
    };
    put(&case, "old", &config(), &model(DType::F32, [0.5, 0.5]));
    put(
        &case,
        "tuned",
        &config(),
        &model(DType::F32, [0.503_906_25, 0.503_906_25]),
    );
    put(
        &case,
        "new",
        &config(),
        &model(DType::BF16, [1.0, 1.007_812_5]),
    );
    let (_, folder) = case.done(&spec(&case));
    let found = &read_tensors(&folder.join("model.safetensors"))["a.weight"];
    assert_eq!(found.dtype(), DType::BF16);
    assert_eq!(*found.f32(), [1.0, 1.015_625]);
}

/// A running mean moves, a running variance is scaled, and what counts or masks stays the new base's.
#[test]
fn statistics_and_whole_numbers_are_no_weights() {
    let (case, spec) = case();
    for (name, mean, variance, batches) in [
        ("old", 1.0, 2.0, 7),
        ("tuned", 1.5, 3.0, 9),
        ("new", 2.0, 4.0, 8),
    ] {
        let mut model = case.model(name);
        model.insert("bn.running_mean", HostTensor::from_f32(vec![1], vec![mean]));
        model.insert(
            "bn.running_var",
            HostTensor::from_f32(vec![1], vec![variance]),
        );
        model.insert(
            "bn.num_batches_tracked",
            HostTensor::from_i64(vec![], &[batches]),
        );
        model.insert("position_ids", HostTensor::from_i64(vec![1, 2], &[0, 1]));
        case.put_weights(name, &model);
    }
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(
        (
            found["bn.running_mean"].f32()[0],
            found["bn.running_var"].f32()[0]
        ),
        (2.5, 6.0)
    );
    assert_eq!(found["bn.num_batches_tracked"].f32()[0], 8.0);

    let mut tuned = case.model("tuned");
    tuned.insert("position_ids", HostTensor::from_i64(vec![1, 2], &[0, 2]));
    case.put_weights("tuned", &tuned);
    fs::remove_dir_all(case.path("out")).expect("our own folder");
    let (code, pointer, text) = case.refused(&spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::IncompatibleModels, "/source/trajectory")
    );
    assert!(text.contains("position_ids"), "{text}");
}
