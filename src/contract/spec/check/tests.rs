use serde_json::json;

use super::*;
use crate::contract::{
    codes::FailureCode,
    spec::{Alpha, FineTune, Labels, LearningRate, Methods},
};

fn minimal() -> Value {
    json!({
        "source": {"base": "file:///m/a", "trajectory": "file:///m/t"},
        "target": {"base": "file:///m/b"},
        "output": "file:///m/out"
    })
}

fn faults(change: impl FnOnce(&mut Value)) -> Vec<(String, FailureCode)> {
    let mut value = minimal();
    change(&mut value);
    let error = Spec::from_json(&value).expect_err("the specification is faulty");
    error
        .faults
        .into_iter()
        .map(|f| (f.pointer, error.code))
        .collect()
}

#[test]
fn a_minimal_specification_takes_the_documented_defaults() {
    let spec = Spec::from_json(&minimal()).unwrap();
    assert_eq!(spec.methods, Methods::Auto);
    assert_eq!((spec.options.timesteps, spec.options.batch_size), (10, 128));
    assert_eq!(spec.options.alpha, Alpha::Search);
    let back = Spec::from_json(&serde_json::to_value(&spec).unwrap()).unwrap();
    assert_eq!(back, spec);
    // The training too, without which the oracle needs no word of it.
    let mut trained = minimal();
    trained["data"] = json!({"train": "file:///d/train.safetensors"});
    trained["methods"] = json!(["oracle"]);
    assert!(Spec::from_json(&trained).unwrap().fine_tune.is_none());
    trained["fine_tune"] = json!({});
    let budget = Spec::from_json(&trained).unwrap().fine_tune.unwrap();
    assert_eq!(
        (budget.epochs, budget.learning_rate),
        (1, LearningRate::Auto)
    );
    // What is not given is not written either.
    let written = serde_json::to_value(&budget).unwrap();
    assert_eq!(
        written,
        json!({"epochs": 1, "optimizer": "sgd", "learning_rate": "auto", "batch_size": 128})
    );
    trained["fine_tune"] = json!({"learning_rate": 0.02, "labels": "old_model", "warmup": 0.0,
        "clip": null, "pull": 0.1, "looks_per_epoch": 4, "patience": 6, "lora_rank": 8});
    let budget = Spec::from_json(&trained).unwrap().fine_tune.unwrap();
    assert_eq!(budget.learning_rate, LearningRate::Fixed(0.02));
    assert_eq!((budget.labels, budget.clip), (Labels::OldModel, None));
    let again: FineTune = serde_json::from_value(serde_json::to_value(&budget).unwrap()).unwrap();
    assert_eq!(again, budget);
}

#[test]
fn a_callback_is_the_services() {
    let mut value = minimal();
    assert!(Spec::from_json(&value).unwrap().check_local().is_ok());
    value["callback"] = json!({"url": "https://example.com/"});
    let error = Spec::from_json(&value).unwrap().check_local().unwrap_err();
    assert_eq!(
        (error.code, &*error.faults[0].pointer),
        (FailureCode::NotImplemented, "/callback")
    );
}

/// One invalid value, at this pointer.
fn invalid(pointer: &str) -> Vec<(String, FailureCode)> {
    vec![(pointer.to_owned(), FailureCode::InvalidSpec)]
}

#[test]
fn each_fault_is_named_by_its_pointer() {
    assert_eq!(
        faults(|v| v["options"] = json!({"timestep": 3})),
        invalid("/options/timestep")
    );
    assert_eq!(
        faults(|v| v["options"] = json!({"timesteps": 0})),
        invalid("/options/timesteps")
    );
    assert_eq!(
        faults(|v| v["options"] = json!({"update": {"format": "lora", "rank": 0}})),
        invalid("/options/update/rank")
    );
    assert_eq!(
        faults(|v| v["options"] = json!({"update": {"format": "lore", "rank": 1}})),
        invalid("/options/update/format")
    );
    assert_eq!(
        faults(|v| v["options"] = json!({"weight_anchor": -1})),
        invalid("/options/weight_anchor")
    );
    assert_eq!(
        faults(|v| v["methods"] = json!(["fgmt"])),
        invalid("/methods/0")
    );
    assert_eq!(
        faults(|v| v["options"] = json!({"alpha": "by_group"})),
        invalid("/options/alpha")
    );
    assert_eq!(
        faults(|v| v["methods"] = json!(["bico"])),
        invalid("/methods/0")
    );
    let masked = |v: &mut Value| {
        v["data"] = json!({"train": "file:///m/train"});
        v["methods"] = json!(["gradfix"]);
        v["options"] = json!({"gradfix_on": "oracle"});
    };
    assert_eq!(faults(masked), invalid("/options/gradfix_on"));
    assert_eq!(faults(|v| v["output"] = json!("")), invalid("/output"));
    assert_eq!(
        faults(|v| v["metadata"] = json!({"a/b": "x\u{0}"})),
        invalid("/metadata/a~1b")
    );
    assert_eq!(
        faults(|v| v["gate"] = json!({"min": 0.5})),
        invalid("/gate")
    );
    let gate = |bound: f64| {
        faults(|v| {
            v["data"] = json!({"test": "file:///m/test"});
            v["gate"] = json!({"max_negative_flips": bound});
        })
    };
    assert_eq!(gate(1.5), invalid("/gate/max_negative_flips"));
    assert_eq!(gate(-0.1), invalid("/gate/max_negative_flips"));
    assert_eq!(
        faults(|v| v["callback"] = json!({"url": ""})),
        invalid("/callback/url")
    );
}

#[test]
fn a_fault_of_the_selection_is_named_by_its_pointer() {
    for (name, value) in [
        ("samples", json!(0)),
        ("samples", json!(1.5)),
        ("confidence", json!(0.5)),
        ("confidence", json!(1)),
        ("margin", json!(-0.01)),
        ("block", json!(32)),
    ] {
        let selection = |v: &mut Value| v["options"] = json!({"selection": {name: value}});
        let pointer = format!("/options/selection/{name}");
        assert_eq!(faults(selection), invalid(&pointer), "{name}");
    }
}

#[test]
fn a_fault_of_the_fine_tune_is_named_by_its_pointer() {
    for stop_at in [-0.1, 1.5, 90.0] {
        let trained = |v: &mut Value| {
            v["data"] = json!({"train": "file:///m/train"});
            v["fine_tune"] = json!({"stop_at": stop_at});
        };
        assert_eq!(faults(trained), invalid("/fine_tune/stop_at"));
    }
    for (name, value) in [
        ("learning_rate", json!(0.0)),
        ("learning_rate", json!("fast")),
        ("labels", json!("soft")),
        ("warmup", json!(1.0)),
        ("warmup", json!(-0.1)),
        ("clip", json!(0.0)),
        ("pull", json!(-1.0)),
        ("looks_per_epoch", json!(0)),
        ("patience", json!(0)),
        ("lora_rank", json!(5000)),
    ] {
        let trained = |v: &mut Value| {
            v["data"] = json!({"train": "file:///m/train"});
            v["fine_tune"] = json!({ name: value });
        };
        assert_eq!(faults(trained), invalid(&format!("/fine_tune/{name}")));
    }
    assert_eq!(
        faults(|v| v["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.1})),
        invalid("/fine_tune")
    );
}
