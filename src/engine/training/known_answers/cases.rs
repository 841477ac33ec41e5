//! The networks of which a device's answers are known.

use serde_json::{Value, json};

use super::{CLASSES, Case, LENGTH, VOCABULARY};

fn features() -> Value {
    json!({"kind": "features", "shape": [67]})
}

fn image() -> Value {
    json!({"kind": "image", "shape": [3, 17, 13]})
}

fn tokens() -> Value {
    json!({"kind": "tokens", "shape": [LENGTH]})
}

/// One case for every kind of kernel.
pub(super) fn cases() -> Vec<Case> {
    vec![
        matrix_product(),
        convolution(),
        batch_norm(),
        pooling(),
        gather(),
        norm(),
        softmax(),
        options_of_attention(),
        tables(),
        distances(),
        patches(),
        windows(),
    ]
}

fn matrix_product() -> Case {
    Case {
        kind: "matrix product",
        input: features(),
        nodes: json!([{"op":"linear","param":"a"},{"op":"relu"},{"op":"linear","param":"head"}]),
        tensors: vec![
            ("a.weight", vec![129, 67]),
            ("a.bias", vec![129]),
            ("head.weight", vec![CLASSES, 129]),
        ],
    }
}

fn convolution() -> Case {
    Case {
        kind: "convolution",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":2,"padding":1},{"op":"gelu"},
            {"op":"conv2d","param":"b","groups":7,"padding":[0,1]},{"op":"global_avg_pool"},
            {"op":"linear","param":"head"}]),
        tensors: vec![
            ("a.weight", vec![7, 3, 3, 3]),
            ("a.bias", vec![7]),
            ("b.weight", vec![14, 1, 3, 3]),
            ("head.weight", vec![CLASSES, 14]),
        ],
    }
}

fn batch_norm() -> Case {
    Case {
        kind: "batch norm",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":3},{"op":"batch_norm","param":"n"},
            {"op":"relu"},{"op":"global_avg_pool"},{"op":"linear","param":"head"}]),
        tensors: vec![
            ("a.weight", vec![5, 3, 3, 3]),
            ("n.weight", vec![5]),
            ("n.bias", vec![5]),
            ("n.running_mean", vec![5]),
            ("n.running_var", vec![5]),
            ("head.weight", vec![CLASSES, 5]),
        ],
    }
}

fn pooling() -> Case {
    Case {
        kind: "pooling",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a"},
            {"op":"max_pool","kernel":3,"stride":2,"padding":1},
            {"op":"avg_pool","kernel":2,"stride":1},
            {"op":"adaptive_avg_pool","output":[3,2]},{"op":"flatten"},
            {"op":"linear","param":"head"}]),
        tensors: vec![
            ("a.weight", vec![4, 3, 2, 2]),
            ("head.weight", vec![CLASSES, 24]),
        ],
    }
}

fn gather() -> Case {
    Case {
        kind: "gather",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},
            {"op":"select_token","position":"end","padding":0,"inputs":["words","input"]},
            {"op":"linear","param":"head"}]),
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 9]),
            ("head.weight", vec![CLASSES, 9]),
        ],
    }
}

fn norm() -> Case {
    Case {
        kind: "norm",
        input: tokens(),
        nodes: json!([{"op":"embedding","param":"words"},{"op":"layer_norm","param":"n1"},
            {"op":"linear","param":"a"},{"op":"rms_norm","param":"n2"},{"op":"silu","id":"s"},
            {"op":"mean_tokens","inputs":["s","input"]},{"op":"linear","param":"head"}]),
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 9]),
            ("n1.weight", vec![9]),
            ("n1.bias", vec![9]),
            ("a.weight", vec![13, 9]),
            ("n2.weight", vec![13]),
            ("head.weight", vec![CLASSES, 13]),
        ],
    }
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
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 10]),
            ("q.weight", vec![18, 10]),
            ("k.weight", vec![6, 10]),
            ("v.weight", vec![6, 10]),
            ("head.weight", vec![CLASSES, 18]),
        ],
    }
}

