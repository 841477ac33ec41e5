//! Data without labels: the old tuned model's predictions stand in their place.

use retune::{
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::{Failure, Recommendation, Verdict},
};
use serde_json::{Value, json};

use super::case::{Case, names_in, read_json, read_model, samples};
use retune::artifacts::tensors;

impl Case {
    /// Replaces a split by inputs alone.
    fn without_labels(&self, name: &str, count: usize, seed: u64) -> HostTensor {
        let inputs = samples(count, seed).0;
        let data: Checkpoint = [("inputs".to_owned(), inputs.clone())]
            .into_iter()
            .collect();
        self.write(&format!("{name}.safetensors"), tensors::to_bytes(&data));
        inputs
    }

    fn nowhere_labelled(&self) {
        for (name, count, seed) in [("train", 120, 1), ("validation", 60, 6), ("test", 60, 7)] {
            self.without_labels(name, count, seed);
        }
    }

    /// What this model predicts for the test samples, as `predict` of the network gives it.
    fn classes(&self, model: &Checkpoint, inputs: &HostTensor) -> Vec<usize> {
        use retune::engine::training::Batch;
        let sample_shape = inputs.shape()[1..].to_vec();
        let batch = Batch {
            inputs: inputs.f32().to_vec(),
            sample_shape,
            labels: Vec::new(),
        };
        let logits = self.network.learner().predict(model, &batch);
        let largest = |row: &[f32]| {
            (0..row.len())
                .max_by(|&a, &b| row[a].total_cmp(&row[b]))
                .expect("classes")
        };
        logits.chunks(3).map(largest).collect()
    }
}

fn refused(done: Result<impl std::fmt::Debug, Failure>) -> (FailureCode, Option<String>) {
    match done.expect_err("the data have no labels") {
        Failure::Input { code, pointer, .. } => (code, pointer),
        other => panic!("{other}"),
    }
}

#[test]
fn inputs_alone_are_enough_to_transfer_and_to_measure_agreement() {
    let case = Case::fresh();
    case.nowhere_labelled();
    let inputs = samples(60, 7).0;
    let mut spec = case.spec();
    spec["methods"] = json!(["identity", "weight_matching", "theseus", "functional"]);
    assert_eq!(
        case.plan(&spec).unwrap()["unlabelled"],
        json!(["train", "validation", "test"])
    );

    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(outcome.verdict, Verdict::Published);
    assert_eq!(
        report["splits"]["unlabelled"],
        json!(["train", "validation", "test"])
    );
    let metrics = &report["metrics"];
    assert_eq!(
        (&metrics["accuracy"], &metrics["loss"]),
        (&Value::Null, &Value::Null)
    );
    assert!(metrics["divergence"].as_f64().unwrap() >= 0.0, "{metrics}");

    // The figure is what the two models' own predictions give.
    let own = case.classes(&read_model(&folder), &inputs);
    let old = case.classes(&case.model("tuned"), &inputs);
    let same = own.iter().zip(&old).filter(|(own, old)| own == old).count();
    let agreement = metrics["agreement"].as_f64().unwrap();
    assert!((agreement - same as f64 / 60.0).abs() < 1e-12, "{metrics}");
    assert!(agreement > 0.9, "{metrics}");

    // No figure of a split without labels is called accuracy.
    let old_tuned = &report["baselines"]["source_tuned"];
    assert_eq!(
        (&old_tuned["accuracy"], &old_tuned["agreement"]),
        (&Value::Null, &json!(1.0))
    );
    for candidate in report["candidates"].as_array().unwrap() {
        assert!(candidate["validation"]["accuracy"].is_null(), "{candidate}");
        assert!(candidate["validation"]["agreement"].is_f64(), "{candidate}");
        for step in candidate["steps"].as_array().unwrap() {
            assert!(
                step["accuracy"].is_null() && step["agreement"].is_f64(),
                "{step}"
            );
        }
    }
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("no labels in train, validation, test"),
        "{warnings}"
    );
    assert!(names_in(&folder).contains(&"predictions.parquet".to_owned()));
    assert_eq!(report["decision"]["accuracy_lost_per_100"], Value::Null);
}

#[test]
fn what_needs_labels_is_refused_by_plan_and_run_alike() {
    let case = Case::fresh();
    case.nowhere_labelled();
    let missing = |pointer: &str| (FailureCode::LabelsMissing, Some(pointer.to_owned()));
    let mut spec = case.spec();
    assert_eq!(refused(case.plan(&spec)), missing("/methods"));
    assert_eq!(refused(case.run(&spec)), missing("/methods"));
    spec["methods"] = json!("auto");
    spec["gate"] = json!({"min": 0.5});
    assert_eq!(refused(case.plan(&spec)), missing("/gate/metric"));
    assert_eq!(refused(case.run(&spec)), missing("/gate/metric"));
    assert!(
        case.left_under_output().is_empty(),
        "nothing is left of a refused job"
    );
}

