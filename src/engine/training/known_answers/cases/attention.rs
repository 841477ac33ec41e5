//! Attention with every option.

use serde_json::{Value, json};

use super::{super::Case, tokens};

pub(super) fn cases() -> Vec<Case> {
    vec![
        softmax(),
        options_of_attention(),
        sinks(),
        distances(),
        distances_of_their_own(),
        another_sequence(),
    ]
}

fn softmax() -> Case {
    Case {
        kind: "softmax",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},
            {"op":"linear","param":"q","inputs":["words"]},
            {"op":"linear","param":"k","inputs":["words"]},
            {"op":"linear","param":"v","inputs":["words"]},
            {"op":"attention","heads":3,"kv_heads":1,"causal":true,"mask":true,"rotary":{"theta":50.0},
             "inputs":["q","k","v","input"],"id":"attended"},
            {"op":"gelu_tanh","id":"g"},{"op":"mean_tokens","inputs":["g","input"]},
            {"op":"tanh"},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 10], "q.weight": [18, 10], "k.weight": [6, 10],
            "v.weight": [6, 10], "head.weight": [3, 18]}),
        ..Case::default()
    }
}

fn options_of_attention() -> Case {
    Case {
        kind: "options of attention",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},{"op":"scale","factor":1.5,"id":"x"},
            {"op":"rms_norm","param":"n","unit_offset":true},{"op":"linear","param":"qkv"},
            {"op":"attention","heads":3,"kv_heads":1,"causal":true,"mask":true,"window":2,
             "rotary":{"theta":50.0,"dims":2,"interleaved":true},
             "head_norms":{"queries":"qn","keys":"kn"},"scale":0.7,"soft_cap":0.8,
             "fully_masked":"mean","inputs":["qkv","input"],"id":"attended"},
            {"op":"split","parts":2,"part":1},{"op":"mean_tokens","inputs":["5","input"]},
            {"op":"linear","param":"head"},{"op":"soft_cap","cap":2.0}]),
        tensors: json!({"words.weight": [11, 10], "n.weight": [10], "qkv.weight": [30, 10],
            "qn.weight": [6], "kn.weight": [6], "head.weight": [3, 9]}),
        ..Case::default()
    }
}

fn sinks() -> Case {
    Case {
        kind: "sinks of attention",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},{"op":"linear","param":"qkv"},
            {"op":"attention","heads":2,"mask":true,"sinks":"sunk",
             "head_norms":{"queries":"qn","keys":"kn","eps":1e-4,"unit_offset":true},
             "rotary":{"theta":50.0,"linear_factor":2.0,"attention_factor":1.2},
             "inputs":["qkv","input"],"id":"attended"},
            {"op":"mean_tokens","inputs":["attended","input"]},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 10], "qkv.weight": [36, 10], "sunk": [2],
            "qn.weight": [6], "kn.weight": [6], "head.weight": [3, 12]}),
        ..Case::default()
    }
}

/// Queries, keys and values of tokens, and what distances are.
fn scored_by_distance(attention: Value) -> Value {
    json!([{"op":"shift_tokens","first":1},{"op":"embedding","param":"words"},
        {"op":"linear","param":"q","inputs":["words"]},
        {"op":"linear","param":"k","inputs":["words"]},
        {"op":"linear","param":"v","inputs":["words"]},
        {"op":"table","param":"t","inputs":["input"]},
        {"op":"linear","param":"k","inputs":["t"],"id":"of_keys"},
        {"op":"linear","param":"q","inputs":["t"],"id":"of_queries"},
        attention,
        {"op":"mask_tokens","inputs":["attended","input"],"id":"masked"},
        {"op":"select_token","position":"end","token":3,"inputs":["masked","input"]},
        {"op":"linear","param":"head"}])
}

/// What is scored by the distance of a key: a bias of each head, and products with rows of a table.
fn distances() -> Case {
    let attention = json!({"op":"attention","heads":2,"mask":true,"mask_queries":true,
        "fully_masked":"mean",
        "distances":{"keys":true,"queries":true,"buckets":4,"max_distance":7},
        "position_bias":{"param":"bias","buckets":8,"max_distance":9},
        "inputs":["q","k","v","of_keys","of_queries","input"],"id":"attended"});
    Case {
        kind: "distances",
        input: tokens(),
        nodes: scored_by_distance(attention),
        tensors: json!({"words.weight": [11, 10], "t.weight": [8, 10], "q.weight": [6, 10],
            "k.weight": [6, 10], "v.weight": [6, 10], "bias.weight": [8, 2],
            "head.weight": [3, 6]}),
        ..Case::default()
    }
}

/// Distances that are their own buckets, and biases of keys before the query alone.
fn distances_of_their_own() -> Case {
    let attention = json!({"op":"attention","heads":2,"mask":true,"mask_queries":true,
        "distances":{"keys":true,"queries":true,"max_distance":9},
        "position_bias":{"param":"bias","buckets":6,"max_distance":9,"one_sided":true},
        "inputs":["q","k","v","of_keys","of_queries","input"],"id":"attended"});
    Case {
        kind: "distances of their own",
        input: tokens(),
        nodes: scored_by_distance(attention),
        tensors: json!({"words.weight": [11, 10], "t.weight": [18, 10], "q.weight": [6, 10],
            "k.weight": [6, 10], "v.weight": [6, 10], "bias.weight": [6, 2],
            "head.weight": [3, 6]}),
        ..Case::default()
    }
}

/// An encoder and a decoder: queries of a target sequence, keys and values of the sample.
fn another_sequence() -> Case {
    Case {
        kind: "attention to another sequence",
        task: json!("sequence_to_sequence"),
        target: json!([5]),
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},
            {"op":"linear","param":"k","inputs":["words"]},
            {"op":"linear","param":"v","inputs":["words"]},
            {"op":"shift_tokens","first":1,"padding":0,"inputs":["target"],"id":"before"},
            {"op":"embedding","param":"words","inputs":["before"],"id":"own_words"},
            {"op":"linear","param":"q","inputs":["own_words"]},
            {"op":"attention","heads":2,"mask":true,"cross":true,"inputs":["q","k","v","input"],
             "id":"across"},
            {"op":"linear","param":"o"},
            {"op":"add","inputs":["own_words","o"]},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 10], "q.weight": [6, 10], "k.weight": [6, 10],
            "v.weight": [6, 10], "o.weight": [10, 6], "head.weight": [11, 10]}),
    }
}
