//! Matrix products and functions of every value.

use serde_json::json;

use super::{super::Case, features, image};

pub(super) fn cases() -> Vec<Case> {
    vec![
        matrix_product(),
        matrix_product_of_many_rows(),
        batch_norm_of_features(),
        smooth_activations(),
        hard_activations(),
    ]
}

fn matrix_product() -> Case {
    Case {
        kind: "matrix product",
        input: features(),
        nodes: json!([{"op":"linear","param":"a"},{"op":"relu"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [129, 67], "a.bias": [129], "head.weight": [3, 129]}),
        ..Case::default()
    }
}

/// Large products are computed by other kernels than small ones.
fn matrix_product_of_many_rows() -> Case {
    Case {
        kind: "matrix product of many rows",
        input: image(),
        nodes: json!([{"op":"to_tokens"},{"op":"linear","param":"a"},{"op":"tanh"},
            {"op":"linear","param":"b","transposed":true,"bias":"b_of"},{"op":"mean_tokens"},
            {"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [131, 3], "a.bias": [131], "b.weight": [131, 70], "b_of": [70],
            "head.weight": [3, 70]}),
        ..Case::default()
    }
}

fn batch_norm_of_features() -> Case {
    Case {
        kind: "batch norm of features",
        input: features(),
        nodes: json!([{"op":"linear","param":"a"},{"op":"batch_norm","param":"n","eps":0.01},
            {"op":"dropout","p":0.1},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [9, 67], "n.weight": [9], "n.bias": [9], "n.running_mean": [9],
            "n.running_var": [9], "head.weight": [3, 9]}),
        ..Case::default()
    }
}

fn smooth_activations() -> Case {
    Case {
        kind: "smooth activations",
        input: features(),
        nodes: json!([{"op":"linear","param":"a"},{"op":"gelu"},
            {"op":"linear","param":"b"},{"op":"quick_gelu"},
            {"op":"linear","param":"c"},{"op":"sigmoid","id":"s"},
            {"op":"linear","param":"d","inputs":["c"]},{"op":"gelu_tanh","id":"t"},
            {"op":"concat","inputs":["s","t"]},{"op":"linear","param":"head"},
            {"op":"soft_cap","cap":2.0}]),
        tensors: json!({"a.weight": [31, 67], "b.weight": [29, 31], "c.weight": [23, 29],
            "d.weight": [19, 23], "head.weight": [3, 42]}),
        ..Case::default()
    }
}

fn hard_activations() -> Case {
    Case {
        kind: "hard activations",
        input: features(),
        nodes: json!([{"op":"linear","param":"a"},{"op":"hard_swish"},
            {"op":"linear","param":"b"},{"op":"relu6"},
            {"op":"linear","param":"c"},{"op":"hard_sigmoid"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [31, 67], "b.weight": [29, 31], "c.weight": [23, 29],
            "head.weight": [3, 23]}),
        ..Case::default()
    }
}
