//! Heads: bases that have none, output matrices that are embeddings.

use retune::{contract::codes::FailureCode, engine::tensors::Checkpoint};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors, refusal};

/// The bases without their last layer, as bodies are published.
pub(super) fn headless() -> Case {
    let case = Case::fresh();
    for name in ["old", "new"] {
        let mut config = read_json(&case.path(&format!("{name}/config.json")));
        let nodes = config["nodes"].as_array_mut().expect("nodes");
        // A body as it is, with the pre-training's head.
        nodes.pop();
        nodes.push(json!({"op": "linear", "param": "fc2"}));
        nodes.last_mut().expect("nodes")["param"] = json!("other");
        case.write(&format!("{name}/config.json"), format!("{config:#}"));
        let mut model = case.model(name);
        model.remove("fc2.weight");
        model.remove("fc2.bias");
        case.put_weights(name, &model);
    }
    case
}

#[test]
fn a_head_that_the_bases_lack_is_the_old_tunings() {
    let case = headless();
    let mut spec = case.spec();
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let (found, report) = (
        read_tensors(&folder.join("model.safetensors")),
        read_json(&folder.join("report.json")),
    );
    assert_eq!(report["head"]["adopted"], json!(["fc2.bias", "fc2.weight"]));
    assert_eq!(
        read_json(&folder.join("config.json"))["nodes"][4]["param"],
        "fc2"
    );
    // The new base is the old one in another order: that order, and the old head in it.
    let accuracy = report["metrics"]["accuracy"].as_f64().expect("a figure");
    let source = report["metrics"]["source_accuracy"]
        .as_f64()
        .expect("a figure");
    assert!(accuracy > source - 0.05, "{accuracy} of {source}");
    let before = report["metrics"]["target_accuracy_before"]
        .as_f64()
        .expect("a figure");
    assert!(
        before < source - 0.2,
        "the old head on the new order is nothing: {before} of {source}"
    );
    let sigma = read_tensors(&folder.join("permutation.safetensors"))["fc1"]
        .f32()
        .into_owned();
    assert!(
        sigma.iter().enumerate().any(|(i, &j)| j != i as f32),
        "not the identity"
    );
    let tuned: Checkpoint = case.model("tuned");
    let (new, old) = (found["fc2.weight"].f32(), tuned["fc2.weight"].f32());
    for (row, values) in new.chunks(12).enumerate() {
        for (unit, &value) in values.iter().enumerate() {
            assert_eq!(
                value.to_bits(),
                old[row * 12 + sigma[unit] as usize].to_bits()
            );
        }
    }
    assert_eq!(found["fc2.bias"].bytes(), tuned["fc2.bias"].bytes());

    spec["options"]["head"] = json!("keep");
    let refused = (FailureCode::NoHead, Some("/options/head".to_owned()));
    assert_eq!(refusal(case.run(&spec)), refused);
    assert_eq!(refusal(case.plan(&spec)), refused);
}

#[test]
fn a_part_of_a_layer_is_no_head_to_adopt() {
    let case = Case::fresh();
    let mut old: Checkpoint = case.model("old");
    old.remove("fc2.bias");
    case.put_weights("old", &old);
    let refused = (
        FailureCode::IncompatibleModels,
        Some("/source/base".to_owned()),
    );
    assert_eq!(refusal(case.run(&case.spec())), refused);
    assert_eq!(refusal(case.plan(&case.spec())), refused);
}

fn tied() -> (Case, Value) {
    use crate::engine::transformers::{Projection, Size, language_model};
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
    let spec = json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
        "target": {"base": case.uri("new/")},
        "methods": ["weight_matching"],
        "output": case.uri("out/"),
    });
    (case, spec)
}

#[test]
fn an_output_matrix_that_is_the_embedding_is_only_transported() {
    let (case, mut spec) = tied();
    case.done(&spec);
    for head in ["source", "keep"] {
        spec["options"] = json!({"head": head});
        let refused = (FailureCode::TiedHead, Some("/options/head".to_owned()));
        assert_eq!(refusal(case.run(&spec)), refused);
        assert_eq!(refusal(case.plan(&spec)), refused);
    }
}

/// Of full rank, the adapter on the new base is the published model; of rank one it is less, and the
/// report says by how much.
#[test]
fn the_update_is_an_adapter_on_the_new_base() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    let mut errors = |rank: usize| {
        spec["options"]["update"] = json!({"format": "lora", "rank": rank});
        let (outcome, folder) = case.done(&spec);
        let report = read_json(&folder.join("report.json"));
        let of = |i: usize| {
            report["update"]["tensors"][i]["relative_error"]
                .as_f64()
                .expect("one")
        };
        assert_eq!(report["update"]["whole"], json!(["fc2"]));
        ((of(0), of(1)), outcome.uri, folder)
    };
    let ((first, second), uri, folder) = errors(16);
    assert!(first < 1e-6 && second < 1e-6, "{first} and {second}");
    let published = read_tensors(&folder.join("model.safetensors"));
    let back = json!({
        "source": {"base": case.uri("new/"), "trajectory": format!("{uri}adapter/")},
        "target": {"base": case.uri("new/")},
        "methods": ["identity"],
        "output": case.uri("out/"),
    });
    let (_, folder) = case.done(&back);
    for (name, tensor) in read_tensors(&folder.join("model.safetensors")).iter() {
        for (found, wanted) in tensor.f32().iter().zip(published[name].f32().iter()) {
            assert!((found - wanted).abs() < 1e-5, "{name}");
        }
    }
    let ((first, second), _, folder) = errors(1);
    assert!(
        first > 0.1 && second > 0.1 && first < 1.0 && second < 1.0,
        "{first} and {second}"
    );
    let adapter = read_tensors(&folder.join("adapter/adapter_model.safetensors"));
    let (a, b) = (
        "base_model.model.fc0.lora_A.weight",
        "base_model.model.fc0.lora_B.weight",
    );
    assert_eq!(
        (adapter[a].shape(), adapter[b].shape()),
        (&[1, 6][..], &[16, 1][..])
    );
    let (published, new) = (
        read_tensors(&folder.join("model.safetensors")),
        case.model("new"),
    );
    let (mut off, mut size) = (0f64, 0f64);
    for (i, (to, from)) in published["fc0.weight"]
        .f32()
        .iter()
        .zip(new["fc0.weight"].f32().iter())
        .enumerate()
    {
        let update = f64::from(*to) - f64::from(*from);
        let product = f64::from(adapter[b].f32()[i / 6]) * f64::from(adapter[a].f32()[i % 6]);
        (off, size) = (off + (update - product).powi(2), size + update * update);
    }
    assert!(
        ((off / size).sqrt() - first).abs() < 1e-9,
        "the report tells the truth"
    );
}
