//! Every bad input: a code, a pointer, and nothing under `output`.

use std::fs;

use retune::{contract::codes::FailureCode, engine::tensors::HostTensor, pipeline::Failure};
use serde_json::{Value, json};

use super::case::{Case, samples};
use crate::{engine::networks::mlp, support::retune};

type Spoil = fn(&Case, &mut Value);

fn drop_tensor(case: &Case, model: &str) {
    let mut checkpoint = case.model(model);
    checkpoint.remove("fc1.weight");
    case.put_weights(model, &checkpoint);
}

fn replace_tensor(case: &Case, model: &str, tensor: HostTensor) {
    let mut checkpoint = case.model(model);
    checkpoint.insert("fc1.weight", tensor);
    case.put_weights(model, &checkpoint);
}

fn not_a_number(case: &Case, model: &str) {
    let mut values = case.model(model)["fc1.weight"].f32().into_owned();
    values[17] = f32::NAN;
    replace_tensor(case, model, HostTensor::from_f32(vec![12, 16], values));
}

fn spoil_file(case: &Case, name: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(case.path(name)).expect("a file");
    spoil(&mut bytes);
    case.write(name, bytes);
}

fn spoil_config(case: &Case, from: &str, to: &str) {
    let text = fs::read_to_string(case.path("new/config.json")).expect("a file");
    assert!(text.contains(from));
    case.write("new/config.json", text.replacen(from, to, 1));
}

fn spoil_labels(case: &Case, label: i64) {
    let (inputs, mut labels) = samples(120, 1);
    labels[40] = label;
    case.put_data("train.safetensors", inputs, &labels);
}

fn bomb(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
}

/// What is spoilt, how, and what is said about it.
const FAULTS: &[(&str, Spoil, FailureCode, &str)] = &[
    (
        "tensor missing in the target",
        |c, _| drop_tensor(c, "new"),
        FailureCode::MissingTensor,
        "/target/base",
    ),
    (
        "tensor missing in the tuned model",
        |c, _| drop_tensor(c, "tuned"),
        FailureCode::IncompatibleModels,
        "/source/trajectory",
    ),
    (
        "wrong shape",
        |c, _| replace_tensor(c, "new", HostTensor::from_f32(vec![12, 15], vec![0.5; 180])),
        FailureCode::WrongShape,
        "/target/base",
    ),
    (
        "NaN in the new base",
        |c, _| not_a_number(c, "new"),
        FailureCode::NotFinite,
        "/target/base",
    ),
    (
        "NaN in the old base",
        |c, _| not_a_number(c, "old"),
        FailureCode::NotFinite,
        "/source/base",
    ),
    (
        "NaN in the tuned model",
        |c, _| not_a_number(c, "tuned"),
        FailureCode::NotFinite,
        "/source/trajectory",
    ),
    (
        "NaN in the data",
        |c, _| {
            let (inputs, labels) = samples(120, 1);
            let mut values = inputs.f32().into_owned();
            values[5] = f32::NAN;
            c.put_data(
                "train.safetensors",
                HostTensor::from_f32(vec![120, 6], values),
                &labels,
            );
        },
        FailureCode::NotFinite,
        "/data/train",
    ),
    (
        "truncated weights",
        |c, _| spoil_file(c, "old/model.safetensors", |b| b.truncate(b.len() - 1)),
        FailureCode::Truncated,
        "/source/base",
    ),
    (
        "truncated data",
        |c, _| spoil_file(c, "test.safetensors", |b| b.truncate(100)),
        FailureCode::Truncated,
        "/data/test",
    ),
    (
        "header bomb",
        |c, _| spoil_file(c, "tuned/model.safetensors", |bytes| bomb(bytes)),
        FailureCode::HeaderTooLarge,
        "/source/trajectory",
    ),
    (
        "header bomb as data",
        |c, _| spoil_file(c, "validation.safetensors", |bytes| bomb(bytes)),
        FailureCode::HeaderTooLarge,
        "/data/validation",
    ),
    (
        "unknown op",
        |c, _| spoil_config(c, "\"relu\"", "\"rellu\""),
        FailureCode::UnknownOp,
        "/target/base",
    ),
    (
        "config that is no JSON",
        |c, _| spoil_config(c, "{", "["),
        FailureCode::MalformedConfig,
        "/target/base",
    ),
    (
        "label too high",
        |c, _| spoil_labels(c, 3),
        FailureCode::LabelOutOfRange,
        "/data/train",
    ),
    (
        "label below zero",
        |c, _| spoil_labels(c, -1),
        FailureCode::LabelOutOfRange,
        "/data/train",
    ),
    (
        "empty trajectory",
        |c, s| {
            fs::create_dir(c.path("nothing")).expect("our own folder");
            s["source"]["trajectory"] = json!(c.uri("nothing/"));
        },
        FailureCode::EmptyTrajectory,
        "/source/trajectory",
    ),
    (
        "empty list of checkpoints",
        |c, s| {
            let list = json!({"format": "retune-trajectory/1", "checkpoints": []});
            c.write("list/trajectory.json", list.to_string());
            s["source"]["trajectory"] = json!(c.uri("list/"));
        },
        FailureCode::EmptyTrajectory,
        "/source/trajectory",
    ),
    (
        "pickled weights",
        |c, s| {
            c.write("pickled/config.json", "{}");
            c.write("pickled/pytorch_model.bin", "never opened");
            s["source"]["trajectory"] = json!(c.uri("pickled/"));
        },
        FailureCode::PickleRefused,
        "/source/trajectory",
    ),
    (
        "samples of another shape",
        |c, _| {
            let inputs = HostTensor::from_f32(vec![2, 5], vec![0.5; 10]);
            c.put_data("train.safetensors", inputs, &[0, 1]);
        },
        FailureCode::WrongInputShape,
        "/data/train",
    ),
    (
        "no samples",
        |c, _| {
            c.put_data(
                "train.safetensors",
                HostTensor::from_f32(vec![0, 6], vec![]),
                &[],
            );
        },
        FailureCode::EmptyDataset,
        "/data/train",
    ),
    (
        "target of another architecture",
        |c, _| {
            let other = mlp(&[6, 16, 3]);
            c.write("new/config.json", other.graph.to_document().to_string());
            c.put_weights("new", &other.parameters(9));
        },
        FailureCode::IncompatibleModels,
        "/source/base",
    ),
    (
        "model that is not there",
        |c, _| remove(c, "new"),
        FailureCode::NotFound,
        "/target/base",
    ),
    (
        "data that are not there",
        |c, _| remove(c, "test.safetensors"),
        FailureCode::NotFound,
        "/data/test",
    ),
    (
        "unknown field",
        |_, s| s["options"]["timestep"] = json!(3),
        FailureCode::InvalidSpec,
        "/options/timestep",
    ),
    (
        "no gradients",
        |_, s| s["data"] = json!({}),
        FailureCode::InvalidSpec,
        "/methods/2",
    ),
    (
        "gate that cannot be",
        |_, s| s["gate"] = json!({"min": 2}),
        FailureCode::InvalidSpec,
        "/gate/min",
    ),
];

