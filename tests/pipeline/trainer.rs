//! The forms of a trajectory, the heads, the gate, and jobs without data.

use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::{Failure, Recommendation, Verdict},
};
use serde_json::{Value, json};

use super::case::{Case, names_in, read_json, read_model};

/// Three checkpoints between the old base and the tuned model, the last one included.
fn checkpoints(case: &Case) -> Vec<Checkpoint> {
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    [0.4, 0.7, 1.0].map(|fraction| old.interpolated(&tuned, fraction)).into()
}

fn bytes(model: &Checkpoint) -> Vec<u8> {
    tensors::to_bytes(model)
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
    // The list was read too.
    let mut spec = case.spec();
    (spec["source"]["trajectory"], spec["methods"]) =
        (json!(case.uri("list/")), json!(["identity"]));
    let inputs = read_json(&case.done(&spec).1.join("manifest.json"))["inputs"].to_string();
    assert!(inputs.contains("list/trajectory.json"), "{inputs}");
}

/// An adapter is the tuned model that it makes of its base.
#[test]
fn a_lora_adapter_gives_what_the_merged_model_gives() {
    let case = Case::fresh();
    let old = case.model("old");
    let weight = &old["fc1.weight"];
    let (out, read) = (weight.shape()[0], weight.shape()[1]);
    let values = |n: usize| (0..n).map(|i| ((i * 37 % 19) as f32 - 9.0) / 64.0).collect();
    let a = HostTensor::from_f32(vec![2, read], values(2 * read));
    let b = HostTensor::from_f32(vec![out, 2], values(2 * out));
    let (first, second) = (a.f32().into_owned(), b.f32().into_owned());
    // alpha / r = 2; every product of these eighths of eighths is exact in f64.
    let merged = (0..out * read).map(|at| {
        let (o, i) = (at / read, at % read);
        let product = |k: usize| f64::from(second[2 * o + k]) * f64::from(first[k * read + i]);
        (f64::from(weight.f32()[at]) + 2.0 * (product(0) + product(1))) as f32
    });
    let mut tuned = old.clone();
    tuned.insert("fc1.weight", HostTensor::from_f32(vec![out, read], merged.collect()));
    tuned.insert("fc2.bias", case.model("tuned")["fc2.bias"].clone());
    case.put_model("merged", &tuned);
    let adapter: Checkpoint = [
        ("base_model.model.fc1.lora_A.weight".to_owned(), a),
        ("base_model.model.fc1.lora_B.weight".to_owned(), b),
        ("base_model.model.fc2.bias".to_owned(), tuned["fc2.bias"].clone()),
    ]
    .into_iter()
    .collect();
    let settings = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["fc1"]});
    case.write("lora/adapter_config.json", settings.to_string());
    case.write("lora/adapter_model.safetensors", bytes(&adapter));

    let options = json!({"timesteps": 2, "batch_size": 32});
    let (by_adapter, _) = result(&case, "lora/", &options);
    assert_eq!(by_adapter, result(&case, "merged/", &options).0);
    let mut spec = case.spec();
    spec["source"]["trajectory"] = json!(case.uri("lora/"));
    assert!(case.plan(&spec).is_ok());
    case.write("lora/adapter_model.safetensors", bytes(&old));
    let failure = case.plan(&spec).unwrap_err();
    assert!(matches!(failure, Failure::Input { code: "unexpected_tensor", .. }), "{failure:?}");
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
    assert_eq!(taken, [false, true, false, false, false, false, false]);
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

