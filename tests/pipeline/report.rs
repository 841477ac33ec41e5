//! What a report tells of a transfer: ranks, costs, time, and what it rests on.

use std::{fs, path::Path};

use retune::{
    contract::codes::FailureCode,
    engine::tensors::{DType, HostTensor},
    pipeline::Failure,
};
use serde_json::{Value, json};

use super::case::{Case, FEATURES, number, samples};
use crate::engine::networks::{Network, mlp};

#[test]
fn candidates_are_ranked_by_validation() {
    let case = Case::fresh();
    let report = case.report(&case.spec());
    let candidates = report["candidates"].as_array().expect("a list");
    let mut ranks: Vec<u64> = Vec::new();
    for one in candidates {
        let rank = one["rank"].as_u64().expect("a rank");
        assert_eq!(
            rank == 1,
            one["method"] == report["winner"],
            "{}",
            one["method"]
        );
        let figures = |c: &Value| {
            (
                number(&c["validation"]["accuracy"]),
                -number(&c["validation"]["loss"]),
            )
        };
        let better = candidates
            .iter()
            .filter(|other| figures(other) > figures(one))
            .count();
        assert!(rank as usize > better, "{}", one["method"]);
        ranks.push(rank);
    }
    ranks.sort_unstable();
    assert_eq!(ranks, [1, 2, 3]);

    // Without validation there is nothing to rank by, and the report says what chose.
    let mut spec = case.spec();
    spec.as_object_mut().expect("an object").remove("data");
    spec["methods"] = json!(["weight_matching", "identity"]);
    let report = case.report(&spec);
    assert_eq!(report["winner"], "identity");
    assert_eq!(report["candidates"][0]["rank"], Value::Null);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("identity was taken because it is named last"),
        "{warnings}"
    );
}

#[test]
fn what_two_methods_build_upon_is_counted_once() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["fgmt", "gradfix"]);
    spec["options"]["gradfix_on"] = json!("fgmt");
    let report = case.report(&spec);
    let of = |at: usize| number(&report["candidates"][at]["sample_gradients"]);
    // 2 · 3 timesteps · 32 samples; gradfix has them, too, and 32 that vote.
    assert!(
        (of(0) - 192.0).abs() < 0.5 && (of(1) - 224.0).abs() < 0.5,
        "{} {}",
        of(0),
        of(1)
    );
    assert_eq!(report["cost"]["transfer_sample_gradients"], 224);
}

#[test]
fn time_and_energy_are_told_by_phase_and_for_training() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["fine_tune"] = json!({"epochs": 20, "learning_rate": 0.01, "batch_size": 8});
    let timing = case.report(&spec)["timing"].take();
    let phases = timing["by_phase"].as_object().expect("phases");
    let names: Vec<&str> = phases.keys().map(String::as_str).collect();
    let mut expected = [
        "fetching",
        "diagnosing",
        "aligning",
        "transferring",
        "evaluating",
        "fine_tuning",
    ];
    expected.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let sum = |what: &str| {
        phases
            .values()
            .map(|phase| number(&phase[what]))
            .sum::<f64>()
    };
    assert!(
        sum("wall_seconds") <= number(&timing["wall_seconds"]) + 1e-3,
        "{timing:#}"
    );
    assert!(
        sum("cpu_seconds") <= number(&timing["cpu_seconds"]) + 0.05,
        "{timing:#}"
    );
    let tuned = &timing["training"]["fine_tune"];
    assert!(
        number(&tuned["cpu_seconds"]) > 0.0 && number(&tuned["joules"]) > 0.0,
        "{timing:#}"
    );
    assert!(number(&timing["winner_over_training"]) >= 0.0);
    assert!(number(&timing["methods_cpu_seconds"]["fgmt"]) >= 0.0);
    assert_eq!(timing["training"]["few_shot"], Value::Null);
    assert_eq!(timing["gpu_seconds"], Value::Null);
    #[cfg(target_os = "linux")]
    assert_eq!(timing["peak_memory_of"], "job");
    assert!(number(&timing["peak_memory_bytes"]) > 1e6);
}

/// The new base is measured as every candidate is: with statistics of the training samples.
#[test]
fn the_new_base_is_measured_with_statistics_of_the_training_samples() {
    let case = Case::normed();
    let mut new = case.model("new");
    new.insert(
        "bn.running_mean",
        HostTensor::from_f32(vec![8], vec![50.0; 8]),
    );
    case.put_weights("new", &new);
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"timesteps": 1, "alpha": 0.0, "step": "last"});
    let report = case.report(&spec);
    let (before, nothing) = (
        &report["baselines"]["target_before"],
        &report["candidates"][0]["test"],
    );
    assert_eq!(
        (&before["accuracy"], &before["loss"]),
        (&nothing["accuracy"], &nothing["loss"])
    );
    assert_eq!(before["statistics"], "re_estimated");
    assert_eq!(
        report["baselines"]["source_tuned"]["statistics"],
        "as_deployed"
    );
}

