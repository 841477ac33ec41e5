//! Configurations after those of well-known checkpoints of the decoders: every one is read, at its own size.
//!
//! They are facts written down by hand. Phi-4-mini's, `SmolLM3`'s, Gemma 3 1B's and `OLMo` 3's were compared with a
//! published file; the others were not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    network::{Graph, Input, Op, ParamUse},
    tensors::{DType, Signature, TensorInfo},
};

fn configurations() -> BTreeMap<String, Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/configurations/published.json"
    );
    serde_json::from_slice(&std::fs::read(path).expect("the fixture")).expect("JSON")
}

fn number(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap_or_else(|| panic!("{key}")) as usize
}

/// The headers of a file that such a configuration stands beside.
struct Headers<'a> {
    config: &'a Value,
    tensors: Signature,
}

impl Headers<'_> {
    fn insert(&mut self, name: &str, shape: &[usize]) {
        let info = TensorInfo {
            dtype: DType::BF16,
            shape: shape.to_vec(),
        };
        self.tensors.insert(name.to_owned(), info);
    }

    fn head_size(&self) -> usize {
        match &self.config["head_dim"] {
            Value::Null => {
                number(self.config, "hidden_size") / number(self.config, "num_attention_heads")
            }
            size => size.as_u64().expect("a size") as usize,
        }
    }

    /// What a builder looks at before there is a graph.
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn first(config: &Value) -> Signature {
        let mut headers = Headers {
            config,
            tensors: Signature::new(),
        };
        let (width, heads) = (
            number(config, "hidden_size"),
            number(config, "num_attention_heads"),
        );
        let queries = heads * headers.head_size();
        let kv_heads = config["num_key_value_heads"]
            .as_u64()
            .map_or(heads, |n| n as usize);
        let fused = queries + 2 * kv_heads * headers.head_size();
        let vocabulary = number(config, "vocab_size");

        headers.insert("model.embed_tokens.weight", &[vocabulary, width]);
        headers.insert("lm_head.weight", &[vocabulary, width]);
        for layer in 0..number(config, "num_hidden_layers") {
            match config["model_type"].as_str() {
                Some("phi3") => {
                    let name = format!("model.layers.{layer}.self_attn.qkv_proj.weight");
                    headers.insert(&name, &[fused, width]);
                }
                Some("gpt_neox") => {
                    let name = format!("gpt_neox.layers.{layer}.attention.query_key_value.weight");
                    headers.insert(&name, &[fused, width]);
                }
                Some("modernbert") => {
                    let name = format!("model.layers.{layer}.attn.Wqkv.weight");
                    headers.insert(&name, &[fused, width]);
                }
                family => {
                    let prefix = format!("model.layers.{layer}.self_attn.q_proj");
                    headers.insert(&format!("{prefix}.weight"), &[queries, width]);
                    let router = match family {
                        Some("qwen3_moe" | "olmoe") => Some(("mlp.gate", "num_experts")),
                        Some("mixtral") => Some(("block_sparse_moe.gate", "num_local_experts")),
                        Some("gpt_oss") => Some(("mlp.router", "num_local_experts")),
                        _ => None,
                    };
                    if let Some((router, count)) = router {
                        let name = format!("model.layers.{layer}.{router}.weight");
                        headers.insert(&name, &[number(config, count), width]);
                    }
                    if family == Some("gpt_oss") {
                        for layer_with_bias in ["mlp.router", "self_attn.o_proj"] {
                            headers.insert(
                                &format!("model.layers.{layer}.{layer_with_bias}.bias"),
                                &[width],
                            );
                        }
                        for part in ["gate_up_proj", "down_proj"] {
                            let expert = format!("model.layers.{layer}.mlp.experts.0.{part}.bias");
                            headers.insert(&expert, &[width]);
                        }
                    }
                    if matches!(family, Some("qwen2" | "glm4" | "gpt_oss")) {
                        headers.insert(&format!("{prefix}.bias"), &[queries]);
                    }
                }
            }
        }

        headers.tensors
    }
}

fn graph(config: &Value) -> Graph {
    Graph::from_config(config, &Headers::first(config)).expect("a network")
}

#[test]
fn published_configurations_are_read() {
    let configurations = configurations();
    assert!(configurations.len() >= 21);

    for (name, config) in &configurations {
        let graph = Graph::from_config(config, &Headers::first(config));
        let graph = graph.unwrap_or_else(|error| panic!("{name}: {error}"));
        let attentions = graph
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Attention { .. }));
        assert_eq!(
            attentions.count(),
            number(config, "num_hidden_layers"),
            "{name}"
        );
    }
}

