//! `ModernBERT` below the heads that it has, with Hugging Face's names: norms before the blocks, rotary
//! positions, gated hidden layers, and layers that see a window to both sides.

use serde_json::Value;

use super::{
    Builder, Source,
    rope::{NumberKey, RotaryKeys, Speeds},
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::Op,
};

const ROTARY: RotaryKeys = RotaryKeys {
    theta: NumberKey {
        key: "global_rope_theta",
        default: 160_000.0,
    },
    local_theta: Some(NumberKey {
        key: "local_rope_theta",
        default: 10_000.0,
    }),
    ..RotaryKeys::PLAIN
};

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.encoder_task()?;
    let count = source.count("num_attention_heads")?;
    let [rows, _] = source.shape("model.layers.0.attn.Wqkv.weight")?;
    let speeds = Speeds::read(source, ROTARY, rows / count.saturating_mul(3))?;
    let layers = source.layers("model.layers", "attn.Wqkv.weight", LAYERS)?;
    let local = local_layers(source, layers)?;
    let block = Block {
        eps: source.number("norm_eps", 1e-5)?,
        activation: source.activation("hidden_activation", "gelu")?,
    };

    let mut builder = Builder::default();
    let words = builder.embedding("model.embeddings.tok_embeddings");
    let mut x = builder.layer_norm("model.embeddings.norm", block.eps, words);
    for (layer, is_local) in local.into_iter().enumerate() {
        let heads = Attending {
            rotary: Some(speeds.of(is_local).clone()),
            window: if is_local {
                Some(window(source)?)
            } else {
                None
            },
            ..Attending::plain(count, true)
        };
        x = block.push(&mut builder, layer, &heads, x);
    }
    let x = builder.layer_norm("model.final_norm", block.eps, x);

    if task != Task::Representation {
        head(source, &mut builder, task, x)?;
    }
    let positions = source.count("max_position_embeddings")?;

    Ok(builder.finish_for(task, Input::Tokens { shape: [positions] }))
}

/// All heads begin alike; that of a sample reads one vector, the others every token.
fn head(
    source: &Source<'_>,
    builder: &mut Builder,
    task: Task,
    x: Operand,
) -> Result<Operand, GraphError> {
    let is_of_sample = !(task.is_of_tokens() || task == Task::QuestionAnswering);
    let read = if is_of_sample {
        pooled(source, builder, x)?
    } else {
        x
    };
    let hidden = builder.linear("head.dense", read);
    let activation = source.activation("classifier_activation", "gelu")?;
    let hidden = builder.push("head.act", activation, &[hidden]);
    let hidden = builder.layer_norm("head.norm", source.number("norm_eps", 1e-5)?, hidden);

    Ok(if task == Task::MaskedToken {
        builder.decoder(source, hidden)
    } else {
        builder.linear("classifier", hidden)
    })
}

/// The vector of the first token, or the mean of all.
fn pooled(source: &Source<'_>, builder: &mut Builder, x: Operand) -> Result<Operand, GraphError> {
    match source.config["classifier_pooling"].as_str() {
        None | Some("cls") => Ok(builder.first_token(x)),
        Some("mean") => Ok(builder.push("mean", Op::MeanTokens { skip: 0 }, &[x, Operand::Input])),
        Some(other) => {
            let detail = format!("classifier_pooling: {other:?} is not supported");
            Err(GraphError::Malformed { detail })
        }
    }
}

/// A token sees half of `local_attention` tokens on each side, and itself.
fn window(source: &Source<'_>) -> Result<usize, GraphError> {
    let whole = match source.config.get("local_attention") {
        None => 128,
        Some(_) => source.count("local_attention")?,
    };
    Ok(whole / 2 + 1)
}

/// Which layers have a window: by `layer_types`, or all but each `global_attn_every_n_layers`-th from the
/// first on.
fn local_layers(source: &Source<'_>, layers: usize) -> Result<Vec<bool>, GraphError> {
    let types = &source.config["layer_types"];
    if types.is_null() {
        let every = match source.config.get("global_attn_every_n_layers") {
            None => 3,
            Some(_) => source.count("global_attn_every_n_layers")?,
        };
        return Ok((0..layers)
            .map(|layer| !layer.is_multiple_of(every))
            .collect());
    }

    let entries = types.as_array().map(Vec::as_slice).unwrap_or_default();
    let found: Option<Vec<bool>> = entries.iter().map(is_local).collect();

    found.filter(|found| found.len() == layers).ok_or_else(|| {
        let detail = format!(
            "layer_types: give full_attention or sliding_attention for each of {layers} layers, not {types}"
        );
        GraphError::Malformed { detail }
    })
}

fn is_local(kind: &Value) -> Option<bool> {
    match kind.as_str()? {
        "full_attention" => Some(false),
        "sliding_attention" => Some(true),
        _ => None,
    }
}

/// What all blocks share.
struct Block {
    eps: f64,
    activation: Op,
}

impl Block {
    /// The first block reads the embedding's norm and has none of its own.
    fn push(&self, builder: &mut Builder, layer: usize, heads: &Attending, x: Operand) -> Operand {
        let normed = match layer {
            0 => x,
            _ => builder.layer_norm(&named(layer, "attn_norm"), self.eps, x),
        };
        let fused = builder.linear(&named(layer, "attn.Wqkv"), normed);
        let attended = builder.attention(named(layer, "attn"), heads, &[fused]);
        let attended = builder.linear(&named(layer, "attn.Wo"), attended);
        let x = builder.add(named(layer, "attn.sum"), &[attended, x]);

        let normed = builder.layer_norm(&named(layer, "mlp_norm"), self.eps, x);
        let both = builder.linear(&named(layer, "mlp.Wi"), normed);
        let gate = builder.push(
            named(layer, "mlp.input"),
            Op::Split { parts: 2, part: 0 },
            &[both],
        );
        let gate = builder.push(named(layer, "mlp.act"), self.activation.clone(), &[gate]);
        let up = builder.push(
            named(layer, "mlp.gate"),
            Op::Split { parts: 2, part: 1 },
            &[both],
        );
        let hidden = builder.push(named(layer, "mlp.gated"), Op::Gate {}, &[gate, up]);
        let output = builder.linear(&named(layer, "mlp.Wo"), hidden);

        builder.add(named(layer, "mlp.sum"), &[output, x])
    }
}

fn named(layer: usize, suffix: &str) -> String {
    format!("model.layers.{layer}.{suffix}")
}
