//! What `auto` does.

use serde_json::{Value, json};

use super::case::{Case, read_json, read_model};

#[test]
fn without_data_the_ladder_takes_what_the_diagnosis_says() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["data"].take();
    spec.as_object_mut()
        .expect("an object")
        .retain(|key, _| key != "data");
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
    assert_eq!(
        taken,
        [false, false, true, false, false, false, false, false]
    );
    assert!(
        ladder[0]["reason"]
            .to_string()
            .contains("fixed by weight matching"),
        "{ladder:?}"
    );
    assert!(
        report["diagnosis"]["relation"]["fixed_points"]
            .as_f64()
            .expect("a share")
            < 0.5
    );
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
    let steps = report["ladder"].as_array().expect("a list");
    let taken: Vec<&Value> = steps.iter().filter(|step| step["taken"] == true).collect();
    let skipped = &steps[taken.len()..];
    // The rungs before the first that is enough are taken, and their price is told.
    assert!(
        steps.iter().zip(&taken).all(|(step, taken)| step == *taken),
        "{steps:?}"
    );
    assert!(!skipped.is_empty(), "{steps:?}");
    for step in skipped {
        assert!(step["reason"].to_string().contains("enough"), "{step}");
        assert_eq!(
            (&step["sample_gradients"], &step["sample_forwards"]),
            (&json!(0), &json!(0))
        );
    }
    assert!(
        taken
            .iter()
            .all(|step| step["sample_forwards"].as_u64() > Some(0)),
        "{steps:?}"
    );

    let candidates = report["candidates"].as_array().expect("a list");
    let winner = candidates
        .iter()
        .find(|c| c["rank"] == 1)
        .expect("a winner");
    let validation = |of: &Value| of["validation"]["accuracy"].as_f64().expect("measured");
    let source = validation(&report["baselines"]["source_tuned"]);
    // 60 samples show no equivalence to a point: it is not behind.
    assert!(validation(winner) >= source, "{winner}");
    assert_eq!(winner["validation"]["samples"], 60);
    for other in candidates.iter().filter(|c| c["rank"] != 1) {
        assert_eq!(
            other["test"],
            Value::Null,
            "only the winner meets the test split"
        );
    }

    let only = &report["baselines"]["fine_tune_only"];
    assert_eq!(
        only["sample_gradients"],
        report["fine_tune"]["sample_gradients"]
    );
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("plain fine-tuning"), "{reasons}");
}

/// Nobody takes a barrier or a matching that nobody asks for.
#[test]
fn the_barrier_and_the_gradients_cosine_are_taken_where_they_are_wanted() {
    let case = Case::fresh();
    let mut spec = case.spec();
    // Fits are told from permutations by few samples: the climb goes on to matching gradients.
    case.put_model("new", &case.network.parameters(9));
    spec["methods"] = json!("auto");
    spec["options"] = json!({"timesteps": 2, "batch_size": 16, "selection": {"confidence": 0.999}});
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.001});
    let report = |spec: &Value| read_json(&case.done(spec).1.join("report.json"));
    let without = report(&spec);
    assert_eq!(without["diagnosis"]["relation"]["barrier"], Value::Null);
    assert_eq!(without["fine_tune"]["barrier"], Value::Null);

    spec["options"]["barrier"] = json!(true);
    let with = report(&spec);
    let (relation, tuned) = (&with["diagnosis"]["relation"], &with["fine_tune"]);
    for barrier in [&relation["barrier"], &tuned["barrier"]] {
        assert_eq!(
            barrier["losses"].as_array().map(Vec::len),
            Some(25),
            "{relation}"
        );
    }
    assert_eq!(with["winner"], without["winner"], "it decides nothing");
    let matched = with["ladder"].as_array().expect("a list").iter();
    let matched = matched
        .filter(|step| step["taken"] == true)
        .any(|step| step["method"] == "fgmt");
    assert_eq!(
        relation["gradient_cosine"].is_number(),
        matched,
        "{relation}"
    );
}

/// On the same lineage the first look is enough, and nothing is matched.
#[test]
fn of_one_lineage_the_first_look_is_all_that_is_spent() {
    let case = Case::fresh();
    let old = case.model("old");
    let (zero, one) = (case.network.parameters(1), case.network.parameters(8));
    case.put_model("new", &old.shifted(&zero, &one, 0.01));
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    let report = read_json(&case.done(&spec).1.join("report.json"));
    assert_eq!(report["candidates"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["winner"], "identity");
    assert_eq!(report["diagnosis"]["relation"], Value::Null);
    assert_eq!(report["timing"]["weight_matching"], Value::Null);
    // Identity and the old tuned model on the 60 validation samples.
    assert_eq!(report["cost"]["selection"]["sample_forwards"], 120);
    assert_eq!(report["candidates"][0]["sample_forwards"], 60);
    assert_eq!(report["selection"]["samples"], 60);
}

#[test]
fn selection_uses_no_more_samples_than_it_may() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["options"]["selection"] = json!({"samples": 40});
    let report = read_json(&case.done(&spec).1.join("report.json"));
    assert_eq!(report["selection"]["samples"], 40);
    for candidate in report["candidates"].as_array().expect("a list") {
        assert_eq!(candidate["validation"]["samples"], 40, "{candidate}");
    }
    assert_eq!(
        report["baselines"]["source_tuned"]["validation"]["samples"],
        40
    );
}

