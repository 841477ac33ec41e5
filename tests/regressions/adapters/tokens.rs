//! Tunings that added tokens, and output matrices that stopped to be the embedding.

use std::fs;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::Graph,
    symmetry::{Permutation, Symmetry},
    tensors::{Checkpoint, HostTensor},
};
use serde_json::{Value, json};

use super::merged::{self, logits, off};
use crate::pipeline::case::{Case, read_json, read_tensors};

const WORDS: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
const ADDED: [&str; 2] = ["<user>", "<tool>"];

fn values(shape: &[usize], step: usize) -> HostTensor {
    let value = |i: usize| ((i * step % 23) as f32 - 11.0) / 32.0;
    HostTensor::from_f32(
        shape.to_vec(),
        (0..shape.iter().product()).map(value).collect(),
    )
}

/// All rows of a table, then some more.
fn with_rows(table: &HostTensor, more: usize, step: usize) -> HostTensor {
    let width = table.shape()[1];
    let mut all = table.f32().into_owned();
    all.extend_from_slice(&values(&[more, width], step).f32());
    HostTensor::from_f32(vec![table.shape()[0] + more, width], all)
}

fn put(case: &Case, name: &str, config: &Value, model: &Checkpoint) {
    case.write(&format!("{name}/config.json"), config.to_string());
    case.put_weights(name, model);
}

fn put_tokens(case: &Case, name: &str, more: &[&str]) {
    let own = (0..40).map(|row| format!("t{row}"));
    let tokens: Vec<String> = own
        .chain(more.iter().map(|&text| text.to_owned()))
        .collect();
    case.write(&format!("{name}/vocab.txt"), tokens.join("\n"));
}

/// `base/` (a fixture), and `tuned/` with two tokens more and everything else moved a little.
fn two_tokens_more(family: &str) -> (Case, Value, Value, Checkpoint) {
    let (case, mut spec) = merged::case(family, "patterns");
    let config = read_json(&case.path("base/config.json"));
    let base = case.model("base");
    let moved = |(name, tensor): (&str, &HostTensor)| {
        let zero = HostTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]);
        (
            name.to_owned(),
            tensor.shifted(&zero, &values(tensor.shape(), 7), 0.25),
        )
    };
    let mut tuned: Checkpoint = base.iter().map(moved).collect();
    for name in [WORDS, OUTPUT] {
        if let Some(table) = tuned.get(name).cloned() {
            tuned.insert(name, with_rows(&table, 2, 5));
        }
    }
    let mut config_of_tuned = config.clone();
    config_of_tuned["vocab_size"] = json!(42);
    put(&case, "tuned", &config_of_tuned, &tuned);
    put_tokens(&case, "base", &[]);
    put_tokens(&case, "tuned", &ADDED);
    spec["source"]["trajectory"] = json!(case.uri("tuned/"));
    (case, spec, config, tuned)
}

#[test]
fn tokens_that_the_tuning_added_come_with_it() {
    for family in ["llama", "qwen2"] {
        let (case, spec, ..) = two_tokens_more(family);
        case.plan(&spec).expect("headers tell the same");
        let (_, folder) = case.done(&spec);
        let (found, tuned) = (
            read_tensors(&folder.join("model.safetensors")),
            case.model("tuned"),
        );
        assert_eq!(found.signature(), tuned.signature());
        for (name, tensor) in found.iter() {
            let off = off(&tensor.f32(), &tuned[name].f32());
            assert!(off < 1e-6, "{family}: {name} is {off:e} off");
        }
        assert_eq!(read_json(&folder.join("config.json"))["vocab_size"], 42);
        let report = read_json(&folder.join("report.json"));
        let rows = &report["shared_rows"][0];
        assert_eq!(
            rows["own"],
            json!({"40": "<user>", "41": "<tool>"}),
            "{rows}"
        );
        assert_eq!((&rows["shared"], &rows["target"]), (&json!(40), &json!(42)));
        // Its tokenizer is the one that numbers the result's rows.
        let tokens = fs::read_to_string(folder.join("vocab.txt")).expect("a list");
        assert!(tokens.ends_with("<user>\n<tool>"), "{tokens}");
    }
}

