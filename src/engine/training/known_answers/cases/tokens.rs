//! Tables, norms and choices of tokens.

use serde_json::json;

use super::{super::Case, tokens};

pub(super) fn cases() -> Vec<Case> {
    vec![
        gather(),
        norm(),
        tables(),
        positions(),
        choices_of_tokens(),
        tokens_of_their_own(),
    ]
}

fn gather() -> Case {
    Case {
        kind: "gather",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words","padding":2},
            {"op":"select_token","position":"end","padding":0,"inputs":["words","input"]},
            {"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 9], "head.weight": [3, 9]}),
        ..Case::default()
    }
}

fn norm() -> Case {
    Case {
        kind: "norm",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},{"op":"layer_norm","param":"n1"},
            {"op":"linear","param":"a"},{"op":"rms_norm","param":"n2","eps":1e-5},{"op":"silu","id":"s"},
            {"op":"mean_tokens","inputs":["s","input"]},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 9], "n1.weight": [9], "n1.bias": [9], "a.weight": [13, 9],
            "n2.weight": [13], "head.weight": [3, 13]}),
        ..Case::default()
    }
}

/// Tables of positions and types, heads in their own order, a product of two branches.
fn tables() -> Case {
    Case {
        kind: "tables and gates",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},
            {"op":"position_embedding","param":"places","inputs":["input"]},
            {"op":"token_type_embedding","param":"types","inputs":["input"]},
            {"op":"add","inputs":["words","places","types"],"id":"x"},
            {"op":"linear","param":"qkv"},
            {"op":"attention","heads":2,"fused":"heads","mask":true,"inputs":["qkv","input"],"id":"attended"},
            {"op":"linear","param":"a","inputs":["attended"]},{"op":"silu","id":"act"},
            {"op":"linear","param":"b","inputs":["attended"]},
            {"op":"gate","inputs":["act","b"],"id":"g"},
            {"op":"mean_tokens","inputs":["g","input"]},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 10], "places.weight": [7, 10], "types.weight": [2, 10],
            "qkv.weight": [30, 10], "a.weight": [11, 10], "b.weight": [11, 10],
            "head.weight": [3, 11]}),
        ..Case::default()
    }
}

/// Every way to say where a token stands.
fn positions() -> Case {
    Case {
        kind: "positions",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},
            {"op":"position_embedding","param":"from_two","offset":2,"inputs":["input"]},
            {"op":"position_embedding","param":"one","constant":true,"inputs":["input"]},
            {"op":"position_embedding","param":"counted","padding":1,"inputs":["input"]},
            {"op":"sinusoids","width":10,"inputs":["input"],"id":"sines"},
            {"op":"add","inputs":["words","from_two","one","counted","sines"]},
            {"op":"offset","param":"shift"},{"op":"scale","factor":1.5},
            {"op":"split","parts":2,"part":1,"id":"half"},
            {"op":"select_token","position":"last","inputs":["half","input"]},
            {"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 10], "from_two.weight": [9, 10], "one.weight": [3, 10],
            "counted.weight": [9, 10], "shift.bias": [10], "head.weight": [3, 5]}),
        ..Case::default()
    }
}

/// Positions that lose a token to the side.
fn choices_of_tokens() -> Case {
    Case {
        kind: "choices of tokens",
        input: tokens(),
        nodes: json!([{"op":"shift_tokens","padding":3},{"op":"embedding","param":"words"},
            {"op":"tanh","id":"t"},
            {"op":"mask_tokens","inputs":["t","input"],"id":"masked"},
            {"op":"select_token","position":"end","token":3,"inputs":["masked","input"],"id":"one"},
            {"op":"mean_tokens","inputs":["masked","input"],"id":"mean"},
            {"op":"add","inputs":["one","mean"]},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 9], "head.weight": [3, 9]}),
        ..Case::default()
    }
}

/// Logits of every token.
fn tokens_of_their_own() -> Case {
    Case {
        kind: "logits of tokens",
        task: json!("next_token"),
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},{"op":"linear","param":"a"},
            {"op":"gelu_tanh"},{"op":"linear","param":"head"}]),
        tensors: json!({"words.weight": [11, 9], "a.weight": [13, 9], "a.bias": [13],
            "head.weight": [11, 13]}),
        ..Case::default()
    }
}
