//! Models of architectures that no builder knows: carried by the names of their tensors.

use std::fs;

use retune::{
    artifacts::tensors,
    contract::{
        codes::FailureCode,
        outcome::{Recommendation, Verdict},
    },
    engine::tensors::{Checkpoint, DType, HostTensor},
};
use serde_json::{Value, json};

use super::case::{Case, names_in, read_json, read_tensors};
use crate::engine::networks::mlp;

const PROJECTION: &str = "model.layers.0.self_attn.q_proj.weight";

/// A block of next year's decoder: a norm of queries that no builder reads, a buffer, and a tied embedding.
/// Values are multiples of 1/64 about `shift`, so that sums of a few are exact in f32.
fn decoder(shift: f32) -> Checkpoint {
    let tensor = |shape: &[usize], step: usize| {
        let count: usize = shape.iter().product();
        let value = |i: usize| ((i * step) % 23) as f32 / 16.0 - 0.5 + shift;
        HostTensor::from_f32(shape.to_vec(), (0..count).map(value).collect())
    };
    [
        ("model.embed_tokens.weight", tensor(&[10, 4], 7)),
        (PROJECTION, tensor(&[6, 4], 5)),
        ("model.layers.0.self_attn.q_norm.weight", tensor(&[2], 3)),
        ("model.norm.weight", tensor(&[4], 11)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into_iter()
    .collect()
}

fn config() -> Value {
    json!({"model_type": "of_next_year", "architectures": ["NextYearForCausalLM"], "vocab_size": 10,
        "rope_theta": 10000.0})
}

fn put(case: &Case, name: &str, config: &Value, model: &Checkpoint) {
    case.write(&format!("{name}/config.json"), format!("{config:#}\n"));
    case.put_weights(name, model);
}

/// `old/`, `tuned/` and `new/` of the same lineage, and a job that carries the one to the other.
fn case() -> (Case, Value) {
    let case = Case::empty(mlp(&[2, 2, 2]));
    for (name, shift) in [("old", 0.0), ("tuned", 0.25), ("new", 0.015_625)] {
        put(&case, name, &config(), &decoder(shift));
    }
    let spec = spec(&case);
    (case, spec)
}

fn spec(case: &Case) -> Value {
    json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
        "target": {"base": case.uri("new/")},
        "methods": ["identity"],
        "output": case.uri("out/"),
    })
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

#[test]
fn the_update_is_added_to_tensors_of_the_same_names() {
    let (case, spec) = case();
    let plan = case.plan(&spec).expect("headers are enough");
    assert_eq!(
        (&plan["network"], &plan["groups"]),
        (&json!("by_names"), &json!(0))
    );

    let (outcome, folder) = case.done(&spec);
    assert_eq!(outcome.verdict, Verdict::Published);
    // new + (tuned − old): 1/64 + 1/4 above the old base, exactly.
    let (found, expected) = (
        read_tensors(&folder.join("model.safetensors")),
        decoder(0.265_625),
    );
    assert_eq!(found.signature(), expected.signature());
    for (name, tensor) in expected.iter() {
        assert_eq!(found[name].bytes(), tensor.bytes(), "{name}");
    }
    // What the library reads is untouched, and there is no π to tell of.
    let bytes = |folder: &std::path::Path| fs::read(folder.join("config.json")).expect("a file");
    assert_eq!(bytes(&folder), bytes(&case.path("new")));
    assert!(!names_in(&folder).contains(&"permutation.safetensors".to_owned()));

    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["network"], "by_names");
    assert!(
        warnings(&report).contains("no builder knows this architecture"),
        "{report:#}"
    );
    assert!(
        report["diagnosis"]["base_cosines"]["matrices"]
            .as_f64()
            .unwrap()
            > 0.9
    );
}

/// 1 + 1/256 and 1 + 3/256 lie between two neighbours of bf16: the even one is taken, once.
#[test]
fn sums_are_rounded_once_to_the_new_bases_dtype() {
    let case = Case::empty(mlp(&[2, 2, 2]));
    let model = |dtype: DType, values: [f32; 2]| -> Checkpoint {
        let tensor = HostTensor::from_f32_as(dtype, vec![1, 2], values.to_vec());
        [("a.weight".to_owned(), tensor)].into_iter().collect()
    };
    put(&case, "old", &config(), &model(DType::F32, [0.5, 0.5]));
    put(
        &case,
        "tuned",
        &config(),
        &model(DType::F32, [0.503_906_25, 0.503_906_25]),
    );
    put(
        &case,
        "new",
        &config(),
        &model(DType::BF16, [1.0, 1.007_812_5]),
    );
    let (_, folder) = case.done(&spec(&case));
    let found = &read_tensors(&folder.join("model.safetensors"))["a.weight"];
    assert_eq!(found.dtype(), DType::BF16);
    assert_eq!(*found.f32(), [1.0, 1.015_625]);
}

