//! Bases of one family that differ in width.

use std::ops::ControlFlow;

use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::{
        tensors::{Checkpoint, HostTensor},
        training::Dataset,
    },
};
use serde_json::{Value, json};

use super::case::{CLASSES, Case, plan, read_json, read_tensors, samples};
use crate::engine::{
    networks::{Network, mlp},
    transformers::{ALL, Size, transformer},
};

/// Where the old base's channels stand in the wider one; the others idle.
const HIDDEN: [&[usize]; 2] = [&[7, 0, 4, 2, 8], &[3, 6, 1, 0]];
const WIDER: [usize; 2] = [9, 7];

/// The same function in the wider network.
fn widened(model: &Checkpoint) -> Checkpoint {
    let place = |axis: &[usize], i: usize| if axis.is_empty() { i } else { axis[i] };
    let widened = |name: &str, tensor: &HostTensor| {
        let layer: usize = name[2..3].parse().expect("fc and a digit");
        let rows = HIDDEN.get(layer).copied().unwrap_or_default();
        let columns = layer
            .checked_sub(1)
            .map_or(&[][..], |before| HIDDEN[before]);
        let mut shape = tensor.shape().to_vec();
        if layer < 2 {
            shape[0] = WIDER[layer];
        }
        if layer > 0 && shape.len() == 2 {
            shape[1] = WIDER[layer - 1];
        }
        let (from, to) = (
            tensor.shape().get(1).unwrap_or(&1),
            shape.get(1).unwrap_or(&1),
        );
        let mut values = vec![0f32; shape.iter().product()];
        for (at, &value) in tensor.f32().iter().enumerate() {
            let (row, column) = (at / from, at % from);
            let column = if tensor.shape().len() == 2 {
                place(columns, column)
            } else {
                0
            };
            values[place(rows, row) * to + column] = value;
        }
        HostTensor::from_f32(shape, values)
    };
    model
        .iter()
        .map(|(name, tensor)| (name.to_owned(), widened(name, tensor)))
        .collect()
}

fn tuned(network: &Network, base: &Checkpoint, data: &Dataset, epochs: usize) -> Checkpoint {
    let learner = network.learner();
    learner
        .fine_tune(
            base,
            data,
            &plan(epochs),
            &mut |_| ControlFlow::Continue(()),
        )
        .checkpoint
}

/// The new base is the old one inside a wider network.
pub(super) fn a_wider_base() -> (Case, Value) {
    let network = mlp(&[6, HIDDEN[0].len(), HIDDEN[1].len(), CLASSES as usize]);
    let old = network.parameters(2);
    let (inputs, labels) = samples(120, 1);
    let train = Dataset::from_floats(inputs.clone(), labels.clone());
    let tuned = tuned(&network, &old, &train, 20);
    let case = Case::empty(network);
    case.put_model("old", &old);
    case.put_model("tuned", &tuned);
    // The document says no size: they are the tensors'.
    case.put_model("new", &widened(&old));
    case.put_data("train.safetensors", inputs, &labels);
    for (name, seed) in [("validation", 6), ("test", 7)] {
        let (inputs, labels) = samples(60, seed);
        case.put_data(&format!("{name}.safetensors"), inputs, &labels);
    }
    let mut spec = case.spec();
    spec["options"] = json!({"timesteps": 2, "step": "last", "alpha": 1.0});
    (case, spec)
}

/// The law of the maps: what idles stays idle, and the rest is the tuned model.
#[test]
fn a_network_inside_a_wider_one_is_found() {
    let (case, mut spec) = a_wider_base();
    let wanted = widened(&case.model("tuned"));
    for method in ["theseus", "bico"] {
        spec["methods"] = json!([method]);
        case.plan(&spec).expect("headers tell the same");
        let (_, folder) = case.done(&spec);
        let found = read_tensors(&folder.join("model.safetensors"));
        for (name, tensor) in wanted.iter() {
            let pairs = found[name]
                .f32()
                .into_owned()
                .into_iter()
                .zip(tensor.f32().into_owned());
            let off = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(off < 1e-4, "{method}: {name} is {off:e} off");
        }
        let report = read_json(&folder.join("report.json"));
        assert_eq!(report["diagnosis"]["across_widths"], true);
        assert_eq!(report["diagnosis"]["identical_bases"], false);
        assert_eq!(
            report["metrics"]["accuracy"],
            report["metrics"]["source_accuracy"]
        );
    }
}

