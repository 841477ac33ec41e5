//! Convolutions, pools and norms of images, and images as tokens.

use serde_json::json;

use super::{super::Case, image};

pub(super) fn cases() -> Vec<Case> {
    vec![
        convolution(),
        options_of_convolution(),
        convolution_of_a_line(),
        batch_norm(),
        pooling(),
        options_of_pooling(),
        norms_of_images(),
        channels(),
        patches(),
        positions_of_another_grid(),
        windows(),
        learned_queries(),
    ]
}

fn convolution() -> Case {
    Case {
        kind: "convolution",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":2,"padding":1},{"op":"gelu"},
            {"op":"conv2d","param":"b","groups":7,"padding":[0,1]},{"op":"global_avg_pool"},
            {"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [7, 3, 3, 3], "a.bias": [7], "b.weight": [14, 1, 3, 3],
            "head.weight": [3, 14]}),
        ..Case::default()
    }
}

/// Zeros that are more behind than before, and pixels that are left out between.
fn options_of_convolution() -> Case {
    Case {
        kind: "options of convolution",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":2,"same":true},{"op":"silu"},
            {"op":"conv2d","param":"b","dilation":2,"padding":1,"padding_end":[2,3]},
            {"op":"global_avg_pool"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [6, 3, 4, 4], "a.bias": [6], "b.weight": [5, 6, 3, 2],
            "head.weight": [3, 5]}),
        ..Case::default()
    }
}

fn convolution_of_a_line() -> Case {
    Case {
        kind: "convolution of a line",
        input: json!({"kind": "image", "shape": [3, 1, 23]}),
        nodes: json!([{"op":"conv1d","param":"a","stride":2,"padding":1},{"op":"gelu"},
            {"op":"to_tokens"},{"op":"mean_tokens","skip":1},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [7, 3, 3], "a.bias": [7], "head.weight": [3, 7]}),
        ..Case::default()
    }
}

fn batch_norm() -> Case {
    Case {
        kind: "batch norm",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":3},{"op":"batch_norm","param":"n"},
            {"op":"relu"},{"op":"global_avg_pool"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [5, 3, 3, 3], "n.weight": [5], "n.bias": [5],
            "n.running_mean": [5], "n.running_var": [5], "head.weight": [3, 5]}),
        ..Case::default()
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
        tensors: json!({"a.weight": [4, 3, 2, 2], "head.weight": [3, 24]}),
        ..Case::default()
    }
}

/// Windows beyond the edge.
fn options_of_pooling() -> Case {
    Case {
        kind: "options of pooling",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a"},
            {"op":"max_pool","kernel":2,"stride":3,"ceil_mode":true},
            {"op":"conv2d","param":"b","padding":1},
            {"op":"avg_pool","kernel":3,"stride":2,"padding":1,"ceil_mode":true,"count_include_pad":false},
            {"op":"flatten"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [4, 3, 2, 2], "b.weight": [5, 4, 3, 3], "head.weight": [3, 60]}),
        ..Case::default()
    }
}

/// A block of `ConvNeXt` V2, and a group norm.
fn norms_of_images() -> Case {
    Case {
        kind: "norms of images",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":2,"id":"x"},
            {"op":"conv2d","param":"deep","groups":6,"padding":1},
            {"op":"layer_norm","param":"n","eps":1e-6},{"op":"linear","param":"up"},{"op":"gelu"},
            {"op":"global_response_norm","param":"r","eps":1e-5,"of_rank_four":true},
            {"op":"linear","param":"down"},
            {"op":"layer_scale","param":"s","tensor":"factor","id":"scaled"},
            {"op":"add","inputs":["x","scaled"]},
            {"op":"group_norm","param":"g","groups":2,"eps":1e-4},{"op":"silu"},
            {"op":"global_avg_pool"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [6, 3, 3, 3], "a.bias": [6], "deep.weight": [6, 1, 3, 3],
            "n.weight": [6], "n.bias": [6], "up.weight": [11, 6], "up.bias": [11],
            "r.weight": [1, 1, 1, 11], "r.bias": [1, 1, 1, 11], "down.weight": [6, 11],
            "s.factor": [6], "g.weight": [6], "g.bias": [6], "head.weight": [3, 6]}),
        ..Case::default()
    }
}