/// A running mean moves, a running variance is scaled, and what counts or masks stays the new base's.
#[test]
fn statistics_and_whole_numbers_are_no_weights() {
    let (case, spec) = case();
    for (name, mean, variance, batches) in [
        ("old", 1.0, 2.0, 7),
        ("tuned", 1.5, 3.0, 9),
        ("new", 2.0, 4.0, 8),
    ] {
        let mut model = case.model(name);
        model.insert("bn.running_mean", HostTensor::from_f32(vec![1], vec![mean]));
        model.insert(
            "bn.running_var",
            HostTensor::from_f32(vec![1], vec![variance]),
        );
        model.insert(
            "bn.num_batches_tracked",
            HostTensor::from_i64(vec![], &[batches]),
        );
        model.insert("position_ids", HostTensor::from_i64(vec![1, 2], &[0, 1]));
        case.put_weights(name, &model);
    }
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(
        (
            found["bn.running_mean"].f32()[0],
            found["bn.running_var"].f32()[0]
        ),
        (2.5, 6.0)
    );
    assert_eq!(found["bn.num_batches_tracked"].f32()[0], 8.0);

    let mut tuned = case.model("tuned");
    tuned.insert("position_ids", HostTensor::from_i64(vec![1, 2], &[0, 2]));
    case.put_weights("tuned", &tuned);
    fs::remove_dir_all(case.path("out")).expect("our own folder");
    let (code, pointer, text) = case.refused(&spec);
    assert_eq!(
        (code, pointer.as_str()),
        (FailureCode::IncompatibleModels, "/source/trajectory")
    );
    assert!(text.contains("position_ids"), "{text}");
}

#[test]
fn a_classifier_on_a_body_that_was_saved_alone() {
    let (case, spec) = case();
    let bare = |model: &Checkpoint| -> Checkpoint {
        let plain = |name: &str| name.trim_start_matches("model.").to_owned();
        model
            .iter()
            .map(|(name, tensor)| (plain(name), tensor.clone()))
            .collect()
    };
    put(
        &case,
        "new",
        &json!({"model_type": "of_next_year"}),
        &bare(&decoder(0.015_625)),
    );
    let mut tuned = decoder(0.25);
    let score = HostTensor::from_f32(vec![3, 4], (0..12).map(|i| i as f32).collect());
    tuned.insert("score.weight", score.clone());
    let mut task = config();
    task["architectures"] = json!(["NextYearForSequenceClassification"]);
    task["id2label"] = json!({"0": "a", "1": "b", "2": "c"});
    put(&case, "tuned", &task, &tuned);

    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    let mut expected = decoder(0.265_625);
    expected.insert("score.weight", score);
    assert_eq!(found.signature(), expected.signature());
    assert_eq!(found[PROJECTION].bytes(), expected[PROJECTION].bytes());
    assert_eq!(
        found["score.weight"].bytes(),
        expected["score.weight"].bytes()
    );
    let config = read_json(&folder.join("config.json"));
    assert_eq!(
        config["architectures"][0],
        "NextYearForSequenceClassification"
    );
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"]["adopted"], json!(["score.weight"]));
}

/// A sentence embedder is a body that was tuned alone: the new base's head of pre-training goes.
#[test]
fn a_body_that_was_tuned_alone_stays_one() {
    let (case, spec) = case();
    let plain = |name: &str| name.trim_start_matches("model.").to_owned();
    let tuned: Checkpoint = decoder(0.25)
        .iter()
        .map(|(name, tensor)| (plain(name), tensor.clone()))
        .collect();
    put(
        &case,
        "tuned",
        &json!({"model_type": "of_next_year", "architectures": ["NextYearModel"]}),
        &tuned,
    );
    for name in ["old", "new"] {
        let mut model = case.model(name);
        model.insert(
            "decoder.bias",
            HostTensor::from_f32(vec![10], vec![1.0; 10]),
        );
        case.put_weights(name, &model);
    }
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(found.signature(), tuned.signature());
    let projection = plain(PROJECTION);
    assert_eq!(
        found[&projection].bytes(),
        decoder(0.265_625)[PROJECTION].bytes()
    );
    assert_eq!(
        read_json(&folder.join("config.json"))["architectures"][0],
        "NextYearModel"
    );
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"]["left_out"], json!(["decoder.bias"]));
}

