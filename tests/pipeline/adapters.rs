//! LoRA adapters of Hugging Face's tasks: with the head of a classifier that the base lacks, and of a
//! language model without any.

use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors, refusal};
use crate::engine::networks::Network;

pub(super) const WIDTH: usize = 16;
pub(super) const CLASSES: usize = 3;
const LENGTH: usize = 6;
const WORDS: usize = 40;
const LAYER: &str = "model.layers.0.self_attn.q_proj";

/// A Llama of one block that predicts the next of forty words.
fn llama() -> (Value, Network) {
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": false,
        "vocab_size": WORDS,
    });
    let block = |name: &str, shape: [usize; 2]| (format!("model.layers.0.{name}"), shape.to_vec());
    let norm = |name: &str| (format!("{name}.weight"), vec![WIDTH]);
    let shapes = [
        ("model.embed_tokens.weight".to_owned(), vec![WORDS, WIDTH]),
        ("lm_head.weight".to_owned(), vec![WORDS, WIDTH]),
        block("self_attn.q_proj.weight", [WIDTH, WIDTH]),
        block("self_attn.k_proj.weight", [WIDTH / 2, WIDTH]),
        block("self_attn.v_proj.weight", [WIDTH / 2, WIDTH]),
        block("self_attn.o_proj.weight", [WIDTH, WIDTH]),
        block("mlp.gate_proj.weight", [2 * WIDTH, WIDTH]),
        block("mlp.up_proj.weight", [2 * WIDTH, WIDTH]),
        block("mlp.down_proj.weight", [WIDTH, 2 * WIDTH]),
        norm("model.layers.0.input_layernorm"),
        norm("model.layers.0.post_attention_layernorm"),
        norm("model.norm"),
    ];
    let network = Network::of(&config, shapes);
    (config, network)
}

pub(super) fn values(shape: &[usize], step: usize) -> HostTensor {
    let value = |i: usize| ((i * step % 19) as f32 - 9.0) / 64.0;
    HostTensor::from_f32(
        shape.to_vec(),
        (0..shape.iter().product()).map(value).collect(),
    )
}

/// `old/` and `new/`, labelled sentences, and an adapter in `lora/` of which the product is returned.
pub(super) fn case(task: &str, whole: &[(&str, HostTensor)]) -> (Case, Value, HostTensor) {
    let (config, network) = llama();
    let case = Case::empty(network);
    for (name, seed) in [("old", 1), ("new", 2)] {
        case.write(&format!("{name}/config.json"), config.to_string());
        case.put_weights(name, &case.network.parameters(seed));
    }
    let (a, b) = (values(&[2, WIDTH], 37), values(&[WIDTH, 2], 5));
    let (first, second) = (a.f32().into_owned(), b.f32().into_owned());
    let product = (0..WIDTH * WIDTH).map(|at| {
        let (o, i) = (at / WIDTH, at % WIDTH);
        2.0 * (0..2)
            .map(|k| second[2 * o + k] * first[k * WIDTH + i])
            .sum::<f32>()
    });
    let product = HostTensor::from_f32(vec![WIDTH, WIDTH], product.collect());
    let mut adapter: Checkpoint = whole
        .iter()
        .map(|(name, t)| (format!("base_model.model.{name}"), t.clone()))
        .collect();
    adapter.insert(format!("base_model.model.{LAYER}.lora_A.weight"), a);
    adapter.insert(format!("base_model.model.{LAYER}.lora_B.weight"), b);
    case.write(
        "lora/adapter_model.safetensors",
        tensors::to_bytes(&adapter),
    );
    put_settings(&case, task);
    let spec = json!({
        "source": {"base": case.uri("old/"), "trajectory": case.uri("lora/")},
        "target": {"base": case.uri("new/")},
        "methods": ["weight_matching"],
        "options": {"timesteps": 2},
        "output": case.uri("out/"),
    });
    (case, spec, product)
}

fn put_settings(case: &Case, task: &str) {
    let settings = json!({"peft_type": "LORA", "task_type": task, "r": 2, "lora_alpha": 4,
        "target_modules": ["q_proj"], "modules_to_save": ["classifier", "score"]});
    case.write("lora/adapter_config.json", settings.to_string());
}

pub(super) fn sentences(case: &Case, name: &str, count: usize) {
    let ids: Vec<i64> = (0..count * LENGTH).map(|i| (i * i % 37) as i64).collect();
    let labels: Vec<i64> = (0..count).map(|i| (i % CLASSES) as i64).collect();
    let data: Checkpoint = [
        (
            "input_ids".to_owned(),
            HostTensor::from_i64(vec![count, LENGTH], &ids),
        ),
        (
            "labels".to_owned(),
            HostTensor::from_i64(vec![count], &labels),
        ),
    ]
    .into_iter()
    .collect();
    case.write(name, tensors::to_bytes(&data));
}

