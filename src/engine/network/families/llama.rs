//! Llama, Mistral and Qwen2 for sequence classification or as language models, with Hugging Face's
//! names. A class is read from the last token that is not padded.

use serde_json::Value;

use super::{Builder, Source, transformer::Attending};
use crate::engine::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::{Llama3Scaling, Op, Rotary},
};

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.causal_task("ForCausalLM")?;
    let count = source.count("num_attention_heads")?;
    let kv_heads = match &source.config["num_key_value_heads"] {
        Value::Null => None,
        _ => Some(source.count("num_key_value_heads")?),
    };
    let rotary = Some(rotary(source)?);
    let heads = Attending { kv_heads, causal: true, rotary, ..Attending::plain(count, true) };
    let eps = source.number("rms_norm_eps", 1e-6)?;
    let activation = source.activation("hidden_act", "silu")?;
    let mut builder = Builder::default();
    let mut x = builder.embedding("model.embed_tokens");
    for layer in 0..source.depth("model.layers", "self_attn.q_proj.weight") {
        let name = |suffix: &str| format!("model.layers.{layer}.{suffix}");
        let normed = rms_norm(&mut builder, name("input_layernorm"), eps, x);
        let qkv = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].map(name);
        let attended = builder.attend(qkv, &heads, normed);
        let attended = builder.linear(&name("self_attn.o_proj"), attended);
        x = builder.add(name("self_attn.sum"), &[attended, x]);
        let normed = rms_norm(&mut builder, name("post_attention_layernorm"), eps, x);
        let gate = builder.linear(&name("mlp.gate_proj"), normed);
        let gate = builder.push(name("mlp.act"), activation.clone(), &[gate]);
        let up = builder.linear(&name("mlp.up_proj"), normed);
        let hidden = builder.push(name("mlp.gated"), Op::Gate {}, &[gate, up]);
        let output = builder.linear(&name("mlp.down_proj"), hidden);
        x = builder.add(name("mlp.sum"), &[output, x]);
    }
    let normed = rms_norm(&mut builder, "model.norm".into(), eps, x);
    builder.causal_head((source, task), "model.embed_tokens", normed);
    Ok(builder.finish_for(task, Input::Tokens { shape: [longest(source)?] }))
}

fn rms_norm(builder: &mut Builder, param: String, eps: f64, x: Operand) -> Operand {
    builder.push(param.clone(), Op::RmsNorm { param, eps }, &[x])
}

/// Within a sliding window, attention is the ordinary one; longer sequences are not read.
fn longest(source: &Source<'_>) -> Result<usize, GraphError> {
    let positions = source.count("max_position_embeddings")?;
    let config = source.config;
    // Qwen2 states a window that it does not use unless told to.
    let ignored =
        config["model_type"] == "qwen2" && config["use_sliding_window"].as_bool() != Some(true);
    if config["sliding_window"].is_null() || ignored {
        return Ok(positions);
    }
    Ok(positions.min(source.count("sliding_window")?))
}

/// `rope_parameters` since transformers 5; `rope_theta` and `rope_scaling` before.
fn rotary(source: &Source<'_>) -> Result<Rotary, GraphError> {
    let key =
        if source.config["rope_parameters"].is_null() { "rope_scaling" } else { "rope_parameters" };
    let scaling = &source.config[key];
    let number = |name: &str| {
        let detail = format!("{key}.{name}: give a number, not {}", scaling[name]);
        scaling[name].as_f64().ok_or(GraphError::Malformed { detail })
    };
    let theta = match scaling["rope_theta"].as_f64() {
        Some(theta) => theta,
        None => source.number("rope_theta", 10000.0)?,
    };
    source.only("partial_rotary_factor", &[1.0.into()])?;
    let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str()).unwrap_or("default");
    let (llama3, linear_factor) = match kind {
        "default" => (None, None),
        "linear" => (None, Some(number("factor")?)),
        "llama3" => {
            let scaling = Llama3Scaling {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: number("original_max_position_embeddings")?,
            };
            (Some(scaling), None)
        }
        other => {
            let detail = format!("{key}: the rope_type {other:?} is not supported");
            return Err(GraphError::Malformed { detail });
        }
    };
    Ok(Rotary { theta, llama3, linear_factor })
}