/// The new base is the old one with its channels in another order: with them move the added rows.
#[test]
fn the_added_rows_move_with_the_channels() {
    let (case, mut spec, config, tuned) = two_tokens_more("llama");
    let base = case.model("base");
    let graph = Graph::from_config(&config, &base.signature()).expect("a Llama");
    let symmetry = Symmetry::derive(&graph, &base.signature()).expect("sound");
    let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(3));
    put(&case, "new", &config, &order.apply(&symmetry, &base));
    put_tokens(&case, "new", &[]);
    spec["target"]["base"] = json!(case.uri("new/"));
    spec["methods"] = json!(["weight_matching"]);
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(found[WORDS].shape(), [42, 8]);
    let ids: Vec<f32> = [3u8, 40, 41, 7, 40, 1].map(f32::from).into();
    let input: Checkpoint = [("input".to_owned(), HostTensor::from_f32(vec![1, 6], ids))]
        .into_iter()
        .collect();
    let off = off(
        &logits(&folder, &input),
        &logits(&case.path("tuned"), &input),
    );
    assert!(off < 1e-4, "logits are {off:e} off");
    assert_ne!(
        found[WORDS].floats(320..328),
        tuned[WORDS].floats(320..328),
        "they were moved"
    );
}

/// The new base has other tokens: what the tuning added comes after them, and its tokenizer stays.
#[test]
fn added_rows_follow_a_new_bases_own_tokens() {
    let (case, mut spec, mut config, tuned) = two_tokens_more("llama");
    let mut new = case.model("base");
    for name in [WORDS, OUTPUT] {
        new.insert(name, with_rows(&new[name].clone(), 1, 3));
    }
    config["vocab_size"] = json!(41);
    put(&case, "new", &config, &new);
    put_tokens(&case, "new", &["<tool>"]);
    spec["target"]["base"] = json!(case.uri("new/"));
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(found[WORDS].shape(), [42, 8]);
    let row = |of: &HostTensor, row: usize| of.floats(row * 8..(row + 1) * 8).into_owned();
    assert_eq!(row(&found[WORDS], 40), row(&tuned[WORDS], 41), "<tool>");
    assert_eq!(row(&found[WORDS], 41), row(&tuned[WORDS], 40), "<user>");
    let report = read_json(&folder.join("report.json"));
    assert_eq!(
        report["shared_rows"][0]["own"],
        json!({"40": "<tool>", "41": "<user>"})
    );
    let tokens = fs::read_to_string(folder.join("vocab.txt")).expect("a list");
    assert!(tokens.ends_with("t39\n<tool>"), "the new base's: {tokens}");
    assert!(
        report["warnings"].to_string().contains("add them to it"),
        "{report:#}"
    );
}

/// What the new base learned since stays: its embedding, and what the tuning added to its own.
#[test]
fn a_head_of_its_own_above_tied_bases_keeps_what_the_new_base_learned() {
    let (case, mut spec) = merged::case("qwen2", "some_biases");
    let mut config = read_json(&case.path("base/config.json"));
    let base = case.model("base");
    let step = |tensor: &HostTensor, step: usize| {
        let zero = HostTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]);
        tensor.shifted(&zero, &values(tensor.shape(), step), 0.25)
    };
    let new: Checkpoint = base
        .iter()
        .map(|(name, tensor)| (name.to_owned(), step(tensor, 7)))
        .collect();
    put(&case, "new", &config, &new);
    let mut tuned = base.clone();
    tuned.insert(OUTPUT, step(&base[WORDS], 5));
    config["tie_word_embeddings"] = json!(false);
    put(&case, "tuned", &config, &tuned);
    spec["source"]["trajectory"] = json!(case.uri("tuned/"));
    spec["target"]["base"] = json!(case.uri("new/"));
    case.plan(&spec).expect("headers tell the same");
    let (_, folder) = case.done(&spec);
    let found = read_tensors(&folder.join("model.safetensors"));
    let wanted = new[WORDS].shifted(&base[WORDS], &tuned[OUTPUT], 1.0);
    let off = off(&found[OUTPUT].f32(), &wanted.f32());
    assert!(off < 1e-6, "{off:e}");
    assert_eq!(found[WORDS].bytes(), new[WORDS].bytes());
    let config = read_json(&folder.join("config.json"));
    assert_eq!(config["tie_word_embeddings"], false);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["head"], Value::Null);
    assert!(
        report["warnings"].to_string().contains("one of its own"),
        "{report:#}"
    );
}
