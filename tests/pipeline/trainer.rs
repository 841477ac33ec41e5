//! The forms of a trajectory, the heads, the gate, and jobs without data.

use retune::{
    artifacts::tensors,
    engine::network::Checkpoint,
    pipeline::{Recommendation, Verdict},
};
use serde_json::{Value, json};

use super::case::{Case, names_in, read_json, read_model};

/// Three checkpoints between the old base and the tuned model, the last one included.
fn checkpoints(case: &Case) -> Vec<Checkpoint> {
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    [0.4, 0.7, 1.0].map(|fraction| old.interpolated(&tuned, fraction)).into()
}

fn bytes(model: &Checkpoint) -> Vec<u8> {
    tensors::to_pieces(model).concat()
}

/// The result's model for a job from this trajectory.
fn result(case: &Case, trajectory: &str, options: &Value) -> (Vec<u8>, Value) {
    let mut spec = case.spec();
    spec["source"]["trajectory"] = json!(case.uri(trajectory));
    spec["options"] = options.clone();
    let (_, folder) = case.done(&spec);
    (bytes(&read_model(&folder)), read_json(&folder.join("report.json")))
}

#[test]
fn a_trainer_folder_a_list_and_a_single_model_give_the_same_linear_transfer() {
    let case = Case::fresh();
    let mut listed = vec![json!({"step": 0, "model": "base/"})];
    case.put_model("list/base", &case.model("old"));
    for (step, model) in [5, 10, 100].into_iter().zip(&checkpoints(&case)) {
        // In order of number, not of name.
        case.put_model(&format!("trainer/checkpoint-{step}"), model);
        case.put_model(&format!("list/step-{step}"), model);
        listed.push(json!({"step": step, "model": format!("step-{step}/")}));
    }
    case.write("trainer/checkpoint-100/trainer_state.json", "{}");
    let list = json!({"format": "retune-trajectory/1", "checkpoints": listed});
    case.write("list/trajectory.json", list.to_string());

    let linear = json!({"timesteps": 3, "batch_size": 32});
    let (single, _) = result(&case, "tuned/", &linear);
    assert_eq!(result(&case, "trainer/", &linear).0, single);
    assert_eq!(result(&case, "list/", &linear).0, single);

    let stored = json!({"timesteps": 10, "batch_size": 32, "trajectory": "stored"});
    let (trained, report) = result(&case, "trainer/", &stored);
    let steps = report["candidates"][2]["steps"].as_array().map(Vec::len);
    assert_eq!(steps, Some(3), "one step a stored checkpoint: {}", report["candidates"][2]);
    assert_eq!(result(&case, "list/", &stored).0, trained);
}

#[test]
fn the_head_is_transported_taken_from_the_source_or_kept() {
    let case = Case::fresh();
    let (old, tuned, new) = (case.model("old"), case.model("tuned"), case.model("new"));
    let head = |mode: &str| {
        let mut spec = case.spec();
        spec["methods"] = json!(["identity"]);
        spec["options"] = json!({"timesteps": 1, "alpha": 1.0, "step": "last", "head": mode});
        read_model(&case.done(&spec).1)
    };
    let transported = new.shifted(&old, &tuned, 1.0);
    for name in ["fc2.weight", "fc2.bias"] {
        assert_eq!(head("keep")[name].bytes(), new[name].bytes());
        assert_eq!(head("source")[name].bytes(), tuned[name].bytes());
        assert_eq!(head("transport")[name].bytes(), transported[name].bytes());
    }
    for mode in ["keep", "source", "transport"] {
        assert_eq!(head(mode)["fc1.weight"].bytes(), transported["fc1.weight"].bytes(), "{mode}");
    }
}

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
    assert_eq!(names_in(&folder), ["README.md", "manifest.json", "report.json"]);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["verdict"], "rejected");
    assert_eq!(report["gate"][0]["passed"], false);
    let manifest = read_json(&folder.join("manifest.json"));
    assert_eq!(manifest["verdict"], "rejected");
    let outputs = manifest["outputs"].as_array().expect("a list");
    assert!(outputs.iter().all(|file| file["name"] != "model.safetensors"), "{outputs:?}");

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
    assert_eq!(report["gate"][0]["value"], report["negative_flips"]["share"]);
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
    assert_eq!(outcome.recommendation, Some(Recommendation::Transfer), "{}", report["metrics"]);
    assert_eq!(report["winner"], outcome.metrics["method"]);
    assert_eq!(report["splits"]["test_is_validation"], false);
}

#[test]
fn without_data_the_ladder_takes_what_the_diagnosis_says() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["data"].take();
    spec.as_object_mut().expect("an object").retain(|key, _| key != "data");
    spec["methods"] = json!("auto");
    let (outcome, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let methods: Vec<&str> = report["candidates"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|candidate| candidate["method"].as_str())
        .collect();
    // The new base is the old one in another order.
    assert_eq!(methods, ["weight_matching"]);
    let ladder = report["ladder"].as_array().expect("a list");
    let taken: Vec<&Value> = ladder.iter().map(|step| &step["taken"]).collect();
    assert_eq!(taken, [false, true, false]);
    assert!(ladder[0]["reason"].to_string().contains("fixed by weight matching"), "{ladder:?}");
    assert!(report["diagnosis"]["relation"]["fixed_points"].as_f64().expect("a share") < 0.5);
    assert_eq!(report["diagnosis"]["relation"]["barrier"], Value::Null);
    assert_eq!(outcome.recommendation, None, "nothing was measured");
    assert_eq!(report["candidates"][0]["sample_gradients"], 0);
    assert_eq!(report["baselines"]["source_tuned"], Value::Null);
    assert!(report["warnings"].to_string().contains("without data"));

    // With training data alone validation is held out of it, and the report says so.
    let mut spec = case.spec();
    spec["data"] = json!({"train": case.uri("train.safetensors")});
    let report = read_json(&case.done(&spec).1.join("report.json"));
    assert_eq!(report["splits"]["train"], 108);
    assert_eq!(report["splits"]["validation"], 12);
    assert_eq!(report["splits"]["validation_held_out_of_train"], true);
    assert_eq!(report["splits"]["test_is_validation"], true);
}

#[test]
fn auto_stops_when_it_has_enough_and_measures_training_without_transfer() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.001});
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let source = report["baselines"]["source_tuned"]["validation"]["accuracy"].as_f64();
    let source = source.expect("measured");
    let mut enough = false;
    for step in report["ladder"].as_array().expect("a list") {
        // Exactly the rungs before the first that is enough are taken.
        assert_eq!(step["taken"], !enough, "{step}");
        let accuracy = step["validation_accuracy"].as_f64();
        enough |= accuracy.is_some_and(|accuracy| accuracy >= source - 0.01 - 1e-9);
    }
    assert!(enough, "{}", report["ladder"]);
    let relation = &report["diagnosis"]["relation"];
    assert_eq!(relation["barrier"]["losses"].as_array().expect("a list").len(), 25);
    let cosine = |name: &str| relation[name].as_f64().expect("a cosine");
    assert!(cosine("gradient_cosine") > cosine("gradient_cosine_at_identity"), "{relation}");
    let only = &report["baselines"]["fine_tune_only"];
    assert_eq!(only["sample_gradients"], report["fine_tune"]["sample_gradients"]);
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("plain fine-tuning"), "{reasons}");
}
