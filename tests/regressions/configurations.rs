//! Settings of a configuration that change the computation, numbers in it that no memory holds, and
//! sentences that are read as the library reads them.

mod images;
mod memory;

use std::{collections::BTreeMap, fs};

use burn::tensor::Device;
use bytes::Bytes;
use retune::{
    contract::codes::FailureCode,
    engine::{
        network::{Graph, Token},
        tensors::{Checkpoint, DType, HostTensor},
        training::{Batch, Learner},
    },
    pipeline::Failure,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::pipeline::case::Case;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// A safetensors file with the configuration that it may carry.
struct File {
    tensors: BTreeMap<String, HostTensor>,
    config: Value,
}

impl File {
    fn read(path: &str) -> Self {
        let bytes = fs::read(format!("{FIXTURES}/{path}")).expect("a fixture");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let config = header
            .metadata()
            .as_ref()
            .and_then(|fields| fields.get("config"));
        let config = config.map_or(Value::Null, |text| {
            serde_json::from_str(text).expect("JSON")
        });
        let file = SafeTensors::deserialize(&bytes).expect("a fixture");

        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let dtype = if view.dtype() == Dtype::F32 {
                DType::F32
            } else {
                DType::I64
            };
            let data = Bytes::copy_from_slice(view.data());
            let tensor = HostTensor::from_bytes(dtype, view.shape().to_vec(), data);
            (name, tensor.expect("whole"))
        });
        Self {
            tensors: tensors.collect(),
            config,
        }
    }

    fn parameters(&self) -> Checkpoint {
        let named = self.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix("param.")?.to_owned(), tensor.clone()))
        });
        named.collect()
    }

    fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let bytes = self.tensors.get(name)?.bytes();
        Some(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| i64::from_le_bytes(bytes))
                .collect(),
        )
    }
}

/// Sentences of a case, as a reader of datasets packs them.
fn sentences(file: &File, case: &str) -> Batch {
    let ids = file.integers(&format!("{case}.input_ids")).expect("ids");
    let mask = file
        .integers(&format!("{case}.attention_mask"))
        .expect("a mask");
    let types = file.integers(&format!("{case}.token_type_ids"));
    let packed = |at: usize| {
        let token_type = types.as_ref().map_or(0, |types| types[at]);
        let (id, token_type) = (ids[at] as u32, token_type as u32);
        Token {
            id,
            token_type,
            masked: mask[at] == 0,
        }
        .packed()
    };

    let shape = file.tensors[&format!("{case}.input_ids")].shape();
    let inputs = (0..ids.len()).map(packed).collect();
    Batch {
        inputs,
        sample_shape: shape[1..].to_vec(),
        labels: vec![0; shape[0]],
    }
}

/// Left, right, not at all, with the padding's id at the end of sentences, with masks of the user's own
/// and without a padding's id: the logits are the library's.
#[test]
fn sentences_are_read_as_the_library_reads_them() {
    let padding = File::read("padding/padding.safetensors");
    let cases: Vec<&str> = padding
        .tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".logits"))
        .collect();
    assert_eq!(cases.len(), 7 * 5 + 4);

    for case in cases {
        let (family, kind) = case.split_once('.').expect("a family and a case");
        let mut model = File::read(&format!("transformers/{family}.safetensors"));
        if kind == "null" {
            model.config["pad_token_id"] = Value::Null;
        }
        let parameters = model.parameters();
        let signature = parameters.signature();
        let graph = Graph::from_config(&model.config, &signature).expect(case);
        let learner = Learner::new(&graph, &signature, Device::flex()).expect(case);

        let found = learner.predict(&parameters, &sentences(&padding, case));
        let expected = padding.tensors[&format!("{case}.logits")].f32();
        let furthest = found
            .iter()
            .zip(expected.iter())
            .map(|(a, b)| (a - b).abs());
        let furthest = furthest.fold(0.0, f32::max);
        assert!(furthest < 2e-5, "{case}: a logit is {furthest:e} off");
    }
}

/// The network of a fixture's configuration with these keys.
fn built(family: &str, keys: &Value) -> Result<Graph, String> {
    let model = File::read(&format!("transformers/{family}.safetensors"));
    let mut config = model.config.clone();
    for (key, value) in keys.as_object().expect("an object") {
        config[key] = value.clone();
    }
    Graph::from_config(&config, &model.parameters().signature()).map_err(|error| error.to_string())
}

