//! Names in files and in graphs.

use serde_json::json;

use super::*;
use crate::tensors::{DType, TensorInfo};

fn signature(names: &[&str]) -> Signature {
    let info = TensorInfo {
        dtype: DType::F32,
        shape: vec![1],
    };
    names
        .iter()
        .map(|name| ((*name).to_owned(), info.clone()))
        .collect()
}

fn read(model_type: &str, names: &[&str]) -> Vec<String> {
    let signature = signature(names);
    let naming = Naming::of(&json!({"model_type": model_type}), &signature);
    naming.read_signature(signature).into_keys().collect()
}

#[test]
fn exactly_the_declared_buffers_are_dropped() {
    let bert = [
        "bert.embeddings.position_ids",
        "bert.embeddings.x",
        "classifier.bias",
    ];
    assert_eq!(read("bert", &bert), bert[1..]);
    let gpt2 = [
        "transformer.h.0.attn.bias",
        "transformer.h.0.attn.c_attn.bias",
        "transformer.h.11.attn.masked_bias",
        "transformer.h.x.attn.bias",
    ];
    assert_eq!(read("gpt2", &gpt2), [gpt2[1], gpt2[3]]);
    let llama = [
        "model.layers.3.self_attn.rotary_emb.inv_freq",
        "model.norm.weight",
    ];
    assert_eq!(read("llama", &llama), llama[1..]);
    assert_eq!(
        read("gpt2", &llama[..1]),
        ["transformer.".to_owned() + llama[0]]
    );
    assert_eq!(read("graph", &bert), bert);
}

#[test]
fn a_tensor_of_all_experts_is_taken_apart_and_put_together() {
    let name = "model.layers.0.mlp.experts.down_proj";
    let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let file: Checkpoint = [(name.to_owned(), HostTensor::from_f32(vec![3, 2, 2], values))]
        .into_iter()
        .collect();
    let naming = Naming::of(&json!({"model_type": "gpt_oss"}), &file.signature());
    let read = naming.read(&file);
    let second = "model.layers.0.mlp.experts.1.down_proj.weight";
    assert_eq!((read.len(), read[second].shape()), (3, &[2, 2][..]));
    assert_eq!(read[second].f32().as_ref(), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(naming.read_signature(file.signature()), read.signature());
    let back = naming.written(&read);
    assert_eq!((back.len(), back[name].bytes()), (1, file[name].bytes()));
    assert_eq!(back.signature(), file.signature());
    // A body saved alone lacks the prefix that it has below a head.
    let bare: Checkpoint = [(name["model.".len()..].to_owned(), file[name].clone())]
        .into_iter()
        .collect();
    let naming = Naming::of(&json!({"model_type": "gpt_oss"}), &bare.signature());
    assert_eq!(naming.read(&bare).signature(), read.signature());
    assert_eq!(naming.written(&read).signature(), bare.signature());
    assert_eq!(
        naming.under_own_names().written(&read).signature(),
        file.signature()
    );
    // Of no other family.
    let other = Naming::of(&json!({"model_type": "llama"}), &file.signature());
    assert_eq!(other.read(&file).signature(), file.signature());
}

#[test]
fn a_pooler_is_no_part_of_a_classifier_of_tokens() {
    let names = signature(&[
        "bert.x.weight",
        "bert.pooler.dense.weight",
        "classifier.bias",
    ]);
    let read = |class: &str| {
        let config = json!({"model_type": "bert", "architectures": [class]});
        Naming::of(&config, &names)
            .read_signature(names.clone())
            .len()
    };
    assert_eq!(read("BertForTokenClassification"), 2);
    assert_eq!(read("BertForSequenceClassification"), 3);
}

#[test]
fn a_body_saved_alone_gets_its_prefix_and_gives_it_back() {
    let names = [
        "embeddings.LayerNorm.gamma",
        "embeddings.position_ids",
        "cls.bias",
    ];
    assert_eq!(
        read("bert", &names),
        ["bert.embeddings.LayerNorm.weight", "cls.bias"]
    );
    let naming = Naming::of(&json!({"model_type": "bert"}), &signature(&names));
    let one = HostTensor::from_f32(vec![1], vec![1.0]);
    let file: Checkpoint = names
        .iter()
        .map(|n| ((*n).to_owned(), one.clone()))
        .collect();
    let back = naming.written(&naming.read(&file));
    let back: Vec<&str> = back.iter().map(|(name, _)| name).collect();
    assert_eq!(back, ["cls.bias", "embeddings.LayerNorm.gamma"]);
}

#[test]
fn a_wrappers_prefix_is_taken_away_and_given_back() {
    for wrapper in ["_orig_mod.", "module.", "module._orig_mod."] {
        let wrapped = |name: &str| format!("{wrapper}{name}");
        let names = [wrapped("embeddings.x"), wrapped("classifier.bias")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            read("bert", &names),
            ["bert.embeddings.x", "classifier.bias"]
        );
        assert_eq!(read("of timm", &names), ["classifier.bias", "embeddings.x"]);
        let naming = Naming::of(&json!({"model_type": "bert"}), &signature(&names));
        let one = HostTensor::from_f32(vec![1], vec![1.0]);
        let file: Checkpoint = names
            .iter()
            .map(|n| ((*n).to_owned(), one.clone()))
            .collect();
        let back = naming.written(&naming.read(&file));
        assert_eq!(back.signature(), file.signature());
    }
    // One name without it, or a graph's own name: nothing is taken away.
    assert_eq!(read("of timm", &["_orig_mod.a", "b"]), ["_orig_mod.a", "b"]);
    let graph = json!({"model_type": "graph", "nodes": [{"op": "linear", "param": "module.a"}]});
    let names = signature(&["module.a.weight"]);
    assert_eq!(Naming::of(&graph, &names), Naming::default());
}

#[test]
fn a_name_that_is_taken_is_not_given_twice() {
    let names = ["bert.x.LayerNorm.gamma", "bert.x.LayerNorm.weight"];
    assert_eq!(read("bert", &names), names);
}

#[test]
fn a_tied_output_is_read_once() {
    let names = ["lm_head.weight", "transformer.wte.weight"];
    assert_eq!(read("gpt2", &names), names[1..]);
    let signature = signature(&["lm_head.weight", "model.embed_tokens.weight"]);
    for (tie, read) in [(json!(true), 1), (json!(false), 2), (json!(null), 2)] {
        let config = json!({"model_type": "llama", "tie_word_embeddings": tie});
        let naming = Naming::of(&config, &signature);
        assert_eq!(naming.read_signature(signature.clone()).len(), read);
    }
}

#[test]
fn a_copy_that_differs_is_noticed() {
    let tensor = |value: f32| HostTensor::from_f32(vec![1], vec![value]);
    let untied = |copy: f32| {
        let file: Checkpoint = [("lm_head.weight", copy), ("wte.weight", 1.0)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), tensor(value)))
            .collect();
        let naming = Naming::of(&json!({"model_type": "gpt2"}), &file.signature());
        naming.untied(&file).map(str::to_owned)
    };
    assert_eq!(untied(1.0), None);
    assert_eq!(untied(2.0), Some("lm_head.weight".into()));
}

