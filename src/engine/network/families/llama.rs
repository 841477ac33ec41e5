//! Llama, Mistral and Qwen2 for sequence classification or as language models, with Hugging Face's
//! names. A class is read from the last token that is no padding.

use serde_json::Value;

use super::{
    Builder, Source, settings,
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::{Llama3Scaling, Op, Rotary},
};

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.causal_task("ForCausalLM")?;
    let count = source.count("num_attention_heads")?;
    let defaults = Defaults::of(source.config);
    let kv_heads = match &source.config["num_key_value_heads"] {
        Value::Null => defaults.kv_heads,
        _ => Some(source.count("num_key_value_heads")?),
    };
    defaults.check_biases(source)?;
    let rotary = Some(rotary(source)?);
    let heads = Attending { kv_heads, causal: true, rotary, ..Attending::plain(count, true) };
    let eps = source.number("rms_norm_eps", 1e-6)?;
    let activation = source.activation("hidden_act", "silu")?;

    let mut builder = Builder::default();
    let mut x = builder.embedding("model.embed_tokens");

    for layer in 0..source.layers("model.layers", "self_attn.q_proj.weight", LAYERS)? {
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
    builder.causal_head(source, task, "model.embed_tokens", normed)?;
    Ok(builder.finish_for(task, Input::Tokens { shape: [longest(source)?] }))
}

fn rms_norm(builder: &mut Builder, param: String, eps: f64, x: Operand) -> Operand {
    builder.push(param.clone(), Op::RmsNorm { param, eps }, &[x])
}

/// What the library takes where the configuration has no such key.
struct Defaults {
    /// `None`: as many as there are query heads.
    kv_heads: Option<usize>,
    sliding_window: Option<usize>,
    /// Of query, key and value, of the output projection, of the gated layers: whether they have a bias.
    biases: [bool; 3],
}

impl Defaults {
    fn of(config: &Value) -> Self {
        match config["model_type"].as_str() {
            Some("mistral") => {
                Self { kv_heads: Some(8), sliding_window: Some(4096), biases: [false; 3] }
            }
            Some("qwen2") => {
                Self { kv_heads: Some(32), sliding_window: None, biases: [true, false, false] }
            }
            _ => {
                let [attention, mlp] = ["attention_bias", "mlp_bias"]
                    .map(|key| config[key].as_bool().unwrap_or(false));
                let biases = [attention, attention, mlp];
                Self { kv_heads: None, sliding_window: None, biases }
            }
        }
    }

    /// Refuses a file with a bias that the library does not read, and one without a bias that it would
    /// draw at random.
    fn check_biases(&self, source: &Source<'_>) -> Result<(), GraphError> {
        let layers = [
            ("self_attn.q_proj", self.biases[0], "attention_bias"),
            ("self_attn.o_proj", self.biases[1], "attention_bias"),
            ("mlp.gate_proj", self.biases[2], "mlp_bias"),
        ];
        for (layer, wanted, key) in layers {
            let tensor = format!("model.layers.0.{layer}.bias");
            if source.has(&tensor) != wanted {
                let (told, found) = if wanted { ("a", "none") } else { ("no", "one") };
                let detail = format!(
                    "{key}: by it and the model_type {layer} has {told} bias, but the file has {found} \
                     ({tensor})"
                );
                return Err(GraphError::Malformed { detail });
            }
        }

        Ok(())
    }
}

/// Within a sliding window, attention is the ordinary one; longer sequences are not read.
fn longest(source: &Source<'_>) -> Result<usize, GraphError> {
    let positions = source.count("max_position_embeddings")?;
    let config = source.config;
    // Llama has no window, whatever its configuration says; Qwen2 states one that it does not use unless
    // told to.
    let ignored = match config["model_type"].as_str() {
        Some("mistral") => false,
        Some("qwen2") => config["use_sliding_window"].as_bool() != Some(true),
        _ => true,
    };
    if let Some(types) = config["layer_types"].as_array() {
        let windowed = config["model_type"] == "mistral" || !ignored;
        let mut others = types.iter().filter(|kind| **kind != "full_attention");
        if let Some(other) = others.find(|kind| **kind != "sliding_attention" || !windowed) {
            let detail = format!("layer_types: {other} is not supported with these settings");
            return Err(GraphError::Malformed { detail });
        }
    }

    let window = match config.get("sliding_window") {
        _ if ignored => None,
        Some(Value::Null) => None,
        Some(_) => Some(source.count("sliding_window")?),
        None => Defaults::of(config).sliding_window,
    };
    Ok(window.map_or(positions, |window| positions.min(window)))
}

/// What a configuration says of rotary positions.
struct Scaling<'a> {
    key: &'static str,
    value: &'a Value,
}

impl Scaling<'_> {
    fn positive(&self, name: &str) -> Result<f64, GraphError> {
        let Self { key, value } = self;
        let detail = format!("{key}.{name}: give a number above 0, not {}", value[name]);
        let number = value[name].as_f64().filter(|number| *number > 0.0);
        number.ok_or(GraphError::Malformed { detail })
    }
}

/// `rope_parameters` since transformers 5; `rope_theta` and `rope_scaling` before.
fn rotary(source: &Source<'_>) -> Result<Rotary, GraphError> {
    let [scaling, parameters] = ["rope_scaling", "rope_parameters"].map(|key| &source.config[key]);
    if !scaling.is_null() && !parameters.is_null() && scaling != parameters {
        let detail =
            "rope_scaling: stands beside rope_parameters and says otherwise; keep one of them";
        return Err(GraphError::Malformed { detail: detail.into() });
    }

    let key = if parameters.is_null() { "rope_scaling" } else { "rope_parameters" };
    let scaling = &source.config[key];

    let object = Scaling { key, value: scaling };
    let theta = match &scaling["rope_theta"] {
        Value::Null => source.number("rope_theta", 10000.0)?,
        _ => object.positive("rope_theta")?,
    };
    settings::check_object(&format!("{key}."), scaling, &[&settings::ROPE])?;

    let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str()).unwrap_or("default");
    let (llama3, linear_factor) = match kind {
        "default" => (None, None),
        "linear" => (None, Some(object.positive("factor")?)),
        "llama3" => {
            let scaling = Llama3Scaling {
                factor: object.positive("factor")?,
                low_freq_factor: object.positive("low_freq_factor")?,
                high_freq_factor: object.positive("high_freq_factor")?,
                original_max_position_embeddings: object
                    .positive("original_max_position_embeddings")?,
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