#[test]
fn auto_takes_the_orthogonal_shift_where_one_lineage_is_the_better_for_it() {
    let case = Case::fresh();
    let report = |spec: &Value| read_json(&case.done(spec).1.join("report.json"));
    let of_identity = |report: &Value| {
        let candidates = report["candidates"].as_array().expect("a list");
        candidates.iter().find(|c| c["method"] == "identity").expect("the first rung").clone()
    };
    let figures = |candidate: &Value| {
        let of = |name: &str| candidate["validation"][name].as_f64().expect("measured");
        (of("accuracy"), -of("loss"))
    };
    let old = case.model("old");
    let mut chosen = Vec::new();
    for (seed, distance) in [(8, 0.3), (9, 0.5), (10, 0.7), (11, 0.9)] {
        let (zero, one) = (case.network.parameters(1), case.network.parameters(seed));
        case.put_model("new", &old.shifted(&zero, &one, distance));
        let mut spec = case.spec();
        spec["methods"] = json!(["identity"]);
        let plain = of_identity(&report(&spec));
        spec["options"]["orthogonal_shift"] = json!(true);
        let shifted = of_identity(&report(&spec));
        spec = case.spec();
        spec["methods"] = json!("auto");
        let report = report(&spec);
        let found = of_identity(&report);
        let relation = &report["diagnosis"]["base_cosines"]["matrices"];
        let related = relation.as_f64().expect("a cosine") >= 0.5
            || report["diagnosis"]["relation"]["fixed_points"].as_f64().expect("a share") >= 0.5;
        let better = related && figures(&shifted) > figures(&plain);
        assert_eq!(found["orthogonal_shift"], better, "{relation} {found}");
        assert_eq!(figures(&found), figures(if better { &shifted } else { &plain }));
        chosen.push(better);
    }
    assert!(chosen.contains(&true) && chosen.contains(&false), "{chosen:?}");
}

#[test]
fn auto_trains_the_new_base_alone_at_the_cost_of_the_winner() {
    let case = Case::fresh();
    case.put_model("new", &case.network.parameters(9));
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let candidates = report["candidates"].as_array().expect("a list");
    let winner = candidates.iter().find(|c| c["method"] == report["winner"]).expect("the winner");
    let count = |name: &str| winner[name].as_u64().expect("a count");
    let budget = count("sample_gradients") + count("sample_forwards") / 3;
    assert!(budget > 0, "selection alone costs something: {winner}");
    let few = &report["baselines"]["few_shot"];
    let spent = few["sample_gradients"].as_u64().expect("a count");
    // Whole epochs of what data there is.
    let samples = few["samples"].as_u64().expect("a count");
    assert!(samples <= 120 && spent <= budget && budget < spent + samples, "{spent} of {budget}");
    let validation = |value: &Value| value["validation"]["accuracy"].as_f64().expect("a share");
    let retrain = validation(few) > validation(winner) + 0.01 + 1e-9;
    assert_eq!(report["recommendation"]["action"] == "retrain", retrain, "{report:#}");
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("at the same cost"), "{reasons}");

    // The job's own training then starts from there, where that is better.
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.01});
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let baselines = &report["baselines"];
    assert!(baselines["few_shot"]["learning_rate"].as_f64().expect("a rate") > 0.0);
    assert!(validation(&baselines["fine_tune_only"]) > validation(&baselines["target_before"]));
}

#[test]
fn methods_without_a_permutation_are_published_without_one() {
    let case = Case::fresh();
    let run = |method: &str, options: Value| {
        let mut spec = case.spec();
        spec["methods"] = json!([method]);
        spec["options"] = options;
        let (outcome, folder) = case.done(&spec);
        assert_eq!(outcome.metrics["method"], method);
        let report = read_json(&folder.join("report.json"));
        (folder.join("permutation.safetensors").exists(), report["candidates"][0].clone())
    };
    for method in ["bico", "theseus"] {
        let (has_permutation, candidate) = run(method, json!({}));
        assert!(!has_permutation, "{method}");
        assert_eq!(candidate["builds_on"], "weight_matching");
        assert_eq!(candidate["fixed_points"], Value::Null);
        assert!(candidate["maps"]["maps"].as_u64().expect("a number") > 0);
        // The new base is the old one in another order: maps find it again.
        let accuracy = candidate["test"]["accuracy"].as_f64().expect("a share");
        assert!(accuracy > 0.9, "{method}: {accuracy}");
    }
    let (has_permutation, candidate) = run("gradfix", json!({"gradfix_on": "weight_matching"}));
    assert!(has_permutation);
    assert_eq!(candidate["builds_on"], "weight_matching");
    let kept = candidate["mask"]["kept"].as_f64().expect("a share");
    assert!(0.0 < kept && kept < 1.0, "{kept}");
    let (_, candidate) = run("identity", json!({"orthogonal_shift": true, "alpha": 1}));
    let (_, plain) = run("identity", json!({"alpha": 1}));
    assert_ne!(candidate["test"], plain["test"], "the update is another");
}
