//! The stage of training after a transfer: what a job may ask of it, and what the report tells.

use serde_json::{Value, json};

use super::case::{Case, number, read_json, read_model};

fn spec(case: &Case, stage: &Value) -> Value {
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec["options"]["alpha"] = json!(1.0);
    spec["fine_tune"] = stage.clone();
    spec
}

#[test]
fn a_stage_without_numbers_is_a_touch_up_and_all_of_it_is_counted() {
    let case = Case::fresh();
    let report = case.report(&spec(&case, &json!({"epochs": 4, "batch_size": 16})));
    let tuned = &report["fine_tune"];
    let touch_up = &tuned["touch_up"];
    assert_eq!(touch_up["labels"], "given");
    assert_eq!(
        (&touch_up["warmup"], &touch_up["pull"]),
        (&json!(0.05), &json!(0.0))
    );

    let trials = touch_up["trials"].as_array().expect("trials");
    let rates: Vec<f64> = trials
        .iter()
        .map(|trial| number(&trial["learning_rate"]))
        .collect();
    assert_eq!(rates.len(), 3);
    let best = trials
        .iter()
        .min_by(|a, b| number(&a["loss"]).total_cmp(&number(&b["loss"])))
        .expect("a trial");
    assert_eq!(touch_up["learning_rate"], best["learning_rate"]);

    let train = report["splits"]["train"].as_u64().expect("samples");
    let gradients = tuned["sample_gradients"].as_u64().expect("gradients");
    let epochs = tuned["epochs"].as_array().expect("epochs").len() as u64;
    // Eight steps of 16 for each trial.
    assert_eq!(gradients, 3 * 128.min(train) + epochs * train);

    let looks = touch_up["looks"].as_array().expect("looks");
    let best_step = touch_up["best_step"]
        .as_u64()
        .expect("a look is the result");
    let at_best = looks
        .iter()
        .find(|look| look["step"] == best_step)
        .expect("that look");
    // Fewer than 512 validation samples are all looked at.
    for (look, end) in [
        ("validation_accuracy", "accuracy"),
        ("validation_loss", "loss"),
    ] {
        // Summed in another order.
        let apart = number(&at_best[look]) - number(&tuned["validation"][end]);
        assert!(
            apart.abs() < 1e-9,
            "{look}: {at_best} and {}",
            tuned["validation"]
        );
    }
}

#[test]
fn a_given_rate_is_plain_training_and_says_nothing_more() {
    let case = Case::fresh();
    let stage = json!({"epochs": 2, "learning_rate": 0.02, "batch_size": 16});
    let plain = case.report(&spec(&case, &stage));
    assert_eq!(plain["fine_tune"]["touch_up"], Value::Null);
    assert_eq!(plain["baselines"]["without_pull"], Value::Null);

    // What is off changes nothing but what is told.
    let off = json!({"epochs": 2, "learning_rate": 0.02, "batch_size": 16, "warmup": 0.0,
        "pull": 0.0, "clip": 1e9, "labels": "given"});
    let clipped = case.report(&spec(&case, &off));
    assert_eq!(clipped["fine_tune"]["epochs"], plain["fine_tune"]["epochs"]);
    assert_eq!(clipped["fine_tune"]["touch_up"]["clip"], json!(1e9));
}

#[test]
fn the_old_models_probabilities_are_learned() {
    let case = Case::fresh();
    let mut stage = json!({"epochs": 8, "learning_rate": 0.05, "batch_size": 16});
    let gold = case.done(&spec(&case, &stage));
    stage["labels"] = json!("old_model");
    let refreshed = case.done(&spec(&case, &stage));
    let [gold, refreshed] = [gold.1, refreshed.1];
    let told = read_json(&refreshed.join("report.json"));
    assert_eq!(told["fine_tune"]["touch_up"]["labels"], "old_model");
    let scores = |folder: &std::path::Path| {
        number(&read_json(&folder.join("report.json"))["fine_tune"]["test"]["accuracy"])
    };
    assert!(
        scores(&refreshed) >= scores(&gold) - 0.1,
        "{} {}",
        scores(&refreshed),
        scores(&gold)
    );

    // The teacher goes forward once a sample and epoch.
    let train = told["splits"]["train"].as_u64().expect("samples");
    let forwards = |folder: &std::path::Path| {
        read_json(&folder.join("report.json"))["cost"]["total"]["sample_forwards"].as_u64()
    };
    let more = forwards(&refreshed).expect("counted") - forwards(&gold).expect("counted");
    assert_eq!(more, 8 * train);
}

#[test]
fn auto_tells_the_same_steps_without_the_pull() {
    let case = Case::fresh();
    let mut spec = spec(&case, &json!({"epochs": 2, "batch_size": 16, "pull": 0.1}));
    spec["methods"] = json!("auto");
    let report = case.report(&spec);
    let without = &report["baselines"]["without_pull"];
    let (tuned, only) = (&report["fine_tune"], &report["baselines"]["fine_tune_only"]);
    assert_eq!(tuned["touch_up"]["pull"], json!(0.1));
    let trials = 3 * 128.min(report["splits"]["train"].as_u64().expect("samples"));
    let gradients = |value: &Value| value["sample_gradients"].as_u64().expect("gradients");
    // At the rate that was chosen: no trials.
    assert!(
        gradients(without) + trials >= gradients(tuned),
        "{report:#}"
    );
    assert!(number(&without["validation"]["accuracy"]) > 0.0);
    assert!(
        only["learning_rate"].is_number(),
        "tried for the new base: {only:#}"
    );
}

#[test]
fn an_update_of_low_rank_leaves_biases() {
    let case = Case::fresh();
    let stage = json!({"epochs": 4, "learning_rate": 0.02, "batch_size": 16, "lora_rank": 2});
    let mut spec = spec(&case, &stage);
    let folder = case.done(&spec).1;
    let tuned = read_model(&folder);
    spec.as_object_mut().expect("an object").remove("fine_tune");
    let before = read_model(&case.done(&spec).1);
    let told = read_json(&folder.join("report.json"));
    assert_eq!(told["fine_tune"]["chosen"], true, "{:#}", told["fine_tune"]);
    for (name, tensor) in before.iter() {
        let same = tuned[name].bytes() == tensor.bytes();
        assert_eq!(same, name.ends_with("bias"), "{name}");
    }
}
