//! Where names are not enough: strangers, tensors that do not agree, packed weights, known families.

use retune::{
    contract::{
        codes::FailureCode,
        outcome::{Recommendation, Verdict},
    },
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::json;

use super::{
    super::case::{names_in, read_json, read_tensors},
    PROJECTION, case, config, decoder, put,
};

fn stranger() -> Checkpoint {
    let turned = |(name, tensor): (&str, &HostTensor)| {
        let flip = |(i, value): (usize, &f32)| if i % 2 == 0 { *value } else { -value };
        let values = tensor.f32().iter().enumerate().map(flip).collect();
        (
            name.to_owned(),
            HostTensor::from_f32(tensor.shape().to_vec(), values),
        )
    };
    decoder(0.0).iter().map(turned).collect()
}

#[test]
fn between_strangers_the_old_model_is_kept() {
    let (case, mut spec) = case();
    put(&case, "new", &config(), &stranger());
    let (code, pointer, text) = case.refused(&spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::IncompatibleModels, "/target/base")
    );
    assert!(
        text.contains("cosine") && text.contains("keep the old model"),
        "{text}"
    );

    spec["methods"] = json!("auto");
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert_eq!(outcome.recommendation, Some(Recommendation::KeepOld));
    assert!(!names_in(&folder).contains(&"model.safetensors".to_owned()));
    let report = read_json(&folder.join("report.json"));
    let reasons = report["recommendation"]["reasons"].to_string();
    assert!(reasons.contains("strangers"), "{reasons}");
    assert_eq!(
        report["decision"]["next_step"],
        "Keep the old model on its old base."
    );
}

#[test]
fn auto_is_identity_where_the_bases_are_of_one_lineage() {
    let (case, mut spec) = case();
    spec["methods"] = json!("auto");
    let plan = case.plan(&spec).expect("a sound job");
    assert_eq!(
        plan["methods"].as_array().map(Vec::len),
        Some(1),
        "{plan:#}"
    );
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Published);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(
        found[PROJECTION].bytes(),
        decoder(0.265_625)[PROJECTION].bytes()
    );
    let report = read_json(&folder.join("report.json"));
    let ladder = report["ladder"].as_array().expect("rungs");
    assert_eq!(
        (&ladder[0]["method"], &ladder[0]["taken"]),
        (&json!("identity"), &json!(true))
    );
    assert!(ladder[1..].iter().all(|step| step["taken"] == false));
    // Its new base is its old one: the tuned model, bit for bit.
    spec["target"]["base"] = json!(case.uri("old/"));
    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.recommendation, Some(Recommendation::Copy));
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(found[PROJECTION].bytes(), decoder(0.25)[PROJECTION].bytes());
}

#[test]
fn what_needs_the_network_is_refused_with_the_ways_out() {
    let (case, mut spec) = case();
    case.write("train.safetensors", "never read");
    for change in [
        json!({"methods": ["weight_matching"]}),
        json!({"data": {"train": case.uri("train.safetensors")}}),
        json!({"data": {"train": case.uri("train.safetensors")}, "methods": "auto",
            "gate": {"metric": "accuracy", "min": 0.5}}),
        json!({"data": {"train": case.uri("train.safetensors")}, "fine_tune": {"epochs": 1}}),
    ] {
        for (name, value) in change.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        let (code, pointer, text) = case.refused(&spec);
        assert_eq!(
            (code, pointer.as_str()),
            (FailureCode::UnknownArchitecture, "/methods"),
            "{change}"
        );
        assert!(
            text.contains("Without its network only `identity` can be carried"),
            "{text}"
        );
        assert!(
            text.contains("graph_of.py") && text.contains("of_next_year"),
            "{text}"
        );
        let planned = case
            .plan(&spec)
            .expect_err("plan says the same")
            .to_string();
        assert_eq!(planned, text);
    }
}

#[test]
fn tensors_that_do_not_agree_are_named() {
    let (case, spec) = case();
    let mut wide = decoder(0.015_625);
    wide.insert(PROJECTION, HostTensor::from_f32(vec![8, 4], vec![0.5; 32]));
    put(&case, "new", &config(), &wide);
    let (code, _, text) = case.refused(&spec);
    assert_eq!(code, FailureCode::IncompatibleModels);
    assert!(
        text.contains(PROJECTION) && text.contains("[8, 4]"),
        "{text}"
    );

    let mut lacking = decoder(0.25);
    lacking.remove("model.layers.0.self_attn.q_norm.weight");
    put(&case, "new", &config(), &decoder(0.015_625));
    put(&case, "tuned", &config(), &lacking);
    let (code, _, text) = case.refused(&spec);
    assert_eq!(code, FailureCode::IncompatibleModels);
    assert!(text.contains("q_norm.weight is missing"), "{text}");
}

#[test]
fn packed_weights_are_not_added() {
    let (case, spec) = case();
    let mut packed = config();
    packed["quantization_config"] = json!({"quant_method": "gptq", "bits": 4});
    put(&case, "new", &packed, &decoder(0.015_625));
    let (code, pointer, text) = case.refused(&spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::WrongDtype, "/target/base")
    );
    assert!(
        text.contains("quantization_config") && text.contains("packed"),
        "{text}"
    );
}

/// Llama with a key that nobody knows: the family is known, and what the key changes is not.
#[test]
fn a_known_family_is_not_carried_by_names() {
    let (case, spec) = case();
    let mut llama = config();
    llama["model_type"] = json!("llama");
    llama["new_key"] = json!(1);
    for name in ["old", "tuned", "new"] {
        put(&case, name, &llama, &decoder(0.0));
    }
    let (code, _, text) = case.refused(&spec);
    assert_eq!(code, FailureCode::MalformedConfig);
    assert!(
        text.contains("new_key") && text.contains("tensors' names"),
        "{text}"
    );
}