#[test]
fn copies_of_an_embedding_are_read_once() {
    let names = [
        "decoder.embed_tokens.weight",
        "encoder.block.0.x",
        "encoder.embed_tokens.weight",
        "lm_head.weight",
        "shared.weight",
    ];
    let inside = [
        "lm_head.weight",
        "transformer.encoder.block.0.x",
        "transformer.shared.weight",
    ];
    assert_eq!(read("t5", &names), inside);
    assert_eq!(read("mt5", &names), inside);

    let tensor = |value: f32| HostTensor::from_f32(vec![1], vec![value]);
    let untied = |copy: f32| {
        let file: Checkpoint = [
            ("encoder.embed_tokens.weight", copy),
            ("shared.weight", 1.0),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), tensor(value)))
        .collect();
        let naming = Naming::of(&json!({"model_type": "t5"}), &file.signature());
        naming.untied(&file).map(str::to_owned)
    };
    assert_eq!(untied(1.0), None);
    assert_eq!(untied(2.0), Some("encoder.embed_tokens.weight".into()));
}

#[test]
fn what_a_class_does_not_read_is_left_out() {
    let read = |config: Value, names: &[&str]| {
        let names = signature(names);
        Naming::of(&config, &names).read_signature(names).len()
    };
    let positions = ["deberta.x", "deberta.embeddings.position_embeddings.weight"];
    for (told, expected) in [(json!(false), 1), (json!(true), 2), (json!(null), 2)] {
        let config = json!({"model_type": "deberta-v2", "position_biased_input": told});
        assert_eq!(read(config, &positions), expected);
    }
    let both = ["encoder.x", "decoder.x"];
    let config = json!({"model_type": "t5", "architectures": ["T5EncoderModel"]});
    assert_eq!(read(config, &both), 1);
    assert_eq!(read(json!({"model_type": "t5"}), &both), 2);
}