fn remove(case: &Case, name: &str) {
    let path = case.path(name);
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.expect("our own file");
}

#[test]
fn every_bad_input_has_its_code_and_pointer_and_leaves_nothing() {
    let mut wrong = Vec::new();
    for (what, spoil, code, pointer) in FAULTS {
        let case = Case::fresh();
        let mut spec = case.spec();
        spoil(&case, &mut spec);
        let found = match case.run(&spec) {
            Err(Failure::Input {
                code,
                pointer,
                detail,
            }) => {
                assert!(!detail.is_empty());
                format!("{code} at {}", pointer.unwrap_or_default())
            }
            other => format!("{other:?}"),
        };
        if found != format!("{code} at {pointer}") {
            wrong.push(format!("{what}: {found}, not {code} at {pointer}"));
        }
        let left = case.left_under_output();
        if !left.is_empty() {
            wrong.push(format!("{what}: leaves {left:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_location_outside_the_roots_is_read_or_written() {
    let case = Case::fresh();
    let outside = tempfile::tempdir().expect("a folder");
    for pointer in [
        "/source/base",
        "/source/trajectory",
        "/target/base",
        "/data/train",
        "/data/test",
        "/output",
    ] {
        let away = format!("file://{}/", outside.path().display());
        let up = case.uri("../away/");
        for (uri, codes) in [
            (
                away,
                [
                    FailureCode::LocationNotAllowed,
                    FailureCode::LocationNotAllowed,
                ],
            ),
            (
                up,
                [
                    FailureCode::LocationMalformed,
                    FailureCode::LocationNotAllowed,
                ],
            ),
            (
                "s3://elsewhere/x/".to_owned(),
                [
                    FailureCode::LocationNotAllowed,
                    FailureCode::LocationNotAllowed,
                ],
            ),
        ] {
            let mut spec = case.spec();
            *spec.pointer_mut(pointer).expect("a field") = json!(uri);
            let Err(Failure::Input {
                code,
                pointer: found,
                ..
            }) = case.run(&spec)
            else {
                panic!("{uri} at {pointer} is refused")
            };
            assert!(codes.contains(&code), "{uri} at {pointer}: {code}");
            assert_eq!(found.as_deref(), Some(pointer));
            assert!(case.left_under_output().is_empty(), "{uri} at {pointer}");
        }
    }
    assert_eq!(
        fs::read_dir(outside.path())
            .expect("our own folder")
            .count(),
        0
    );
}

/// What `retune transfer --json` exits with and says.
fn by_command(case: &Case, spec: &Value) -> (Option<i32>, Value) {
    case.write("spec.json", spec.to_string());
    let done = retune()
        .args(["transfer", "--json"])
        .arg(case.path("spec.json"))
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    (
        done.status.code(),
        serde_json::from_str(&said).unwrap_or(json!(said)),
    )
}

#[test]
fn the_command_exits_with_2_and_says_the_same() {
    for (what, spoil, code, pointer) in FAULTS {
        if !["NaN in the tuned model", "header bomb", "unknown field"].contains(what) {
            continue;
        }
        let case = Case::fresh();
        let mut spec = case.spec();
        spoil(&case, &mut spec);
        let (exit, said) = by_command(&case, &spec);
        assert_eq!(exit, Some(2), "{what}: {said}");
        assert_eq!(said["error"]["code"], code.name(), "{what}: {said}");
        assert_eq!(said["error"]["pointer"], *pointer, "{what}: {said}");
        assert!(case.left_under_output().is_empty(), "{what}");
    }
}

#[test]
fn the_command_calls_nobody_back_and_says_so() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["callback"] = json!({"url": "https://example.com/"});
    let (exit, said) = by_command(&case, &spec);
    let error = &said["error"];
    assert_eq!(
        (exit, &error["code"]),
        (Some(2), &json!(FailureCode::NotImplemented.name())),
        "{said}"
    );
    assert_eq!(error["pointer"], "/callback", "{said}");
    assert!(case.left_under_output().is_empty());
}