/// Windows and bases of layers, as the models' reports tell them.
#[test]
fn layers_differ_as_they_should() {
    let configurations = configurations();
    let attentions = |name: &str| {
        let nodes = graph(&configurations[name]).nodes.into_iter();
        nodes.filter_map(|node| match node.op {
            Op::Attention { window, rotary, .. } => Some((window, rotary)),
            _ => None,
        })
    };

    let gemma: Vec<_> = attentions("google/gemma-3-1b-it").collect();
    for (layer, (window, rotary)) in gemma.iter().enumerate() {
        let is_global = layer % 6 == 5;
        assert_eq!(window.is_none(), is_global, "layer {layer}");
        let theta = rotary.as_ref().map(|rotary| rotary.theta);
        assert_eq!(
            theta,
            Some(if is_global { 1e6 } else { 1e4 }),
            "layer {layer}"
        );
    }
    let smollm: Vec<_> = attentions("HuggingFaceTB/SmolLM3-3B").collect();
    let without: Vec<usize> = (0..36).filter(|&layer| smollm[layer].1.is_none()).collect();
    assert_eq!(without, [3, 7, 11, 15, 19, 23, 27, 31, 35]);
    let olmo: Vec<_> = attentions("allenai/Olmo-3-1025-7B").collect();
    for (layer, (window, rotary)) in olmo.iter().enumerate() {
        let is_stretched = rotary.as_ref().is_some_and(|rotary| rotary.yarn.is_some());
        assert_eq!(
            (window.is_none(), is_stretched),
            (layer % 4 == 3, layer % 4 == 3)
        );
    }
    assert!(attentions("mistralai/Mistral-7B-v0.1").all(|(window, _)| window == Some(4096)));
    let modern: Vec<_> = attentions("answerdotai/ModernBERT-base, below a classifier")
        .map(|(w, _)| w)
        .collect();

    assert_eq!(modern[..4], [None, Some(65), Some(65), None]);
}

#[test]
fn experts_are_as_many_as_they_should_be() {
    let configurations = configurations();
    let experts = |name: &str| {
        let nodes = graph(&configurations[name]).nodes.into_iter();
        let found: Vec<_> = nodes
            .filter_map(|node| match node.op {
                Op::Experts {
                    count,
                    top_k,
                    normalised,
                    ..
                } => Some((count, top_k, normalised)),
                _ => None,
            })
            .collect();
        (found.len(), found[0])
    };
    assert_eq!(experts("Qwen/Qwen3-30B-A3B"), (48, (128, 8, true)));
    assert_eq!(experts("mistralai/Mixtral-8x7B-v0.1"), (32, (8, 2, true)));
    assert_eq!(experts("openai/gpt-oss-20b, unpacked"), (24, (32, 4, true)));

    assert_eq!(experts("allenai/OLMoE-1B-7B-0924"), (16, (64, 8, false)));
}

/// A vocabulary of 151936 words at each of 40960 positions would be 25 GB of logits.
#[test]
fn a_long_context_is_read_as_far_as_logits_can_be_held() {
    let configurations = configurations();
    let config = &configurations["Qwen/Qwen3-0.6B"];
    let graph = graph(config);
    assert_eq!(
        graph.input,
        Input::Tokens {
            shape: [(1 << 31) / 151_936]
        }
    );

    let (width, hidden) = (1024, 3072);
    let shape = |param: &ParamUse| match param.name.rsplit('.').nth(1).expect("a module") {
        "embed_tokens" => vec![151_936, width],
        "q_proj" => vec![2048, width],
        "o_proj" => vec![width, 2048],
        "k_proj" | "v_proj" => vec![1024, width],
        "gate_proj" | "up_proj" => vec![hidden, width],
        "down_proj" => vec![width, hidden],
        "q_norm" | "k_norm" => vec![128],
        _ => vec![width],
    };
    let needed = graph
        .params()
        .map(|(_, param)| param)
        .filter(|param| param.required);
    let signature: Signature = needed
        .map(|param| {
            let info = TensorInfo {
                dtype: DType::BF16,
                shape: shape(&param),
            };
            (param.name, info)
        })
        .collect();

    assert_eq!(
        graph
            .resolve(&signature)
            .expect("it fits")
            .classes()
            .unwrap(),
        151_936
    );
}