#[test]
fn settings_that_change_the_computation_are_refused_by_name() {
    for (family, key, value) in [
        (
            "bert",
            "position_embedding_type",
            json!("relative_key_query"),
        ),
        ("bert", "num_hidden_layers", json!(1)),
        ("roberta", "is_decoder", json!(true)),
        ("roberta", "pad_token_id", json!(null)),
        ("distilbert", "n_layers", json!(3)),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("gpt2", "is_causal", json!(false)),
        ("gpt2", "num_attention_heads", json!(2)),
        ("llama", "attention_bias", json!(true)),
        ("llama", "mlp_bias", json!(true)),
        ("llama", "rope_scaling", json!({"rope_type": "default"})),
        (
            "llama",
            "quantization_config",
            json!({"quant_method": "gptq"}),
        ),
        ("llama", "some_new_switch", json!(true)),
        (
            "mistral",
            "rope_parameters",
            json!({"rope_type": "proportional"}),
        ),
        (
            "mistral",
            "layer_types",
            json!(["full_attention", "full_attention"]),
        ),
        (
            "qwen3_lm",
            "layer_types",
            json!(["full_attention", "linear_attention"]),
        ),
        ("qwen3_lm", "head_dim", json!(4)),
        ("smollm3_lm", "no_rope_layers", json!([1])),
        (
            "olmo3_lm",
            "rope_parameters",
            json!({"rope_type": "default", "rope_theta": 1e4}),
        ),
        ("gemma_lm", "hidden_activation", json!("relu")),
        ("gemma2_lm", "use_bidirectional_attention", json!(true)),
        ("gemma3_text_lm", "attn_logit_softcapping", json!(2.0)),
        ("gemma3_text_lm", "sliding_window", json!(null)),
        ("phi3_lm", "mlp_bias", json!(true)),
        (
            "phi3_lm",
            "rope_parameters",
            json!({"rope_type": "linear", "factor": 2.0}),
        ),
        ("granite_lm", "logits_scaling", json!(0)),
        ("glm4_lm", "head_dim", json!(4)),
        ("albert", "num_hidden_groups", json!(1)),
        ("albert", "num_hidden_layers", json!(100_000)),
        ("albert", "inner_group_num", json!(3)),
        ("deberta_v2", "conv_kernel_size", json!(3)),
        ("deberta_v2", "pos_att_type", json!("p2c|p2p")),
        ("deberta_v2", "position_buckets", json!(8)),
        ("deberta_v2", "share_att_key", json!("yes")),
        ("electra", "position_embedding_type", json!("relative_key")),
        ("mpnet", "num_hidden_layers", json!(1)),
        ("mt5", "num_decoder_layers", json!(2)),
        ("t5", "decoder_start_token_id", json!(null)),
        ("t5", "dense_act_fn", json!("silu")),
        ("t5", "is_gated_act", json!(true)),
        ("t5", "feed_forward_proj", json!("gated-mish")),
        ("t5_tokens", "is_decoder", json!(true)),
        ("modernbert", "classifier_pooling", json!("max")),
        ("modernbert", "sliding_window", json!(2)),
        (
            "qwen2",
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.5}),
        ),
        ("vit", "hidden_act", json!("mish")),
        ("timm_vit", "global_pool", json!("max")),
        ("timm_vit", "model_args", json!({"norm_layer": "rmsnorm"})),
        ("timm_vit", "model_args", json!({"dynamic_img_size": true})),
    ] {
        let error = built(family, &json!({ key: value })).expect_err(key);
        let named = match &value {
            Value::Object(inner) if family == "timm_vit" => {
                inner.keys().next().expect("one").clone()
            }
            _ => key.to_owned(),
        };
        assert!(error.contains(&named), "{family}: {error}");
    }
}

#[test]
fn a_model_with_one_label_is_no_classifier() {
    for (family, keys) in [
        ("bert", json!({"id2label": {"0": "LABEL_0"}})),
        ("llama", json!({"num_labels": 1})),
        ("vit", json!({"problem_type": "regression"})),
    ] {
        // It can be carried by its tensors' names, and nothing computes with it.
        let graph = built(family, &keys).expect(family);
        let name = &graph.by_names().expect("no classifier").name;
        assert!(
            name.contains("of one label") || name.contains("of problem_type"),
            "{name}"
        );
    }

    // Whatever says so: the output has one number.
    let head = [("head.weight", vec![1, 4])];
    let signature = head.map(|(name, shape)| {
        (
            name.to_owned(),
            retune::engine::tensors::TensorInfo {
                dtype: DType::F32,
                shape,
            },
        )
    });
    let document = json!({"input": {"kind": "features", "shape": [4]},
        "nodes": [{"op": "linear", "param": "head"}]});
    let graph = Graph::from_document(&document).expect("a graph");
    let program = graph.resolve(&signature.into()).expect("a network");
    let error = program.classes().expect_err("one number").to_string();
    assert!(error.contains("at least two classes"), "{error}");
}

/// A tuned model that computes otherwise from tensors of the same shapes would be judged as another
/// function.
#[test]
fn a_tuned_model_that_computes_otherwise_is_refused() {
    let case = Case::fresh();
    let config = fs::read_to_string(case.path("tuned/config.json")).expect("our own file");
    let other = config.replacen("relu", "gelu", 1);
    assert_ne!(config, other);
    case.write("tuned/config.json", other);

    let Err(Failure::Input {
        code,
        pointer,
        detail,
    }) = case.run(&case.spec())
    else {
        panic!("the job is refused")
    };
    assert_eq!(
        (code, pointer.as_deref()),
        (FailureCode::IncompatibleModels, Some("/source/trajectory"))
    );
    assert!(
        detail.contains("gelu") && detail.contains("relu"),
        "{detail}"
    );
}

/// What two releases of one base may differ in is carried, and told.
#[test]
fn another_epsilon_of_the_new_base_is_told() {
    let case = Case::normed();
    let config = fs::read_to_string(case.path("new/config.json")).expect("our own file");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["nodes"][1]["eps"] = json!(0.25);
    case.write("new/config.json", config.to_string());

    let (_, folder) = case.done(&case.spec());
    let report = fs::read_to_string(folder.join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("does not compute as the tuned model"),
        "{warnings}"
    );
}
