//! The model that a Trainer saves beside its `checkpoint-N/`: the end of the tuning.

use retune::{contract::codes::FailureCode, engine::tensors::Checkpoint};
use serde_json::{Value, json};

use super::merged;
use crate::{
    pipeline::case::{Case, read_json, read_model},
    regressions::refused,
};

/// Checkpoints 10, 20 and 30 of a tuning whose best was the second, which also stands beside them.
fn best_of_three() -> (Case, Value) {
    let case = Case::fresh();
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    let point = |fraction: f64| old.interpolated(&tuned, fraction);
    for (step, fraction) in [(10, 0.5), (20, 1.0), (30, 1.5)] {
        case.put_model(&format!("trainer/checkpoint-{step}"), &point(fraction));
    }
    case.put_model("trainer", &point(1.0));
    case.write("trainer/training_args.bin", b"a pickle that is no model");
    let mut spec = case.spec();
    spec["source"]["trajectory"] = json!(case.uri("trainer/"));
    spec["target"]["base"] = json!(case.uri("old/"));
    spec["methods"] = json!(["identity"]);
    spec["options"] = json!({"alpha": 1.0, "step": "last", "timesteps": 10});
    (case, spec)
}

fn same(found: &Checkpoint, wanted: &Checkpoint) {
    for (name, tensor) in found.iter() {
        assert_eq!(tensor.bytes(), wanted[name].bytes(), "{name}");
    }
}

#[test]
fn the_best_model_beside_the_checkpoints_is_what_is_carried_over() {
    let (case, mut spec) = best_of_three();
    case.plan(&spec).expect("headers tell the same");
    same(&read_model(&case.done(&spec).1), &case.model("tuned"));

    spec["options"]["trajectory"] = json!("stored");
    let (_, folder) = case.done(&spec);
    same(&read_model(&folder), &case.model("tuned"));
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["candidates"][0]["last_step"]["step"], 2);
    assert!(
        report["warnings"]
            .to_string()
            .contains("1 checkpoints after"),
        "{report:#}"
    );

    // One that is none of the checkpoints comes after all of them.
    let own = case.model("old").interpolated(&case.model("tuned"), 1.25);
    case.put_model("trainer", &own);
    let (_, folder) = case.done(&spec);
    same(&read_model(&folder), &own);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["candidates"][0]["last_step"]["step"], 4);
}

#[test]
fn without_a_model_beside_them_the_last_checkpoint_is_the_end() {
    let (case, spec) = best_of_three();
    std::fs::remove_file(case.path("trainer/model.safetensors")).expect("our own file");
    same(
        &read_model(&case.done(&spec).1),
        &case.model("trainer/checkpoint-30"),
    );
}

#[test]
fn a_model_beside_them_that_cannot_be_read_is_not_passed_over() {
    let (case, spec) = best_of_three();
    let weights = case.path("trainer/model.safetensors");
    std::fs::rename(&weights, weights.with_file_name("pytorch_model.bin")).expect("our own file");
    assert_eq!(
        refused(&case, &spec),
        (FailureCode::PickleRefused, "/source/trajectory".into())
    );
}

#[test]
fn the_best_adapter_beside_the_checkpoints_is_what_is_carried_over() {
    let (case, mut spec) = merged::case("llama", "patterns");
    let wanted = std::fs::read(case.done(&spec).1.join("model.safetensors")).expect("a model");
    let settings = std::fs::read(case.path("adapter/adapter_config.json")).expect("our own file");
    let best = std::fs::read(case.path("adapter/adapter_model.safetensors")).expect("our own file");
    let (other, _) = merged::case("llama", "orthogonal");
    for (from, step) in [(&case, 10), (&other, 20)] {
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let bytes = std::fs::read(from.path(&format!("adapter/{name}"))).expect("our own file");
            case.write(&format!("trainer/checkpoint-{step}/{name}"), bytes);
        }
    }
    case.write("trainer/adapter_config.json", settings);
    case.write("trainer/adapter_model.safetensors", best);
    spec["source"]["trajectory"] = json!(case.uri("trainer/"));
    let found = std::fs::read(case.done(&spec).1.join("model.safetensors")).expect("a model");
    assert!(found == wanted);
}
