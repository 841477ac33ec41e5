//! What `auto` does.

use serde_json::{Value, json};

use super::case::{Case, read_json};

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
    assert_eq!(taken, [false, false, true, false, false, false, false, false]);
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
