//! The gate: what is published, and what is not.

use retune::pipeline::{Recommendation, Verdict};
use serde_json::json;

use super::case::{Case, names_in, read_json};

#[test]
fn a_gate_that_fails_publishes_a_report_and_no_model() {
    let case = Case::fresh();
    let mut spec = case.spec();
    // The new base as it is, next to nothing added: worse than what the gate asks for.
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"timesteps": 1, "alpha": 0.0, "step": "last"});
    spec["gate"] = json!({"min": 1.0, "max_drop_from_source": 0.0});
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert_eq!(
        names_in(&folder),
        [
            "README.md",
            "manifest.json",
            "predictions.parquet",
            "report.json"
        ]
    );
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["verdict"], "rejected");
    assert_eq!(report["gate"][0]["passed"], false);
    let manifest = read_json(&folder.join("manifest.json"));
    assert_eq!(manifest["verdict"], "rejected");
    let outputs = manifest["outputs"].as_array().expect("a list");
    assert!(
        outputs
            .iter()
            .all(|file| file["name"] != "model.safetensors"),
        "{outputs:?}"
    );

    // A bound that everything meets, and still nothing was transferred.
    spec["gate"] = json!({"min": 0.0});
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert_eq!(report["gate"][0]["passed"], true);
    assert_eq!(report["gate"][1]["condition"], "changed_parameters");
    assert_eq!(report["gate"][1]["passed"], false);
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("nothing was transferred"), "{reasons}");

    // The share of negative flips that is reported is the share that is judged.
    spec["options"]["alpha"] = json!(-2.0);
    spec["gate"] = json!({"max_negative_flips": 0.0});
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert_eq!(report["gate"][0]["condition"], "max_negative_flips");
    assert_eq!(
        report["gate"][0]["value"],
        report["negative_flips"]["share"]
    );
    assert_eq!(report["gate"][0]["passed"], false);

    spec["options"]["alpha"] = json!(1.0);
    spec["gate"] = json!({"min": 0.0, "max_negative_flips": 1.0});
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Published);
    let files = names_in(&folder);
    let expected = [
        "README.md",
        "config.json",
        "manifest.json",
        "model.safetensors",
        "permutation.safetensors",
        "predictions.parquet",
        "report.json",
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_good_transfer_passes_its_gate() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["gate"] = json!({"min": 0.8, "max_drop_from_source": 0.1});
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(outcome.verdict, Verdict::Published, "{}", report["metrics"]);
    assert_eq!(
        outcome.recommendation,
        Some(Recommendation::Transfer),
        "{}",
        report["metrics"]
    );
    assert_eq!(report["winner"], outcome.metrics["method"]);
    assert_eq!(report["splits"]["test_is_validation"], false);
}
