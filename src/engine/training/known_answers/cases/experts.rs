//! Mixtures of experts.

use serde_json::{Map, Value, json};

use super::{super::Case, tokens};

const EXPERTS: usize = 4;
const WIDTH: usize = 10;
const HIDDEN: usize = 7;

pub(super) fn cases() -> Vec<Case> {
    vec![
        mixture(
            "experts",
            json!({"op":"experts","param":"e","count":EXPERTS,"top_k":2,
                "inputs":["words","router"]}),
        ),
        mixture(
            "normalised experts",
            json!({"op":"experts","param":"e","count":EXPERTS,"top_k":3,"normalised":true,
                "activation":"gelu_tanh","inputs":["words","router"]}),
        ),
        mixture(
            "experts with gelu",
            json!({"op":"experts","param":"e","count":EXPERTS,"top_k":1,"activation":"gelu",
                "inputs":["words","router"]}),
        ),
        mixture(
            "experts with relu",
            json!({"op":"experts","param":"e","count":EXPERTS,"top_k":2,"activation":"relu",
                "inputs":["words","router"]}),
        ),
        clamped(),
    ]
}

fn nodes(experts: Value) -> Value {
    json!([{"op":"embedding","param":"words"},
        {"op":"linear","param":"router","inputs":["words"]},
        experts,
        {"op":"mean_tokens","inputs":["e","input"]},{"op":"linear","param":"head"}])
}

fn tensors() -> Map<String, Value> {
    let outside = [
        ("words.weight", json!([11, WIDTH])),
        ("router.weight", json!([EXPERTS, WIDTH])),
        ("head.weight", json!([3, WIDTH])),
    ];
    outside
        .map(|(name, shape)| (name.to_owned(), shape))
        .into_iter()
        .collect()
}

/// With three layers each.
fn mixture(kind: &'static str, experts: Value) -> Case {
    let mut tensors = tensors();
    for expert in 0..EXPERTS {
        tensors.insert(
            format!("e.{expert}.gate_proj.weight"),
            json!([HIDDEN, WIDTH]),
        );
        tensors.insert(format!("e.{expert}.up_proj.weight"), json!([HIDDEN, WIDTH]));
        tensors.insert(
            format!("e.{expert}.down_proj.weight"),
            json!([WIDTH, HIDDEN]),
        );
    }
    Case {
        kind,
        input: tokens(),
        nodes: nodes(experts),
        tensors: Value::Object(tensors),
        ..Case::default()
    }
}

/// Gate and up in one layer, and a gate that is cut off, as gpt-oss has them.
fn clamped() -> Case {
    let mut tensors = tensors();
    for expert in 0..EXPERTS {
        tensors.insert(
            format!("e.{expert}.both.weight"),
            json!([WIDTH, 2 * HIDDEN]),
        );
        tensors.insert(format!("e.{expert}.both.bias"), json!([2 * HIDDEN]));
        tensors.insert(format!("e.{expert}.down.weight"), json!([HIDDEN, WIDTH]));
        tensors.insert(format!("e.{expert}.down.bias"), json!([WIDTH]));
    }
    let experts = json!({"op":"experts","param":"e","count":EXPERTS,"top_k":2,"normalised":true,
        "interleaved":true,"clamp":{"alpha":1.7,"limit":0.4},
        "layers":{"gate":"both","up":"none","down":"down"},"inputs":["words","router"]});
    Case {
        kind: "clamped experts",
        input: tokens(),
        nodes: nodes(experts),
        tensors: Value::Object(tensors),
        ..Case::default()
    }
}