/// What weight matching leaves in its place is identity, and is not evaluated again.
#[test]
fn the_same_bytes_are_evaluated_once() {
    let case = Case::fresh();
    let old = case.model("old");
    let (zero, one) = (case.network.parameters(1), case.network.parameters(8));
    case.put_model("new", &old.shifted(&zero, &one, 0.1));
    let mut spec = case.spec();
    spec["methods"] = json!(["identity", "weight_matching"]);
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let [identity, matched] = [0, 1].map(|at| &report["candidates"][at]);
    assert_eq!(matched["fixed_points"], 1.0);
    assert_eq!(matched["validation"], identity["validation"]);
    assert_eq!(matched["test"], identity["test"]);
    assert_eq!(matched["sample_forwards"], 0);
    assert!(
        !matched["groups"].as_array().expect("a list").is_empty(),
        "with its own evidence"
    );
}

#[test]
fn auto_takes_the_orthogonal_shift_where_one_lineage_is_the_better_for_it() {
    let case = Case::fresh();
    let report = |spec: &Value| read_json(&case.done(spec).1.join("report.json"));
    let of_identity = |report: &Value| {
        let candidates = report["candidates"].as_array().expect("a list");
        candidates
            .iter()
            .find(|c| c["method"] == "identity")
            .expect("the first rung")
            .clone()
    };
    let figure = |of: &Value, name: &str| of["validation"][name].as_f64().expect("measured");
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
        let cosine = &report["diagnosis"]["base_cosines"]["matrices"];
        let related = cosine.as_f64().expect("a cosine") >= 0.5;
        let source = figure(&report["baselines"]["source_tuned"], "accuracy");
        // Where the first look is not behind the old tuned model nothing else is tried.
        let is_open = figure(&plain, "accuracy") < source;
        let is_shifted = found["orthogonal_shift"] == true;
        assert!(!is_shifted || (related && is_open), "{cosine} {found}");
        if related && is_open && figure(&shifted, "accuracy") > figure(&plain, "accuracy") {
            assert!(is_shifted, "{shifted} {plain} {found}");
        }
        chosen.push(is_shifted);
    }
    assert!(
        chosen.contains(&true) && chosen.contains(&false),
        "{chosen:?}"
    );
}

#[test]
fn auto_trains_the_new_base_alone_at_the_cost_of_the_whole_choice() {
    let case = Case::fresh();
    case.put_model("new", &case.network.parameters(9));
    let mut spec = case.spec();
    spec["methods"] = json!("auto");
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let candidates = report["candidates"].as_array().expect("a list");
    let winner = candidates
        .iter()
        .find(|c| c["method"] == report["winner"])
        .expect("the winner");
    // Every rung that was tried counts, and the old tuned model beside them.
    let steps = report["ladder"].as_array().expect("a list");
    let sum = |name: &str| {
        steps
            .iter()
            .filter_map(|step| step[name].as_u64())
            .sum::<u64>()
    };
    let spent_on_rungs = sum("sample_gradients") + sum("sample_forwards") / 3;
    assert!(
        spent_on_rungs > 0,
        "selection alone costs something: {winner}"
    );
    let most = spent_on_rungs + 60 + 120;
    let few = &report["baselines"]["few_shot"];
    let spent = few["sample_gradients"].as_u64().expect("a count");
    // Whole epochs of what data there is.
    let samples = few["samples"].as_u64().expect("a count");
    assert!(samples <= 120 && spent <= most, "{spent} of {most}");
    assert!(
        spent_on_rungs < spent + samples,
        "{spent_on_rungs} on rungs, {spent}"
    );
    let validation = |value: &Value| value["validation"]["accuracy"].as_f64().expect("a share");
    let retrain = validation(few) > validation(winner) + 0.01 + 1e-9;
    assert_eq!(
        report["recommendation"]["action"] == "retrain",
        retrain,
        "{report:#}"
    );
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("at the same cost"), "{reasons}");

    // The job's own training then starts from there, where that is better.
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.01});
    let report = read_json(&case.done(&spec).1.join("report.json"));
    let baselines = &report["baselines"];
    assert!(
        baselines["few_shot"]["learning_rate"]
            .as_f64()
            .expect("a rate")
            > 0.0
    );
    assert!(validation(&baselines["fine_tune_only"]) > validation(&baselines["target_before"]));
}

/// One α a layer: where an update fits one layer and not another, no single α does.
#[test]
fn an_alpha_for_each_group_is_taken_where_validation_says_so() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"alpha": "by_group", "timesteps": 3});
    let (_, folder) = case.done(&spec);
    let report = read_json(&folder.join("report.json"));
    let candidate = &report["candidates"][0];
    let found = &candidate["by_group"];
    let groups = found["alphas"].as_array().expect("a list");
    assert_eq!(groups.len(), 3, "one for each of three layers: {found}");
    let [before, after] = ["loss_before", "loss"].map(|name| found[name].as_f64().expect("a loss"));
    assert!(after <= before, "{found}");

    // What is published is what was chosen: with the alphas of the groups where they were taken.
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    let (new, result) = (case.model("new"), read_model(&folder));
    for group in groups {
        let name = format!("{}.weight", group["group"].as_str().expect("a name"));
        let taken = found["taken"] == true;
        let alpha = if taken {
            &group["alpha"]
        } else {
            &candidate["alpha"]
        };
        let moved = new[&name].shifted(
            &old[&name],
            &tuned[&name],
            alpha.as_f64().expect("a number"),
        );
        let apart = result[&name].squared_distance(&moved);
        assert!(apart < 1e-9, "{name}: {apart}");
    }
}
