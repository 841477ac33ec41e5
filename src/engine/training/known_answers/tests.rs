use super::*;
use crate::network::op::Op;

/// What no kernel depends on: it is accepted and ignored, or the host computes with it.
const NO_KERNEL: [&str; 5] = [
    "momentum",
    "frozen",
    "rotary.llama3",
    "rotary.yarn",
    "rotary.longrope",
];

/// Fields that have fields of their own.
const NESTED: [(&str, &str); 8] = [
    ("attention", "windows"),
    ("attention", "rotary"),
    ("attention", "head_norms"),
    ("attention", "position_bias"),
    ("attention", "distances"),
    ("position_embedding", "resampled"),
    ("experts", "layers"),
    ("experts", "clamp"),
];

#[test]
fn the_cpu_gives_its_own_answers() {
    assert_eq!(check(&Device::flex()), Ok(()));
    let kinds: Vec<&str> = answers(&Device::flex())
        .iter()
        .map(|answer| answer.kind)
        .collect();
    for case in cases() {
        assert!(kinds.contains(&case.kind), "{}", case.kind);
    }
}

/// Every answer has something in it: a kernel that puts out zeros, ones or another row is noticed.
#[test]
fn whatever_a_kernel_gets_wrong_is_named() {
    let right = answers(&Device::flex());
    for at in 0..right.len() {
        let mut zeros = right.clone();
        zeros[at].values.fill(0.0);
        let wrong = compare(&right, &zeros).expect_err(&right[at].tensor);
        assert_eq!(
            (wrong.kind, &wrong.tensor),
            (right[at].kind, &right[at].tensor)
        );

        let mut nothing = right.clone();
        nothing[at].values.fill(f32::NAN);
        assert!(compare(&right, &nothing).is_err());
    }
}

#[test]
fn an_answer_of_another_length_is_wrong() {
    let right = answers(&Device::flex());
    let mut short = right.clone();
    short[1].values.pop();
    assert!(compare(&right, &short).is_err());
    assert!(compare(&right, &right[1..]).is_err());
}

/// The nodes of all cases with an op.
fn nodes_of(op: &str) -> Vec<Value> {
    let nodes = cases().into_iter().flat_map(|case| match case.nodes {
        Value::Array(nodes) => nodes,
        _ => Vec::new(),
    });
    nodes.filter(|node| node["op"] == op).collect()
}

/// The fields that a reader says that it knows, told of one that it does not.
fn fields(of: &Value) -> Vec<String> {
    let said = serde_json::from_value::<Op>(of.clone()).expect_err("an unknown field");
    let said = said.to_string();
    let known = said.split_once("expected").map_or("", |(_, known)| known);
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_operation_has_a_case() {
    for op in Op::NAMES {
        assert!(!nodes_of(op).is_empty(), "no case has the op {op}");
    }
}

#[test]
fn every_option_has_a_case() {
    for op in Op::NAMES {
        let nodes = nodes_of(op);
        for field in fields(&json!({"op": op, "?": null})) {
            let has_one = nodes.iter().any(|node| node.get(&field).is_some());
            let is_free = NO_KERNEL.contains(&field.as_str());
            assert!(has_one || is_free, "no case has {field} of {op}");
        }
    }
}

#[test]
fn every_option_of_an_option_has_a_case() {
    for (op, outer) in NESTED {
        let nodes = nodes_of(op);
        let found = fields(&json!({"op": op, outer: {"?": null}}));
        assert!(!found.is_empty(), "{op}, {outer}");
        for field in found {
            let has_one = nodes.iter().any(|node| node[outer].get(&field).is_some());
            let is_free = NO_KERNEL.contains(&format!("{outer}.{field}").as_str());
            assert!(has_one || is_free, "no case has {outer}.{field} of {op}");
        }
    }
}

/// Options that are one of several words.
#[test]
fn every_word_of_an_option_has_a_case() {
    let words = [
        ("select_token", "position", vec!["first", "last", "end"]),
        ("attention", "fully_masked", vec!["mean"]),
        ("attention", "fused", vec!["heads"]),
        ("experts", "activation", vec!["gelu", "gelu_tanh", "relu"]),
    ];
    for (op, field, words) in words {
        let nodes = nodes_of(op);
        for word in words {
            let has_one = nodes.iter().any(|node| node[field] == word);
            assert!(has_one, "no case has {field} {word} of {op}");
        }
    }
}
