//! Bodies without a head, as sentence embedders are: their symmetry is known, and nothing judges them.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::{contract::codes::FailureCode, engine::symmetry::Permutation, pipeline::Failure};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors};
use crate::engine::networks::Network;

const WIDTH: usize = 8;

/// A BERT of one block, with its pooler.
fn config() -> Value {
    json!({"model_type": "bert", "architectures": ["BertModel"], "num_attention_heads": 2,
        "num_hidden_layers": 1, "hidden_act": "gelu", "vocab_size": 10})
}

fn body() -> Network {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    for (name, rows) in [("word", 10), ("position", 6), ("token_type", 2)] {
        shapes.push((
            format!("bert.embeddings.{name}_embeddings.weight"),
            vec![rows, WIDTH],
        ));
    }
    let block = "bert.encoder.layer.0";
    for (name, [rows, columns]) in [
        ("attention.self.query", [WIDTH, WIDTH]),
        ("attention.self.key", [WIDTH, WIDTH]),
        ("attention.self.value", [WIDTH, WIDTH]),
        ("attention.output.dense", [WIDTH, WIDTH]),
        ("intermediate.dense", [2 * WIDTH, WIDTH]),
        ("output.dense", [WIDTH, 2 * WIDTH]),
    ] {
        shapes.push((format!("{block}.{name}.weight"), vec![rows, columns]));
        shapes.push((format!("{block}.{name}.bias"), vec![rows]));
    }
    shapes.push(("bert.pooler.dense.weight".into(), vec![WIDTH, WIDTH]));
    shapes.push(("bert.pooler.dense.bias".into(), vec![WIDTH]));
    for norm in [
        "embeddings.LayerNorm",
        "encoder.layer.0.attention.output.LayerNorm",
        "encoder.layer.0.output.LayerNorm",
    ] {
        for part in ["weight", "bias"] {
            shapes.push((format!("bert.{norm}.{part}"), vec![WIDTH]));
        }
    }
    Network::of(&config(), shapes)
}

/// The new base is the old one with its hidden units and heads in another order.
fn case() -> (Case, Permutation, Value) {
    let case = Case::empty(body());
    let old = case.network.parameters(1);
    let tuned = old.shifted(
        &case.network.parameters(2),
        &case.network.parameters(3),
        0.1,
    );
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let order = Permutation::random(&case.network.symmetry(), &mut rng);
    let new = order.apply(&case.network.symmetry(), &old);
    for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
        case.write(&format!("{name}/config.json"), config().to_string());
        case.put_weights(name, model);
    }
    let spec = json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
        "target": {"base": case.uri("new/")},
        "methods": ["weight_matching"],
        "output": case.uri("out/"),
    });
    (case, order, spec)
}

#[test]
fn the_order_of_a_bodys_units_is_found_and_its_outputs_stay_in_place() {
    let (case, order, spec) = case();
    let symmetry = case.network.symmetry();
    // Hidden units, queries with keys, values: whoever reads the stream or the pooler reads it as it is.
    let names: Vec<&str> = symmetry
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("bert.encoder.layer.0")),
        "{names:?}"
    );
    assert_eq!(names.len(), 3, "{names:?}");

    case.plan(&spec).expect("headers are enough");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    let expected = order.apply(&symmetry, &case.model("tuned"));
    for (name, tensor) in expected.iter() {
        assert_eq!(found[name].bytes(), tensor.bytes(), "{name}");
    }
    assert_eq!(read_json(&folder.join("report.json"))["network"], "graph");
}

#[test]
fn a_body_is_judged_by_nothing() {
    let (case, _, mut spec) = case();
    for change in [
        json!({"methods": ["theseus"], "data": {"train": case.uri("train.safetensors")}}),
        json!({"methods": ["identity"], "data": {"test": case.uri("test.safetensors")}}),
    ] {
        for (name, value) in change.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        let Err(Failure::Input {
            code,
            pointer,
            detail,
        }) = case.run(&spec)
        else {
            panic!("the job is refused")
        };
        assert_eq!(
            (code, pointer.as_deref()),
            (FailureCode::NoHead, Some("/methods"))
        );
        assert!(detail.contains("weight_matching"), "{detail}");
    }
}

/// The bases have the head of the pre-training, the tuned model has none.
#[test]
fn a_body_that_was_tuned_alone_leaves_the_bases_heads_behind() {
    let (case, order, spec) = case();
    for name in ["old", "new"] {
        let mut model = case.model(name);
        let bias = model["bert.pooler.dense.bias"].clone();
        model.insert("cls.predictions.bias", bias);
        let mut config = config();
        config["architectures"] = json!(["BertForMaskedLM"]);
        case.write(&format!("{name}/config.json"), config.to_string());
        case.put_weights(name, &model);
    }
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    let expected = order.apply(&case.network.symmetry(), &case.model("tuned"));
    assert_eq!(found.signature(), expected.signature());
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"]["left_out"], json!(["cls.predictions.bias"]));
    assert_eq!(
        read_json(&folder.join("config.json"))["architectures"][0],
        "BertModel"
    );
}

/// The library's own module of a body has no prefix, so that peft finds what an adapter names.
#[test]
fn an_adapter_of_a_body_names_the_modules_of_the_body() {
    let (case, _, mut spec) = case();
    spec["options"] = json!({"update": {"format": "lora", "rank": WIDTH}});
    let (_, folder) = case.done(&spec);
    let adapter = read_json(&folder.join("adapter/adapter_config.json"));
    let targets = adapter["target_modules"].as_array().expect("targets");
    assert!(
        targets.contains(&json!("encoder.layer.0.attention.self.query")),
        "{targets:?}"
    );
    let tensors = read_tensors(&folder.join("adapter/adapter_model.safetensors"));
    for name in tensors.signature().keys() {
        let module = name
            .strip_prefix("base_model.model.")
            .expect("peft's prefix");
        assert!(!module.starts_with("bert."), "{name}");
    }

    // And the reader here finds the same as a trajectory.
    spec["source"]["trajectory"] = json!(format!("file://{}/", folder.join("adapter").display()));
    spec["source"]["base"] = spec["target"]["base"].clone();
    spec["methods"] = json!(["identity"]);
    let (_, again) = case.done(&spec);
    let [first, second] =
        [folder, again].map(|folder| read_tensors(&folder.join("model.safetensors")));
    for (name, tensor) in first.iter() {
        for (a, b) in tensor.f32().iter().zip(second[name].f32().iter()) {
            assert!((a - b).abs() < 1e-5, "{name}: {a} and {b}");
        }
    }
}
