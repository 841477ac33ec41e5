use serde_json::json;

use super::*;
use crate::tensors::{DType, TensorInfo};

fn signature(tensors: &[(&str, &[usize])]) -> Signature {
    tensors
        .iter()
        .map(|(name, shape)| {
            (
                (*name).to_owned(),
                TensorInfo {
                    dtype: DType::F32,
                    shape: shape.to_vec(),
                },
            )
        })
        .collect()
}

fn cnn() -> Graph {
    Graph::from_document(&json!({"input":{"kind":"image","shape":[3,9,9]},"nodes":[
        {"op":"conv2d","param":"c","stride":2,"padding":1},{"op":"max_pool","kernel":2,"ceil_mode":true},
        {"op":"flatten"},{"op":"linear","param":"fc"}]}))
    .unwrap()
}

#[test]
fn sizes_follow_pytorchs_rules() {
    let tensors = signature(&[
        ("c.weight", &[4, 3, 3, 3]),
        ("fc.weight", &[2, 36]),
        ("fc.bias", &[2]),
    ]);
    let program = cnn().resolve(&tensors).unwrap();
    let shapes = program
        .instructions
        .iter()
        .map(|instruction| instruction.output.as_slice());
    let expected: [&[usize]; 4] = [&[4, 5, 5], &[4, 3, 3], &[36], &[2]];
    assert!(shapes.eq(expected));
    assert_eq!(program.classes().unwrap(), 2);
}

/// Numbers with which products overflow, or which no memory holds.
#[test]
fn numbers_that_no_memory_holds_are_refused() {
    let tensors = signature(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 4])]);
    let code = |node: serde_json::Value, side: usize| {
        let input = json!({"kind":"image","shape":[3, side, side]});
        let nodes = json!([node, {"op":"global_avg_pool"},{"op":"linear","param":"fc"}]);
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        graph.resolve(&tensors).unwrap_err().code()
    };
    let conv = |padding: u64| json!({"op":"conv2d","param":"c","padding":padding});
    for padding in [100_000, 1 << 31, 1 << 62, u64::MAX] {
        assert_eq!(code(conv(padding), 8), "malformed_graph", "{padding}");
    }
    assert_eq!(code(conv(0), 1 << 62), "malformed_config");
    for kernel in [1u64 << 62, 1 << 63, u64::MAX] {
        let pool = json!({"op":"max_pool","kernel":kernel,"padding":kernel / 2});
        let nodes = json!([pool]);
        let graph =
            Graph::from_document(&json!({"input":{"kind":"image","shape":[3,8,8]},"nodes":nodes}));
        assert_eq!(
            graph.unwrap().resolve(&signature(&[])).unwrap_err().code(),
            "malformed_graph"
        );
    }
    let wide = json!({"op":"adaptive_avg_pool","output":1u64 << 40});
    let graph =
        Graph::from_document(&json!({"input":{"kind":"image","shape":[3,8,8]},"nodes":[wide]}));
    assert_eq!(
        graph.unwrap().resolve(&signature(&[])).unwrap_err().code(),
        "malformed_graph"
    );
}

#[test]
fn faults_name_the_tensor() {
    let code =
        |tensors: &[(&str, &[usize])]| cnn().resolve(&signature(tensors)).unwrap_err().code();
    assert_eq!(code(&[("fc.weight", &[2, 36])]), "missing_tensor");
    assert_eq!(
        code(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 35])]),
        "wrong_shape"
    );
    assert_eq!(
        code(&[("c.weight", &[4, 2, 3, 3]), ("fc.weight", &[2, 36])]),
        "wrong_shape"
    );
    assert_eq!(
        code(&[
            ("c.weight", &[4, 3, 3, 3]),
            ("fc.weight", &[2, 36]),
            ("x", &[1])
        ]),
        "unexpected_tensor"
    );
    assert_eq!(
        code(&[("c.weight", &[4, 3, 30, 3]), ("fc.weight", &[2, 36])]),
        "malformed_graph"
    );
}

/// Ids that are not those of the tokens, and positions of an image, fit nothing that runs.
#[test]
fn ids_and_positions_must_be_those_of_the_tokens() {
    let tokens = json!({"kind":"tokens","shape":[4]});
    let with = |node: serde_json::Value| json!([{"op":"embedding","param":"e"}, node]);
    let code = |input: &serde_json::Value, nodes: serde_json::Value, names: &[(&str, &[usize])]| {
        let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
        graph
            .resolve(&signature(names))
            .map(|_| ())
            .map_err(|error| error.code())
    };

    let table: (&str, &[usize]) = ("e.weight", &[9, 6]);
    for (op, own) in [
        ("mean_tokens", json!({})),
        ("attention", json!({"heads":1,"mask":true})),
    ] {
        for (ids, expected) in [("input", Ok(())), ("e", Err("malformed_graph"))] {
            let mut node = json!({"op":op,"inputs":["e", ids]});
            node.as_object_mut()
                .unwrap()
                .extend(own.as_object().unwrap().clone());
            assert_eq!(
                code(&tokens, with(node), &[table]),
                expected,
                "{op} of {ids}"
            );
        }
    }
    let image = json!({"kind":"image","shape":[3,8,8]});
    let places = json!([{"op":"position_embedding","param":"p"}]);
    assert_eq!(
        code(&image, places, &[("p.weight", &[9, 2])]),
        Err("malformed_graph")
    );
}

/// Zeros of `TensorFlow`'s SAME, and zeros on some sides alone.
#[test]
fn paddings_that_are_not_the_same_on_both_sides() {
    let layer = |node: serde_json::Value, side: usize| {
        let input = json!({"kind":"image","shape":[3, side, side + 1]});
        let graph = Graph::from_document(&json!({"input": input, "nodes": [node]})).unwrap();
        let tensors = signature(&[("c.weight", &[4, 3, 3, 3])]);
        let instruction = graph.resolve(&tensors).unwrap().instructions.remove(0);
        let Layer::Conv2d(layer) = instruction.layer else {
            panic!("a convolution");
        };
        (
            layer.padding.array(),
            layer.padding_end.array(),
            layer.output[1..].to_vec(),
        )
    };
    let same = json!({"op":"conv2d","param":"c","stride":2,"same":true});
    // Eight rows need one zero, nine columns need two.
    assert_eq!(layer(same, 8), ([0, 1], [1, 1], vec![4, 5]));
    let same = json!({"op":"conv2d","param":"c","same":true,"dilation":2});
    assert_eq!(layer(same, 8), ([2, 2], [2, 2], vec![8, 9]));
    let apart = json!({"op":"conv2d","param":"c","stride":2,"padding":0,"padding_end":1});
    assert_eq!(layer(apart, 8), ([0, 0], [1, 1], vec![4, 4]));
}
