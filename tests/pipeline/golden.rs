//! Golden files: what jobs of every kind answer, held byte for byte.
//!
//! A dozen small jobs leave a report, a manifest and a plan. Each is compared with its file under
//! `tests/fixtures/golden/<job>/`, after only what differs from run to run has been replaced: paths,
//! the transfer's id, versions, seconds, and the digests of files that hold any of these. The OpenAPI
//! document has a file of its own.
//!
//! `RETUNE_REWRITE_GOLDEN=1 cargo test --test main golden` rewrites the files. Read their difference
//! before it is committed: a field that moved, came or went is a change of the interface.
//!
//! The figures are those of an x86-64 processor with AVX2 and without AVX-512: kernels for others add in another
//! order and differ in their last digits. There the keys and their order alone are held.

use std::{fs, path::Path};

use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, HostTensor},
    service::api,
};
use serde_json::{Value, json};

use super::{
    adapters::{self, CLASSES, WIDTH},
    case::{Case, read_json},
    heads::headless,
    report::listed,
    rows::{a_class_more, name_all},
    widths::a_wider_base,
};
use crate::{
    engine::transformers::{Projection, Size, language_model},
    support::kept,
};

/// Files of a result that hold seconds or paths: neither their size nor their digest lasts.
const VARYING: [&str; 3] = ["README.md", "report.json", "adapter/adapter_config.json"];

/// Compares a document with its golden file, or rewrites that.
fn hold(name: &str, document: &Value) {
    let path = format!("tests/fixtures/golden/{name}");
    if !has_the_kernels() && !kept::rewrites() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let golden: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
        assert_eq!(
            keys_of(&golden).to_string(),
            keys_of(document).to_string(),
            "{name}"
        );
        return;
    }

    kept::hold(&path, &format!("{document:#}\n"), "golden");
}

/// Whether figures are to the last digit those of the golden files.
fn has_the_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// Replaces what depends on the place and the moment of a run.
fn without_place(document: &Value, case: &Case, id: &str) -> Value {
    let folder = case.folder.path().to_str().expect("UTF-8");
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let text = document
        .to_string()
        .replace(folder, "/case")
        .replace(&version, "\"version\":\"\"");
    let text = if id.is_empty() {
        text
    } else {
        text.replace(id, "id")
    };
    serde_json::from_str(&text).expect("JSON")
}

/// The same keys in the same order, without a value.
fn keys_of(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), keys_of(value)))
            .collect(),
        Value::Array(items) => items.iter().map(keys_of).collect(),
        _ => Value::Null,
    }
}

/// Of time and machine the keys alone are held.
fn lasting_report(mut report: Value) -> Value {
    for part in ["timing", "environment"] {
        report[part] = keys_of(&report[part]);
    }
    report
}

fn lasting_manifest(mut manifest: Value) -> Value {
    for file in manifest["outputs"].as_array_mut().expect("a list") {
        if VARYING.iter().any(|name| file["name"] == *name) {
            file["size"] = Value::Null;
            file["sha256"] = Value::Null;
        }
    }
    manifest
}

/// Of seconds and speeds the keys alone are held.
fn lasting_plan(mut plan: Value) -> Value {
    plan["speeds"] = keys_of(&plan["speeds"]);
    let estimate = &mut plan["estimate"];
    for name in ["seconds", "seconds_least"] {
        estimate[name] = Value::Null;
    }
    for phase in estimate["phases"].as_array_mut().expect("phases") {
        phase["seconds"] = Value::Null;
    }
    plan
}

/// Plans and runs a job, and holds all that it answers.
fn hold_job(name: &str, case: &Case, spec: &Value) -> Value {
    let plan = case.plan(spec).expect("a sound job");
    hold(
        &format!("{name}/plan.json"),
        &lasting_plan(without_place(&plan, case, "")),
    );

    let (_, folder) = case.done(spec);
    let id = folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("an id")
        .to_owned();
    let [report, manifest] = ["report.json", "manifest.json"]
        .map(|file| without_place(&read_json(&folder.join(file)), case, &id));
    let report = lasting_report(report);
    hold(&format!("{name}/report.json"), &report);
    hold(
        &format!("{name}/manifest.json"),
        &lasting_manifest(manifest),
    );
    report
}

#[test]
fn golden_every_method() {
    let case = Case::normed();
    let mut spec = case.spec();
    spec["methods"] = json!([
        "identity",
        "functional",
        "weight_matching",
        "gmt",
        "fgmt",
        "gradfix",
        "bico",
        "theseus",
        "oracle"
    ]);
    spec["options"] = json!({"timesteps": 2, "batch_size": 32, "gradfix_on": "fgmt"});
    hold_job("methods", &case, &spec);
}

