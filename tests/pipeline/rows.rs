//! Classes and tokens that the bases number differently.

use retune::engine::tensors::{Checkpoint, HostTensor};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors};
use crate::engine::transformers::{Projection, Size, VOCABULARY, language_model};

/// Rows of another model, by position; where there is none, of `value`.
fn rows(of: &HostTensor, order: &[Option<usize>], value: f32) -> HostTensor {
    let width: usize = of.shape()[1..].iter().product();
    let values = of.f32();
    let row = |from: &Option<usize>| match from {
        Some(row) => values[row * width..(row + 1) * width].to_vec(),
        None => vec![value; width],
    };
    let mut shape = of.shape().to_vec();
    shape[0] = order.len();
    HostTensor::from_f32(shape, order.iter().flat_map(row).collect())
}

fn with_rows(
    model: &Checkpoint,
    names: &[&str],
    order: &[Option<usize>],
    value: f32,
) -> Checkpoint {
    let mut model = model.clone();
    for name in names {
        model.insert(*name, rows(&model[*name].clone(), order, value));
    }
    model
}

fn assert_same(found: &Checkpoint, wanted: &Checkpoint) {
    assert_eq!(found.len(), wanted.len());
    for (name, tensor) in found.iter() {
        assert_eq!(tensor.shape(), wanted[name].shape(), "{name}");
        assert_eq!(tensor.bytes(), wanted[name].bytes(), "{name}");
    }
}

const HEAD: [&str; 2] = ["fc2.weight", "fc2.bias"];
const ORDER: [Option<usize>; 4] = [Some(2), None, Some(0), Some(1)];

/// The new base is the old one with a class more, in another order.
pub(super) fn a_class_more() -> (Case, Value) {
    let case = Case::fresh();
    let old = case.model("old");
    case.put_weights("new", &with_rows(&old, &HEAD, &ORDER, 0.25));
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["options"]["alpha"] = json!(1.0);
    spec["options"]["step"] = json!("last");
    (case, spec)
}

#[test]
fn classes_follow_their_labels() {
    let (case, spec) = a_class_more();
    name_all(&case);
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(
        report["shared_rows"],
        json!([{"axis": "classes", "tensors": ["fc2.bias", "fc2.weight"], "source": 3,
                "target": 4, "shared": 3, "own": {}}])
    );
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_same(
        &found,
        &with_rows(&case.model("tuned"), &HEAD, &ORDER, 0.25),
    );
    let labels = &read_json(&folder.join("config.json"))["id2label"];
    assert_eq!(labels["1"], "elk", "the new base's");
    // Gradients of a head that both sides now have.
    let mut matched = spec;
    matched["methods"] = json!(["fgmt"]);
    let (_, folder) = case.done(&matched);
    assert_same(&read_tensors(&folder.join("model.safetensors")), &found);
}

pub(super) fn name_all(case: &Case) {
    for model in ["old", "tuned"] {
        case.name_classes(model, &["cat", "dog", "owl"]);
    }
    case.name_classes("new", &["owl", "elk", "cat", "dog"]);
}

/// The head is the tuned model's, but for the class that it does not know.
#[test]
fn a_class_of_the_new_base_alone_stays_beside_the_sources_head() {
    let (case, mut spec) = a_class_more();
    name_all(&case);
    spec["options"]["head"] = json!("source");
    let wanted = with_rows(&case.model("tuned"), &HEAD, &ORDER, 0.25);
    for method in ["identity", "fgmt"] {
        spec["methods"] = json!([method]);
        let (_, folder) = case.done(&spec);
        assert_same(&read_tensors(&folder.join("model.safetensors")), &wanted);
    }
    // The new base's own, whatever the old one holds.
    let other = case.network.parameters(5);
    case.put_weights("new", &with_rows(&other, &HEAD, &ORDER, 0.5));
    spec["methods"] = json!(["identity"]);
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    for name in HEAD {
        let wanted = rows(&case.model("tuned")[name], &ORDER, 0.5);
        assert_eq!(found[name].bytes(), wanted.bytes(), "{name}");
    }
}

