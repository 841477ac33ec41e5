//! Heads: bases that have none, output matrices that are embeddings.

use retune::{engine::network::Checkpoint, pipeline::Failure};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors};

/// The bases without their last layer, as bodies are published.
fn headless() -> Case {
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

fn code(found: Result<impl Sized, Failure>) -> (&'static str, Option<String>) {
    match found {
        Err(Failure::Input { code, pointer, .. }) => (code, pointer),
        Err(other) => panic!("another failure: {other}"),
        Ok(_) => panic!("it must be refused"),
    }
}

#[test]
fn a_head_that_the_bases_lack_is_the_old_tunings() {
    let case = headless();
    let mut spec = case.spec();
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let (found, report) =
        (read_tensors(&folder.join("model.safetensors")), read_json(&folder.join("report.json")));
    assert_eq!(report["head"]["adopted"], json!(["fc2.bias", "fc2.weight"]));
    assert_eq!(read_json(&folder.join("config.json"))["nodes"][4]["param"], "fc2");
    // The new base is the old one in another order: that order, and the old head in it.
    let accuracy = report["metrics"]["accuracy"].as_f64().expect("a figure");
    let source = report["metrics"]["source_accuracy"].as_f64().expect("a figure");
    assert!(accuracy > source - 0.05, "{accuracy} of {source}");
    let before = report["metrics"]["target_accuracy_before"].as_f64().expect("a figure");
    assert!(
        before < source - 0.2,
        "the old head on the new order is nothing: {before} of {source}"
    );
    let sigma = read_tensors(&folder.join("permutation.safetensors"))["fc1"].f32().into_owned();
    assert!(sigma.iter().enumerate().any(|(i, &j)| j != i as f32), "not the identity");
    let tuned: Checkpoint = case.model("tuned");
    let (new, old) = (found["fc2.weight"].f32(), tuned["fc2.weight"].f32());
    for (row, values) in new.chunks(12).enumerate() {
        for (unit, &value) in values.iter().enumerate() {
            assert_eq!(value.to_bits(), old[row * 12 + sigma[unit] as usize].to_bits());
        }
    }
    assert_eq!(found["fc2.bias"].bytes(), tuned["fc2.bias"].bytes());

    spec["options"]["head"] = json!("keep");
    let refused = ("no_head", Some("/options/head".to_owned()));
    assert_eq!(code(case.run(&spec)), refused);
    assert_eq!(code(case.plan(&spec)), refused);
}

#[test]
fn a_part_of_a_layer_is_no_head_to_adopt() {
    let case = Case::fresh();
    let mut old: Checkpoint = case.model("old");
    old.remove("fc2.bias");
    case.put_weights("old", &old);
    let refused = ("incompatible_models", Some("/source/base".to_owned()));
    assert_eq!(code(case.run(&case.spec())), refused);
    assert_eq!(code(case.plan(&case.spec())), refused);
}

fn tied() -> (Case, Value) {
    use crate::engine::transformers::{Projection, language_model};
    let case = Case::empty(language_model(Projection::Grouped, (1, 16), true));
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
        let refused = ("tied_head", Some("/options/head".to_owned()));
        assert_eq!(code(case.run(&spec)), refused);
        assert_eq!(code(case.plan(&spec)), refused);
    }
}