/// An output matrix of the tuning's own, where the bases have their embedding in its place.
#[test]
fn an_output_matrix_that_was_untied_is_carried_by_the_embedding() {
    let (case, spec) = case();
    let mut tuned = decoder(0.25);
    tuned.insert(
        "lm_head.weight",
        decoder(0.5)["model.embed_tokens.weight"].clone(),
    );
    let mut untied = config();
    untied["tie_word_embeddings"] = json!(false);
    put(&case, "tuned", &untied, &tuned);
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    // The new embedding, and what the tuning added to its own: 1/64 + 1/2.
    let expected = &decoder(0.515_625)["model.embed_tokens.weight"];
    assert_eq!(found["lm_head.weight"].bytes(), expected.bytes());
    assert_eq!(
        read_json(&folder.join("config.json"))["tie_word_embeddings"],
        false
    );
}

/// The files of diffusers have another name, and so have those of a result.
#[test]
fn a_folder_of_diffusers_gives_one_of_diffusers() {
    let case = Case::empty(mlp(&[2, 2, 2]));
    let config = json!({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.42.0"});
    let kernel = |shift: f32| -> Checkpoint {
        let values = (0..36).map(|i| (i % 5) as f32 / 4.0 + shift).collect();
        [(
            "conv_in.weight".to_owned(),
            HostTensor::from_f32(vec![2, 2, 3, 3], values),
        )]
        .into_iter()
        .collect()
    };
    for (name, shift) in [("old", 0.0), ("tuned", 0.5), ("new", 0.125)] {
        case.write(&format!("{name}/config.json"), config.to_string());
        let file = format!("{name}/diffusion_pytorch_model.safetensors");
        case.write(&file, tensors::to_bytes(&kernel(shift)));
    }
    let (_, folder) = case.done(&spec(&case));
    assert!(!names_in(&folder).contains(&"model.safetensors".to_owned()));
    let found = read_tensors(&folder.join("diffusion_pytorch_model.safetensors"));
    assert_eq!(
        found["conv_in.weight"].bytes(),
        kernel(0.625)["conv_in.weight"].bytes()
    );

    case.write("pipeline/model_index.json", "{}");
    let mut spec = spec(&case);
    spec["target"]["base"] = json!(case.uri("pipeline/"));
    let Err(failure) = case.run(&spec) else {
        panic!("it is no model")
    };
    assert!(failure.to_string().contains("unet/"), "{failure}");
}

/// `W + s · B A` needs no network: rank 1, s = 2, so that every entry of the projection moves by 2 · 3 · 1/8.
#[test]
fn an_adapter_needs_no_network() {
    let (case, mut spec) = case();
    let settings = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 2, "task_type": "CAUSAL_LM",
        "target_modules": ["q_proj"]});
    case.write("lora/adapter_config.json", settings.to_string());
    let stem = format!(
        "base_model.model.{}",
        PROJECTION.trim_end_matches(".weight")
    );
    let adapter: Checkpoint = [
        (
            format!("{stem}.lora_A.weight"),
            HostTensor::from_f32(vec![1, 4], vec![0.125; 4]),
        ),
        (
            format!("{stem}.lora_B.weight"),
            HostTensor::from_f32(vec![6, 1], vec![3.0; 6]),
        ),
    ]
    .into_iter()
    .collect();
    case.write(
        "lora/adapter_model.safetensors",
        tensors::to_bytes(&adapter),
    );
    spec["source"]["trajectory"] = json!(case.uri("lora/"));
    case.plan(&spec).expect("headers are enough");

    let (_, folder) = case.done(&spec);
    let (found, new) = (
        read_tensors(&folder.join("model.safetensors")),
        case.model("new"),
    );
    assert_eq!(
        found["model.norm.weight"].bytes(),
        new["model.norm.weight"].bytes()
    );
    for (value, base) in found[PROJECTION]
        .f32()
        .iter()
        .zip(new[PROJECTION].f32().iter())
    {
        assert_eq!(value.to_bits(), (base + 0.75).to_bits());
    }
}

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
