//! The forms of a trajectory, and the heads.

use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::Failure,
};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_model};

/// Three checkpoints between the old base and the tuned model, the last one included.
fn checkpoints(case: &Case) -> Vec<Checkpoint> {
    let (old, tuned) = (case.model("old"), case.model("tuned"));
    [0.4, 0.7, 1.0]
        .map(|fraction| old.interpolated(&tuned, fraction))
        .into()
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
    (
        bytes(&read_model(&folder)),
        read_json(&folder.join("report.json")),
    )
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
    let last = &report["candidates"][2]["last_step"]["step"];
    assert_eq!(
        last, 3,
        "one step a stored checkpoint: {}",
        report["candidates"][2]
    );
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
    let values = |n: usize| {
        (0..n)
            .map(|i| ((i * 37 % 19) as f32 - 9.0) / 64.0)
            .collect()
    };
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
    tuned.insert(
        "fc1.weight",
        HostTensor::from_f32(vec![out, read], merged.collect()),
    );
    tuned.insert("fc2.bias", case.model("tuned")["fc2.bias"].clone());
    case.put_model("merged", &tuned);
    let adapter: Checkpoint = [
        ("base_model.model.fc1.lora_A.weight".to_owned(), a),
        ("base_model.model.fc1.lora_B.weight".to_owned(), b),
        (
            "base_model.model.fc2.bias".to_owned(),
            tuned["fc2.bias"].clone(),
        ),
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
    assert!(
        matches!(
            failure,
            Failure::Input {
                code: FailureCode::UnexpectedTensor,
                ..
            }
        ),
        "{failure:?}"
    );
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
        assert_eq!(
            head(mode)["fc1.weight"].bytes(),
            transported["fc1.weight"].bytes(),
            "{mode}"
        );
    }
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
        (
            folder.join("permutation.safetensors").exists(),
            report["candidates"][0].clone(),
        )
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