/// Squeeze and excitation, and channels of two branches.
fn channels() -> Case {
    Case {
        kind: "gates and sums of channels",
        input: image(),
        nodes: json!([{"op":"conv2d","param":"a","stride":2},{"op":"hard_swish","id":"x"},
            {"op":"global_avg_pool"},{"op":"linear","param":"squeeze"},{"op":"relu6"},
            {"op":"linear","param":"excite"},{"op":"hard_sigmoid","id":"s"},
            {"op":"gate","inputs":["x","s"],"id":"gated"},
            {"op":"conv2d","param":"b","inputs":["gated"]},
            {"op":"conv2d","param":"c","inputs":["gated"]},
            {"op":"concat","inputs":["b","c"]},{"op":"tanh"},
            {"op":"global_avg_pool"},{"op":"linear","param":"head"}]),
        tensors: json!({"a.weight": [6, 3, 3, 3], "a.bias": [6], "squeeze.weight": [4, 6],
            "squeeze.bias": [4], "excite.weight": [6, 4], "b.weight": [3, 6, 3, 3],
            "c.weight": [5, 6, 3, 3], "head.weight": [3, 8]}),
        ..Case::default()
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
        tensors: json!({"patches.weight": [9, 3, 4, 4], "patches.bias": [9], "class": [1, 1, 9],
            "places": [1, 7, 9], "scale.gamma": [9], "qkv.weight": [27, 9], "head.weight": [3, 9]}),
        ..Case::default()
    }
}

/// Positions of other grids, a larger and a smaller one, and registers behind the class token.
fn positions_of_another_grid() -> Case {
    Case {
        kind: "positions of another grid",
        input: json!({"kind": "image", "shape": [3, 12, 8]}),
        nodes: json!([{"op":"patch_embed","param":"patches"},
            {"op":"class_token","param":"class","flat":true},
            {"op":"position_embedding","param":"places","bare":true,"inputs":["class"],
             "resampled":{"from":[5,4],"to":[3,2],"prefix":1,"antialias":true}},
            {"op":"position_embedding","param":"others","bare":true,"inputs":["class"],
             "resampled":{"from":[2,2],"to":[3,2],"prefix":1}},
            {"op":"add","inputs":["class","places","others"]},
            {"op":"class_token","param":"registers","at":1},
            {"op":"linear","param":"qkv"},{"op":"attention","heads":3},
            {"op":"linear","param":"a"},{"op":"gelu"},{"op":"mean_tokens","skip":2},
            {"op":"linear","param":"head"}]),
        tensors: json!({"patches.weight": [9, 3, 4, 4], "class": [9], "places": [1, 21, 9],
            "others": [1, 5, 9], "registers": [1, 2, 9], "qkv.weight": [27, 9], "a.weight": [7, 9],
            "head.weight": [3, 7]}),
        ..Case::default()
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
        tensors: json!({"patches.weight": [9, 3, 2, 2], "n.weight": [9], "n.bias": [9], "qkv.weight": [27, 9],
            "qkv.bias": [27], "bias": [15, 3], "merged.weight": [5, 36], "head.weight": [3, 20]}),
        ..Case::default()
    }
}

/// Queries that are learned, and attend to a picture's patches.
fn learned_queries() -> Case {
    Case {
        kind: "learned queries",
        input: json!({"kind": "image", "shape": [3, 12, 8]}),
        nodes: json!([{"op":"patch_embed","param":"patches"},
            {"op":"table","param":"latent","bare":true,"inputs":["input"]},{"op":"linear","param":"q"},
            {"op":"linear","param":"k","inputs":["patches"]},{"op":"linear","param":"v","inputs":["patches"]},
            {"op":"attention","heads":3,"cross":true,"inputs":["q","k","v"]},{"op":"mean_tokens"},
            {"op":"linear","param":"head"}]),
        tensors: json!({"patches.weight": [9, 3, 4, 4], "latent": [1, 2, 9], "q.weight": [9, 9],
            "k.weight": [9, 9], "v.weight": [9, 9], "head.weight": [3, 9]}),
        ..Case::default()
    }
}