#[test]
fn golden_auto() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    hold_job("auto", &case, &spec);
}

#[test]
fn golden_auto_fine_tuned() {
    let case = Case::normed();
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    spec["options"] = json!({"timesteps": 2, "batch_size": 16});
    spec["fine_tune"] = json!({"epochs": 2, "learning_rate": 0.01, "batch_size": 32});
    let report = hold_job("auto_fine_tuned", &case, &spec);
    assert!(report["fine_tune"].is_object() && report["baselines"]["fine_tune_only"].is_object());
}

#[test]
fn golden_rejected() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["gate"] = json!({"min": 1.0, "max_drop_from_source": 0.0, "max_negative_flips": 0.0});
    let report = hold_job("rejected", &case, &spec);
    assert_eq!(report["verdict"], "rejected");
}

#[test]
fn golden_head_adopted() {
    let case = headless();
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching", "functional"]);
    let report = hold_job("head_adopted", &case, &spec);
    assert!(report["head"].is_object());
}

#[test]
fn golden_adapter() {
    let score = adapters::values(&[CLASSES, WIDTH], 11);
    let (case, mut spec, _) = adapters::case("SEQ_CLS", &[("score.weight", score)]);
    for (name, count) in [("train", 48), ("test", 12)] {
        adapters::sentences(&case, &format!("{name}.safetensors"), count);
    }
    spec["data"] =
        json!({"train": case.uri("train.safetensors"), "test": case.uri("test.safetensors")});
    spec["options"]["update"] = json!({"format": "lora", "rank": 2});
    let report = hold_job("adapter", &case, &spec);
    assert!(report["update"].is_object());
}

#[test]
fn golden_stored_trajectory() {
    let case = Case::fresh();
    let mut spec = listed(&case, &case.path("new"));
    spec["methods"] = json!(["fgmt"]);
    spec["options"] = json!({"timesteps": 3, "batch_size": 32, "trajectory": "stored"});
    hold_job("stored_trajectory", &case, &spec);
}

#[test]
fn golden_language_model() {
    let case = Case::empty(language_model(
        Projection::Grouped,
        Size {
            depth: 1,
            width: 16,
        },
        true,
    ));
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    for (name, seed, count) in [("train", 4, 24), ("validation", 5, 12), ("test", 6, 12)] {
        put_sentences(&case, &format!("{name}.safetensors"), count, seed);
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching", "fgmt", "functional"]);
    spec["options"] = json!({"timesteps": 2, "batch_size": 8});
    hold_job("language_model", &case, &spec);
}

/// Sentences of a language model, whose labels are its tokens.
fn put_sentences(case: &Case, name: &str, count: usize, seed: u64) {
    let data = case.network.data(count, 0, seed);
    let all: Vec<usize> = (0..data.len()).collect();
    let ids: Vec<i64> = data
        .batch(&all)
        .inputs
        .iter()
        .map(|&id| id as i64)
        .collect();
    let shape = [&[data.len()], data.sample_shape()].concat();
    let mask: Vec<i64> = ids.iter().map(|&id| i64::from(id >= 0)).collect();
    let ids: Vec<i64> = ids.iter().map(|&id| id.max(0)).collect();
    let labels = data.labels().to_vec();
    let tensors: Checkpoint = [
        ("input_ids", ids),
        ("attention_mask", mask),
        ("labels", labels),
    ]
    .into_iter()
    .map(|(name, values)| {
        (
            name.to_owned(),
            HostTensor::from_i64(shape.clone(), &values),
        )
    })
    .collect();
    case.write(name, tensors::to_bytes(&tensors));
}

#[test]
fn golden_other_width() {
    let (case, mut spec) = a_wider_base();
    spec["methods"] = json!(["bico", "theseus", "functional"]);
    hold_job("other_width", &case, &spec);
}

#[test]
fn golden_shared_rows() {
    let (case, spec) = a_class_more();
    name_all(&case);
    let report = hold_job("shared_rows", &case, &spec);
    assert_eq!(report["shared_rows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn golden_without_data() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec.as_object_mut().expect("an object").remove("data");
    spec["methods"] = json!(["identity", "weight_matching"]);
    hold_job("without_data", &case, &spec);
}

#[test]
fn golden_validation_held_out() {
    let case = Case::normed();
    let mut spec = case.spec();
    spec["data"] = json!({"train": case.uri("train.safetensors")});
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"orthogonal_shift": true});
    spec["metadata"] = json!({"team": "vision"});
    hold_job("validation_held_out", &case, &spec);
}

#[test]
fn golden_openapi() {
    let mut document = serde_json::to_value(api::openapi()).expect("JSON");
    let version = document["info"]["version"].take();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    hold("openapi.json", &document);
}