/// The old tuned model's probabilities are something to train on.
#[test]
fn a_stage_after_the_transfer_learns_from_the_old_tuned_model() {
    let case = Case::fresh();
    case.nowhere_labelled();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["fine_tune"] = json!({"epochs": 20, "learning_rate": 0.05, "batch_size": 16});
    assert_eq!(
        refused(case.run(&spec)).1.as_deref(),
        Some("/fine_tune/labels")
    );
    spec["fine_tune"]["labels"] = json!("old_model");
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let (before, tuned) = (&report["candidates"][0], &report["fine_tune"]);
    let agreement = |of: &Value| of["test"]["agreement"].as_f64().unwrap();
    assert!(agreement(tuned) > agreement(before), "{tuned}");
    assert!(
        tuned["epochs"][0]["validation_accuracy"].is_null(),
        "{tuned}"
    );
    assert_eq!(report["published_model"], "fine_tuned");
}

#[test]
fn auto_without_labels_takes_no_method_that_needs_them_and_publishes_by_its_gate() {
    let case = Case::fresh();
    case.nowhere_labelled();
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    spec["gate"] = json!({"metric": "agreement", "min": 0.9});
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(outcome.verdict, Verdict::Published, "{}", report["metrics"]);
    assert_eq!(report["gate"][0]["value"], report["metrics"]["agreement"]);
    for step in report["ladder"].as_array().unwrap() {
        let needs_labels = ["fgmt", "gmt", "bico", "gradfix"]
            .iter()
            .any(|name| step["method"] == *name);
        assert!(!(needs_labels && step["taken"] == true), "{step}");
        assert!(step["validation_accuracy"].is_null(), "{step}");
    }
    assert_eq!(report["baselines"]["few_shot"], Value::Null);

    spec["gate"] = json!({"metric": "agreement", "max_drop_from_source": 0.0});
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"timesteps": 1, "alpha": 0.1});
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert!(names_in(&folder).contains(&"predictions.parquet".to_owned()));
}

/// Where nobody can know whether something is lost, `auto` publishes without a gate only what is shown to
/// agree.
#[test]
fn auto_without_labels_and_gate_publishes_what_is_shown_to_agree() {
    let case = Case::fresh();
    for (name, count, seed) in [("train", 120, 1), ("validation", 300, 6), ("test", 400, 7)] {
        case.without_labels(name, count, seed);
    }
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    // The same function in another order of its units.
    case.put_model("new", &case.model("old"));
    let (outcome, _) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Published);
    assert_eq!(outcome.recommendation, Some(Recommendation::Copy));

    case.put_model("new", &case.network.parameters(77));
    spec["methods"] = json!("auto");
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let shown = outcome.recommendation == Some(Recommendation::Transfer);
    assert_eq!(
        outcome.verdict == Verdict::Published,
        shown,
        "{}",
        report["recommendation"]
    );
}

/// Another α may be right for each layer. It is tried where that is cheaper than an epoch of training.
#[test]
fn auto_tries_an_alpha_for_each_group_where_there_are_many_inputs() {
    let case = Case::fresh();
    case.without_labels("validation", 300, 6);
    case.put_model("new", &case.network.parameters(77));
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    for (count, is_cheap) in [(120, false), (4000, true)] {
        case.without_labels("train", count, 1);
        let report = read_json(&case.done(&spec).1.join("report.json"));
        let last = report["ladder"].as_array().unwrap().last().unwrap();
        assert_eq!(last["by_group"], true, "{last}");
        assert_eq!(last["taken"], is_cheap, "{last}");
        assert_eq!(last["sample_forwards"] != 0, is_cheap, "{last}");

        let candidates = report["candidates"].as_array().unwrap();
        let best = candidates
            .iter()
            .find(|one| one["method"] == last["method"]);
        assert_eq!(
            best.unwrap()["by_group"].is_object(),
            is_cheap,
            "{report:#}"
        );
    }
}

/// What training alone reaches is measured without labels, too: by the old tuned model's probabilities, whose
/// passes are part of the price.
#[test]
fn training_alone_learns_from_the_old_tuned_model() {
    let case = Case::fresh();
    // Too few inputs for a fit that is as good.
    for (name, count, seed) in [("train", 4, 1), ("validation", 400, 6), ("test", 60, 7)] {
        case.without_labels(name, count, seed);
    }
    case.put_model("new", &case.network.parameters(77));
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let few_shot = &report["baselines"]["few_shot"];
    assert_eq!(few_shot["by_old_model"], true, "{report:#}");
    assert!(few_shot["agreement"].is_f64(), "{few_shot}");
    assert!(few_shot["accuracy"].is_null(), "{few_shot}");
    assert!(
        few_shot["sample_gradients"].as_u64().unwrap() > 0,
        "{few_shot}"
    );
}

#[test]
fn a_labelled_test_split_judges_accuracy_whatever_chose() {
    let case = Case::fresh();
    case.without_labels("train", 120, 1);
    case.without_labels("validation", 60, 6);
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching", "functional"]);
    spec["gate"] = json!({"min": 0.5});
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(
        report["splits"]["unlabelled"],
        json!(["train", "validation"])
    );
    assert!(
        report["metrics"]["accuracy"].as_f64().unwrap() > 0.5,
        "{}",
        report["metrics"]
    );
    assert!(report["metrics"]["agreement"].is_f64() && report["metrics"]["divergence"].is_null());
    assert!(report["candidates"][0]["validation"]["agreement"].is_f64());
    assert!(report["candidates"][0]["test"]["accuracy"].is_f64());
}