pub(super) fn listed(case: &Case, first: &Path) -> Value {
    for file in ["config.json", "model.safetensors"] {
        let to = case.path("list/base").join(file);
        fs::create_dir_all(to.parent().expect("a folder")).expect("our own folder");
        fs::copy(first.join(file), to).expect("our own file");
    }
    case.put_model("list/tuned", &case.model("tuned"));
    let steps = json!([{"step": 0, "model": "base/"}, {"step": 9, "model": "tuned/"}]);
    let list = json!({"format": "retune-trajectory/1", "checkpoints": steps});
    case.write("list/trajectory.json", list.to_string());
    let mut spec = case.spec();
    spec["source"]["trajectory"] = json!(case.uri("list/"));
    spec["methods"] = json!(["identity"]);
    spec
}

#[test]
fn a_trajectory_that_starts_elsewhere_is_noticed() {
    let case = Case::fresh();
    let warned = |first: &str| {
        let spec = listed(&case, &case.path(first));
        case.report(&spec)["warnings"]
            .to_string()
            .contains("is not source.base")
    };
    assert!(!warned("old"));
    assert!(warned("new"));
    // Of another shape it is another network's.
    let other = mlp(&[FEATURES, 20, 12, 3]);
    let wider = Case::empty(other);
    wider.put_model("old", &wider.network.parameters(1));
    let spec = listed(&case, &wider.path("old"));
    for failure in [case.plan(&spec).err(), case.run(&spec).err()] {
        let Some(Failure::Input { code, pointer, .. }) = failure else {
            panic!("it is refused: {failure:?}")
        };
        let found = (code, pointer.as_deref());
        assert_eq!(
            found,
            (FailureCode::IncompatibleModels, Some("/source/trajectory"))
        );
    }
}

#[test]
fn without_an_output_layer_there_is_no_head_to_keep() {
    let config = json!({"model_type": "graph", "input": {"kind": "features", "shape": [6]},
        "nodes": [{"op": "linear", "param": "fc"}, {"op": "relu"}]});
    let shapes = [
        ("fc.weight".to_owned(), vec![3, 6]),
        ("fc.bias".to_owned(), vec![3]),
    ];
    let case = Case::empty(Network::of(&config, shapes));
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    let (inputs, labels) = samples(30, 1);
    case.put_data("train.safetensors", inputs, &labels);
    let mut spec = case.spec();
    spec["data"] = json!({"train": case.uri("train.safetensors")});
    spec["methods"] = json!(["identity"]);
    for head in ["source", "keep"] {
        spec["options"] = json!({"head": head});
        for failure in [case.plan(&spec).err(), case.run(&spec).err()] {
            let Some(Failure::Input { code, pointer, .. }) = failure else {
                panic!("it is refused: {failure:?}")
            };
            assert_eq!(
                (code, pointer.as_deref()),
                (FailureCode::NoHead, Some("/options/head"))
            );
        }
    }
    spec["options"] = json!({"head": "transport"});
    case.done(&spec);
}

/// Every model of a job reads the images in one way: where the old tuned model was made for another, what is
/// measured of it is not what it is.
#[test]
fn another_normalisation_of_the_tuned_model_is_told() {
    let config = json!({
        "model_type": "graph", "input": {"kind": "image", "shape": [3, 2, 2]},
        "nodes": [{"op": "flatten"}, {"op": "linear", "param": "fc0"}, {"op": "relu"},
            {"op": "linear", "param": "fc1"}],
    });
    let shapes = [
        ("fc0.weight", vec![8, 12]),
        ("fc0.bias", vec![8]),
        ("fc1.weight", vec![3, 8]),
        ("fc1.bias", vec![3]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape));
    let case = Case::empty(Network::of(&config, shapes));
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    let bytes: Vec<u8> = (0..24 * 12).map(|at| (at * 37 % 251) as u8).collect();
    let images = HostTensor::from_bytes(DType::U8, vec![24, 3, 2, 2], bytes.into());
    let labels: Vec<i64> = (0..24).map(|at| at % 3).collect();
    case.put_data("test.safetensors", images.expect("whole"), &labels);
    let mut spec = case.spec();
    spec["data"] = json!({"test": case.uri("test.safetensors")});
    spec["methods"] = json!(["identity"]);
    let warned = || {
        case.report(&spec)["warnings"]
            .to_string()
            .contains("the old tuned model's preprocessor_config.json normalises")
    };

    assert!(!warned());
    let processor =
        json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}).to_string();
    case.write("tuned/preprocessor_config.json", &processor);
    assert!(warned(), "the new base says nothing: bytes over 255");
    case.write("new/preprocessor_config.json", &processor);
    assert!(!warned());
    let other = processor.replace("0.5", "0.25");
    case.write("new/preprocessor_config.json", &other);
    assert!(warned());
}
