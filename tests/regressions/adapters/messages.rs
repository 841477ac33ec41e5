//! Refusals that say where the fault is and how to mend it.

use std::fs;

use retune::{contract::codes::FailureCode, engine::tensors::HostTensor};
use serde_json::{Value, json};

use super::merged;
use crate::{
    pipeline::case::{Case, read_json},
    regressions::refused,
    support::retune,
};

/// The code, the pointer and the text of a refusal, which plan and run share.
fn told(case: &Case, spec: &Value) -> (FailureCode, String, String) {
    let (code, pointer) = refused(case, spec);
    let text = case.plan(spec).expect_err("it is refused").to_string();
    (code, pointer, text)
}

#[test]
fn an_architecture_that_is_not_known_has_ways_out() {
    let (case, spec) = merged::case("llama", "patterns");
    let mut config = read_json(&case.path("base/config.json"));
    config["model_type"] = json!("of_next_year");
    case.write("base/config.json", config.to_string());
    let mut spec = spec;
    spec["methods"] = json!(["weight_matching"]);
    let (code, pointer, text) = told(&case, &spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::UnknownArchitecture, "/methods")
    );
    assert!(
        text.contains("of_next_year") && text.contains("\"model_type\": \"graph\""),
        "{text}"
    );
}

/// A Qwen3 called llama: what is left over is what it needs.
#[test]
fn a_tensor_that_the_model_needs_is_not_to_be_removed() {
    let (case, spec) = merged::case("llama", "patterns");
    let mut model = case.model("base");
    let norm = HostTensor::from_f32(vec![4], vec![1.0; 4]);
    model.insert("model.layers.0.self_attn.k_norm.weight", norm);
    case.put_weights("base", &model);
    let (code, _, text) = told(&case, &spec);
    assert_eq!(code, FailureCode::UnexpectedTensor);
    assert!(
        text.contains("k_norm") && text.contains("names another network"),
        "{text}"
    );
}

#[test]
fn a_tuned_head_that_is_not_supported_is_named() {
    let (case, mut spec) = merged::case("bert", "lora_only");
    let mut config = read_json(&case.path("base/config.json"));
    let mut model = case.model("base");
    for name in ["classifier.weight", "classifier.bias"] {
        model.remove(name);
    }
    config["architectures"] = json!(["BertModel"]);
    case.write("bare/config.json", config.to_string());
    case.put_weights("bare", &model);
    config["architectures"] = json!(["BertForMultipleChoice"]);
    case.write("tuned/config.json", config.to_string());
    case.put_weights("tuned", &case.model("base"));
    spec["source"] = json!({"base": case.uri("bare/"), "trajectory": case.uri("tuned/")});
    spec["target"]["base"] = json!(case.uri("bare/"));
    spec["methods"] = json!(["weight_matching"]);
    let (code, pointer, text) = told(&case, &spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::UnknownArchitecture, "/methods")
    );
    assert!(text.contains("BertForMultipleChoice"), "{text}");
}

#[test]
fn a_pointer_of_git_lfs_is_called_one() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for file in [
        "new/model.safetensors",
        "new/config.json",
        "tuned/model.safetensors",
    ] {
        let case = Case::fresh();
        case.write(file, pointer);
        let (code, _, text) = told(&case, &case.spec());
        assert_eq!(code, FailureCode::GitLfsPointer, "{file}");
        assert!(text.contains("git lfs pull"), "{text}");
    }
}

/// A path is no URI: what means something in one is a letter in the other.
#[test]
fn a_plain_path_may_hold_any_letter() {
    let case = Case::fresh();
    let odd = case.folder.path().join("100% of #1?");
    fs::rename(case.path(""), &odd).expect("our own folder");
    fs::create_dir(odd.join("trainer")).expect("our own folder");
    fs::rename(odd.join("tuned"), odd.join("trainer/checkpoint-3")).expect("our own folder");
    let path = |name: &str| odd.join(name).to_str().expect("UTF-8").to_owned();
    let spec = json!({
        "source": {"base": path("old"), "trajectory": path("trainer")},
        "target": {"base": path("new")},
        "data": {"train": path("train.safetensors"), "test": path("test.safetensors")},
        "methods": ["weight_matching"],
        "output": path("out"),
    });
    let file = odd.join("spec.json");
    fs::write(&file, spec.to_string()).expect("our own file");
    for command in ["plan", "transfer"] {
        let ran = retune().arg(command).arg(&file).output().expect("it runs");
        assert!(
            ran.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        if command == "transfer" {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(
                said.contains("weight_matching"),
                "the table of candidates: {said}"
            );
        }
    }
    let results = fs::read_dir(odd.join("out")).expect("a folder").count();
    assert_eq!(results, 1);
}
