//! Classes that three models name: no row is added to one of another name.

use retune::{
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::{Value, json};

use crate::{
    pipeline::case::{Case, read_json, read_model},
    regressions::refused,
};

const HEAD: [&str; 2] = ["fc2.weight", "fc2.bias"];

/// A job onto the old base itself, whose rows stand in another order.
fn case(order: [usize; 3], labels: [[&str; 3]; 3]) -> (Case, Value) {
    let case = Case::fresh();
    case.put_weights("new", &reordered(&case.model("old"), order));
    for (model, labels) in ["old", "tuned", "new"].into_iter().zip(labels) {
        case.name_classes(model, &labels);
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"alpha": 1.0, "step": "last", "timesteps": 1});
    (case, spec)
}

fn reordered(model: &Checkpoint, order: [usize; 3]) -> Checkpoint {
    let mut model = model.clone();
    for name in HEAD {
        let tensor = model[name].clone();
        let width: usize = tensor.shape()[1..].iter().product();
        let rows = order
            .iter()
            .flat_map(|row| tensor.f32()[row * width..][..width].to_vec());
        model.insert(
            name,
            HostTensor::from_f32(tensor.shape().to_vec(), rows.collect()),
        );
    }
    model
}

fn run(case: &Case, spec: &Value) -> (Checkpoint, Value, Value) {
    case.plan(spec).expect("headers tell the same");
    let (_, folder) = case.done(spec);
    let report = read_json(&folder.join("report.json"));
    (
        read_model(&folder),
        report,
        read_json(&folder.join("config.json")),
    )
}

fn same_head(found: &Checkpoint, wanted: &Checkpoint) {
    for name in HEAD {
        assert_eq!(found[name].bytes(), wanted[name].bytes(), "{name}");
    }
}

const CAPITALS: [&str; 3] = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"];

#[test]
fn names_in_another_order_and_case_are_matched() {
    let new = ["entailment", "neutral", "contradiction"];
    let (case, spec) = case([2, 1, 0], [CAPITALS, CAPITALS, new]);
    let (found, report, _) = run(&case, &spec);
    same_head(&found, &reordered(&case.model("tuned"), [2, 1, 0]));
    assert_eq!(
        report["shared_rows"][0]["shared"], 3,
        "{}",
        report["shared_rows"]
    );
}

#[test]
fn a_class_that_only_one_has_is_left_out_and_the_report_says_so() {
    let new = ["contradiction", "other", "entailment"];
    let (case, spec) = case([0, 1, 2], [CAPITALS, CAPITALS, new]);
    let (found, report, config) = run(&case, &spec);
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    assert_eq!(found["fc2.bias"].f32()[0], tuned["fc2.bias"].f32()[0]);
    assert_eq!(
        found["fc2.bias"].f32()[1],
        old["fc2.bias"].f32()[1],
        "the new base's own"
    );
    assert_eq!(config["id2label"]["1"], "other");
    assert!(
        report["warnings"]
            .to_string()
            .contains("2 of the tuned model's 3 classes")
    );
}

#[test]
fn where_no_class_is_shared_the_head_is_the_old_tunings() {
    let other = [CAPITALS, CAPITALS, ["a", "b", "c"]];
    let (case, spec) = case([0, 1, 2], other);
    let (found, report, config) = run(&case, &spec);
    same_head(&found, &case.model("tuned"));
    assert_eq!(report["head"]["adopted"], json!(["fc2.bias", "fc2.weight"]));
    assert_eq!(config["id2label"]["0"], "CONTRADICTION");
    assert!(
        report["warnings"].to_string().contains("a, b, c"),
        "{}",
        report["warnings"]
    );
    let (case, mut spec) = self::case([0, 1, 2], other);
    spec["options"]["head"] = json!("keep");
    assert_eq!(
        refused(&case, &spec),
        (FailureCode::NoHead, "/options/head".into())
    );
}

/// The tuning numbered its classes anew: no difference between its rows and the old base's is an update.
#[test]
fn a_tuning_that_renumbered_its_classes_brings_its_head() {
    let tuned = ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"];
    let (case, spec) = case([0, 1, 2], [CAPITALS, tuned, CAPITALS]);
    let (found, report, config) = run(&case, &spec);
    same_head(&found, &case.model("tuned"));
    assert_eq!(config["id2label"]["0"], "ENTAILMENT");
    assert!(
        report["warnings"]
            .to_string()
            .contains("numbers its classes otherwise")
    );
}

#[test]
fn placeholders_name_nothing() {
    let placeholders = ["LABEL_0", "LABEL_1", "LABEL_2"];
    let (case, spec) = case([0, 1, 2], [placeholders, CAPITALS, ["0", "1", "2"]]);
    let (found, report, _) = run(&case, &spec);
    same_head(&found, &case.model("tuned"));
    assert_eq!(report["head"], Value::Null);
}