#[test]
fn a_classifiers_adapter_on_a_language_model_brings_its_head() {
    let score = values(&[CLASSES, WIDTH], 11);
    let (case, mut spec, product) = case("SEQ_CLS", &[("score.weight", score.clone())]);
    for (name, count) in [("train", 48), ("test", 12)] {
        sentences(&case, &format!("{name}.safetensors"), count);
    }
    spec["data"] =
        json!({"train": case.uri("train.safetensors"), "test": case.uri("test.safetensors")});
    spec["methods"] = json!(["weight_matching", "fgmt"]);
    let plan = case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let config = read_json(&folder.join("config.json"));
    assert_eq!(
        config["architectures"],
        json!(["LlamaForSequenceClassification"])
    );
    assert_eq!(
        config["id2label"],
        json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    );
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"]["adopted"], json!(["score.weight"]));
    assert_eq!(report["head"]["left_out"], json!(["lm_head.weight"]));
    assert!(
        report["metrics"]["source_accuracy"].is_number(),
        "{}",
        report["metrics"]
    );
    let found = read_tensors(&folder.join("model.safetensors"));
    assert!(found.get("lm_head.weight").is_none());
    assert_eq!(
        plan["parameters"],
        found.iter().map(|(_, t)| t.len()).sum::<usize>()
    );

    // The same as the tuned model written out.
    let mut tuned = case.model("old");
    tuned.remove("lm_head.weight");
    let weight = format!("{LAYER}.weight");
    let nothing = HostTensor::from_f32(product.shape().to_vec(), vec![0.0; product.len()]);
    tuned.insert(
        weight.clone(),
        tuned[&weight].shifted(&nothing, &product, 1.0),
    );
    tuned.insert("score.weight", score);
    case.write("tuned/config.json", config.to_string());
    case.put_weights("tuned", &tuned);
    spec["source"]["trajectory"] = json!(case.uri("tuned/"));
    let (_, merged) = case.done(&spec);
    let merged = read_tensors(&merged.join("model.safetensors"));
    assert_eq!(tensors::to_bytes(&merged), tensors::to_bytes(&found));
}

#[test]
fn a_language_models_adapter_needs_no_head() {
    let (case, spec, _) = case("CAUSAL_LM", &[]);
    case.plan(&spec).expect("a sound job");
    let (_, folder) = case.done(&spec);
    let config = read_json(&folder.join("config.json"));
    assert_eq!(config["architectures"], json!(["LlamaForCausalLM"]));
    let found = read_tensors(&folder.join("model.safetensors"));
    let new = case.model("new");
    assert_eq!(
        found["lm_head.weight"].bytes(),
        new["lm_head.weight"].bytes()
    );
    let weight = format!("{LAYER}.weight");
    assert_ne!(found[&weight].bytes(), new[&weight].bytes());
}

#[test]
fn a_head_of_every_token_is_that_of_the_bases_family() {
    let score = values(&[CLASSES, WIDTH], 11);
    let (case, spec, _) = case("TOKEN_CLS", &[("score.weight", score)]);
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let config = read_json(&folder.join("config.json"));
    assert_eq!(config["architectures"][0], "LlamaForTokenClassification");
    assert!(
        read_tensors(&folder.join("model.safetensors"))
            .get("score.weight")
            .is_some()
    );
}

#[test]
fn a_head_whose_network_is_not_known_is_refused() {
    let refused = |code| (code, Some("/source/trajectory".to_owned()));
    let score = values(&[CLASSES, WIDTH], 11);
    let (case, spec, _) = case("QUESTION_ANS", &[("score.weight", score)]);
    assert_eq!(
        refusal(case.plan(&spec)),
        refused(FailureCode::NotImplemented)
    );
    assert_eq!(
        refusal(case.run(&spec)),
        refused(FailureCode::NotImplemented)
    );
    // One row is a regression, and a tensor that is no head is none to add.
    let one = values(&[1, WIDTH], 11);
    let (case, spec, _) = self::case("SEQ_CLS", &[("score.weight", one.clone())]);
    assert_eq!(
        refusal(case.plan(&spec)),
        refused(FailureCode::NotImplemented)
    );
    assert_eq!(
        refusal(case.run(&spec)),
        refused(FailureCode::NotImplemented)
    );
    let (case, spec, _) = self::case("SEQ_CLS", &[("model.extra.weight", one)]);
    assert_eq!(
        refusal(case.plan(&spec)),
        refused(FailureCode::UnexpectedTensor)
    );
}
