//! Models whose parts were saved or tuned alone: bodies, heads, untied matrices, pipelines, adapters.

use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::json;

use super::{
    super::case::{Case, names_in, read_json, read_tensors},
    PROJECTION, case, config, decoder, put, spec,
};
use crate::engine::networks::mlp;

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