/// What is scored by the distance of a key: a bias of each head, and products with rows of a table.
fn distances() -> Case {
    Case {
        kind: "distances",
        input: tokens(),
        nodes: json!([{"op":"shift_tokens","first":1},{"op":"embedding","param":"words"},
            {"op":"linear","param":"q","inputs":["words"]},
            {"op":"linear","param":"k","inputs":["words"]},
            {"op":"linear","param":"v","inputs":["words"]},
            {"op":"table","param":"t","inputs":["input"]},
            {"op":"linear","param":"k","inputs":["t"],"id":"of_keys"},
            {"op":"linear","param":"q","inputs":["t"],"id":"of_queries"},
            {"op":"attention","heads":2,"mask":true,"mask_queries":true,"fully_masked":"mean",
             "distances":{"keys":true,"queries":true,"buckets":4,"max_distance":7},
             "position_bias":{"param":"bias","buckets":8,"max_distance":9},
             "inputs":["q","k","v","of_keys","of_queries","input"],"id":"attended"},
            {"op":"mask_tokens","inputs":["attended","input"],"id":"masked"},
            {"op":"select_token","position":"end","token":3,"inputs":["masked","input"]},
            {"op":"linear","param":"head"}]),
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 10]),
            ("t.weight", vec![8, 10]),
            ("q.weight", vec![6, 10]),
            ("k.weight", vec![6, 10]),
            ("v.weight", vec![6, 10]),
            ("bias.weight", vec![8, 2]),
            ("head.weight", vec![CLASSES, 6]),
        ],
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
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 10]),
            ("places.weight", vec![LENGTH, 10]),
            ("types.weight", vec![2, 10]),
            ("qkv.weight", vec![30, 10]),
            ("a.weight", vec![11, 10]),
            ("b.weight", vec![11, 10]),
            ("head.weight", vec![CLASSES, 11]),
        ],
    }
}

/// A picture as tokens, with a class token and positions.
fn patches() -> Case {
    Case {
        kind: "patches",
        input: json!({"kind": "image", "shape": [3, 12, 8]}),
        nodes: json!([{"op":"patch_embed","param":"patches"},{"op":"class_token","param":"class"},
            {"op":"position_embedding","param":"places","bare":true,"inputs":["class"]},
            {"op":"add","inputs":["class","places"]},{"op":"layer_scale","param":"scale"},
            {"op":"linear","param":"qkv"},{"op":"attention","heads":3},{"op":"select_token","position":"first"},
            {"op":"linear","param":"head"}]),
        tensors: vec![
            ("patches.weight", vec![9, 3, 4, 4]),
            ("patches.bias", vec![9]),
            ("class", vec![1, 1, 9]),
            ("places", vec![1, 7, 9]),
            ("scale.gamma", vec![9]),
            ("qkv.weight", vec![27, 9]),
            ("head.weight", vec![CLASSES, 9]),
        ],
    }
}

/// Attention inside shifted windows of a picture's patches, and neighbours that become one, with a row of zeros.
fn windows() -> Case {
    Case {
        kind: "windows",
        input: json!({"kind": "image", "shape": [3, 12, 8]}),
        nodes: json!([{"op":"patch_embed","param":"patches"},{"op":"layer_norm","param":"n"},
            {"op":"linear","param":"qkv"},
            {"op":"attention","heads":3,"windows":{"grid":[6,4],"size":[3,2],"shift":[1,1],"bias":"bias"}},
            {"op":"merge_tokens","grid":[6,4]},{"op":"linear","param":"merged"},
            {"op":"merge_tokens","grid":[3,2]},{"op":"mean_tokens"},{"op":"linear","param":"head"}]),
        tensors: vec![
            ("patches.weight", vec![9, 3, 2, 2]),
            ("n.weight", vec![9]),
            ("n.bias", vec![9]),
            ("qkv.weight", vec![27, 9]),
            ("qkv.bias", vec![27]),
            ("bias", vec![15, 3]),
            ("merged.weight", vec![5, 36]),
            ("head.weight", vec![CLASSES, 20]),
        ],
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
        tensors: vec![
            ("words.weight", vec![VOCABULARY, 10]),
            ("n.weight", vec![10]),
            ("qkv.weight", vec![30, 10]),
            ("qn.weight", vec![6]),
            ("kn.weight", vec![6]),
            ("head.weight", vec![CLASSES, 9]),
        ],
    }
}