/// What lies between the bases is no matter of rows that only one of them has.
#[test]
fn a_class_of_the_new_base_alone_stays_where_updates_are_made_orthogonal() {
    let (case, mut spec) = a_class_more();
    name_all(&case);
    let (old, other) = (case.model("old"), case.network.parameters(5));
    case.put_weights("new", &with_rows(&other, &HEAD, &ORDER, 0.5));
    spec["options"]["orthogonal_shift"] = json!(true);
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    let tuned = case.model("tuned");
    for name in HEAD {
        let shift = |i: usize| f64::from(tuned[name].f32()[i]) - f64::from(old[name].f32()[i]);
        let between = |i: usize| f64::from(other[name].f32()[i]) - f64::from(old[name].f32()[i]);
        let sum = |term: &dyn Fn(usize) -> f64| (0..old[name].len()).map(term).sum::<f64>();
        let along = sum(&|i| shift(i) * between(i)) / sum(&|i| between(i).powi(2));
        let entry = |i: usize| f64::from(other[name].f32()[i]) + shift(i) - along * between(i);
        let wanted = (0..old[name].len()).map(|i| entry(i) as f32).collect();
        let wanted = HostTensor::from_f32(old[name].shape().to_vec(), wanted);
        let wanted = rows(&wanted, &ORDER, 0.5);
        for (found, wanted) in found[name].f32().iter().zip(wanted.f32().iter()) {
            assert!(
                (found - wanted).abs() < 1e-6,
                "{name}: {found}, not {wanted}"
            );
        }
        let width = old[name].len() / 3;
        assert_eq!(
            found[name].floats(width..2 * width)[..],
            vec![0.5; width],
            "{name}"
        );
    }
}

#[test]
fn classes_without_labels_are_refused() {
    let (case, spec) = a_class_more();
    let refused = |case: &Case| {
        for error in [
            case.run(&spec).expect_err("it is"),
            case.plan(&spec).expect_err("it is"),
        ] {
            let text = error.to_string();
            assert!(
                text.contains("fc2.bias is [3] here and [4] there"),
                "{text}"
            );
            assert!(text.contains("id2label"), "{text}");
        }
    };
    refused(&case);
    // A library's placeholders name nothing.
    for model in ["old", "tuned"] {
        case.name_classes(model, &["LABEL_0", "LABEL_1", "LABEL_2"]);
    }
    case.name_classes("new", &["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]);
    refused(&case);
}

/// Both bases tell five classes, the tuned model three: the head is the tuning's.
#[test]
fn a_head_of_other_classes_than_both_bases_is_the_old_tunings() {
    let case = Case::fresh();
    let five = [Some(0), Some(1), Some(2), None, None];
    for model in ["old", "new"] {
        case.put_weights(model, &with_rows(&case.model(model), &HEAD, &five, 0.5));
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"]["adopted"], json!(["fc2.bias", "fc2.weight"]));
    assert_eq!(report["shared_rows"], json!([]));
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(
        found["fc2.bias"].bytes(),
        case.model("tuned")["fc2.bias"].bytes()
    );
    let accuracy = report["metrics"]["accuracy"].as_f64().expect("a figure");
    let source = report["metrics"]["source_accuracy"]
        .as_f64()
        .expect("a figure");
    assert!(accuracy > source - 0.05, "{accuracy} of {source}");
}

/// The output matrix is the embedding: both are the vocabulary's.
#[test]
fn tokens_follow_their_texts() {
    let case = Case::empty(language_model(
        Projection::Grouped,
        Size {
            depth: 1,
            width: 16,
        },
        true,
    ));
    for (name, seed) in [("old", 1), ("tuned", 2)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    // One of the old tokens is gone, the rest is in reverse, two are new.
    let order: Vec<_> = (1..VOCABULARY)
        .rev()
        .map(Some)
        .chain([None, None])
        .collect();
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    case.put_model("new", &with_rows(&old, &["words.weight"], &order, 0.125));
    let listed = |rows: &[Option<usize>]| {
        let text = |(id, row): (usize, &Option<usize>)| match row {
            Some(row) => format!("t{row}\n"),
            None => format!("new{id}\n"),
        };
        rows.iter().enumerate().map(text).collect::<String>()
    };
    case.write(
        "old/vocab.txt",
        listed(&(0..VOCABULARY).map(Some).collect::<Vec<_>>()),
    );
    case.write("new/vocab.txt", listed(&order));
    let spec = json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
        "target": {"base": case.uri("new/")},
        "methods": ["identity"],
        "options": {"alpha": 1.0},
        "output": case.uri("out/"),
    });
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["shared_rows"][0]["axis"], "vocabulary");
    assert_eq!(report["shared_rows"][0]["shared"], VOCABULARY - 1);
    assert_same(
        &read_tensors(&folder.join("model.safetensors")),
        &with_rows(&tuned, &["words.weight"], &order, 0.125),
    );
    let inputs = read_json(&folder.join("manifest.json"))["inputs"].to_string();
    assert!(inputs.contains("vocab.txt"), "{inputs}");
}