#[test]
fn between_widths_auto_tries_what_leads_there() {
    let (case, mut spec) = a_wider_base();
    spec["methods"] = json!("auto");
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.01});
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let ladder = report["ladder"].as_array().expect("rungs");
    let taken = |method: &str| {
        let rung = ladder
            .iter()
            .find(|rung| rung["method"] == method)
            .expect("every rung");
        (
            rung["taken"] == true,
            rung["reason"].as_str().expect("a reason").to_owned(),
        )
    };
    assert!(taken("functional").0);
    for method in ["identity", "weight_matching", "fgmt"] {
        let (taken, reason) = taken(method);
        assert!(
            !taken && reason.contains("differ in width"),
            "{method}: {reason}"
        );
    }
    assert!(report["baselines"]["fine_tune_only"]["accuracy"].is_number());
    assert!(!folder.join("permutation.safetensors").exists());
}

#[test]
fn what_does_not_lead_between_widths_is_refused() {
    let (case, sound) = a_wider_base();
    let refused = |spec: &Value, pointer: &str, hint: &str| {
        for error in [
            case.run(spec).expect_err("it is"),
            case.plan(spec).expect_err("it is"),
        ] {
            let retune::pipeline::Failure::Input {
                code,
                pointer: at,
                detail,
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!(
                (code, at.as_deref()),
                (FailureCode::IncompatibleModels, Some(pointer)),
                "{detail}"
            );
            assert!(
                detail.contains("fc0.bias is [5] here and [9] there"),
                "{detail}"
            );
            assert!(detail.contains(hint), "{detail}");
        }
    };
    let with = |change: fn(&mut Value)| {
        let mut spec = sound.clone();
        change(&mut spec);
        spec
    };
    refused(
        &with(|s| s["methods"] = json!(["theseus", "fgmt"])),
        "/methods",
        "not fgmt",
    );
    refused(
        &with(|s| s["methods"] = json!(["gradfix"])),
        "/methods",
        "not gradfix",
    );
    let blind = with(|s| {
        s["methods"] = json!("auto");
        s["data"]
            .as_object_mut()
            .expect("an object")
            .remove("train");
    });
    refused(&blind, "/data/train", "training samples");
    // Another depth is another network.
    let deeper = mlp(&[6, 9, 7, 7, 3]);
    case.write("deeper/config.json", deeper.graph.to_document().to_string());
    case.put_weights("deeper", &deeper.parameters(3));
    let mut spec = with(|s| s["methods"] = json!(["bico"]));
    spec["target"]["base"] = json!(case.uri("deeper/"));
    let error = case.run(&spec).expect_err("it is").to_string();
    assert!(error.contains("not of the same architecture"), "{error}");
    assert!(!error.contains("Between widths"), "{error}");
}

fn put_tokens(case: &Case, name: &str, data: &Dataset) {
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
    let tensors: Checkpoint = [
        ("input_ids", HostTensor::from_i64(shape.clone(), &ids)),
        ("attention_mask", HostTensor::from_i64(shape, &mask)),
        (
            "labels",
            HostTensor::from_i64(vec![data.len()], data.labels()),
        ),
    ]
    .into_iter()
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .collect();
    case.write(name, tensors::to_bytes(&tensors));
}

/// Attention, norms, fused and transposed projections, more heads' worth of channels.
#[test]
fn transformers_of_two_widths() {
    for projection in ALL {
        let [narrow, wide] = [16, 24]
            .map(|width| transformer(projection, Size { depth: 2, width }, CLASSES as usize));
        let data = |network: &Network, seed| network.data(80, CLASSES, seed);
        let (old, train) = (narrow.parameters(1), data(&narrow, 2));
        let tuned = tuned(&narrow, &old, &train, 4);
        let case = Case::empty(narrow);
        case.put_model("old", &old);
        case.put_model("tuned", &tuned);
        case.write("new/config.json", wide.graph.to_document().to_string());
        case.put_weights("new", &wide.parameters(3));
        for (name, seed) in [("train", 2), ("validation", 4), ("test", 5)] {
            put_tokens(&case, &format!("{name}.safetensors"), &data(&wide, seed));
        }
        let mut spec = case.spec();
        spec["methods"] = json!(["bico", "theseus", "gradfix"]);
        spec["options"] = json!({"gradfix_on": "theseus", "timesteps": 2});
        let (_, folder) = case.done(&spec);
        let found = read_tensors(&folder.join("model.safetensors"));
        let base = case.model("new");
        let moved = |name: &str| found[name].bytes() != base[name].bytes();
        assert!(
            moved("head.weight") && moved("words.weight"),
            "{projection:?}"
        );
        assert!(
            found
                .iter()
                .all(|(_, t)| t.f32().iter().all(|v| v.is_finite()))
        );
    }
}
