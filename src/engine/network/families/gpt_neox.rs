//! GPT-NeoX for sequence classification or as a language model, with Hugging Face's names. Query, key and
//! value lie head by head in one layer; attention and hidden layer may read the same stream.

use super::{
    Builder, Source,
    rope::{NumberKey, RotaryKeys, Speeds},
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{FusedOrder, Op},
};

const ROTARY: RotaryKeys = RotaryKeys {
    theta: NumberKey {
        key: "rotary_emb_base",
        default: 10_000.0,
    },
    partial: Some(NumberKey {
        key: "rotary_pct",
        default: 0.25,
    }),
    ..RotaryKeys::PLAIN
};
/// Later names of the same numbers, and their first.
const OTHER_NAMES: [[&str; 2]; 2] = [
    ["rope_theta", "rotary_emb_base"],
    ["partial_rotary_factor", "rotary_pct"],
];

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.causal_task("ForCausalLM")?;
    check_other_names(source)?;
    let count = source.count("num_attention_heads")?;
    let [rows, _] = source.shape("gpt_neox.layers.0.attention.query_key_value.weight")?;
    let speeds = Speeds::read(source, ROTARY, rows / count.saturating_mul(3))?;
    let block = Block {
        heads: Attending {
            causal: true,
            fused: FusedOrder::Heads,
            rotary: Some(speeds.of(false).clone()),
            ..Attending::plain(count, true)
        },
        eps: source.number("layer_norm_eps", 1e-5)?,
        activation: source.activation("hidden_act", "gelu")?,
        is_parallel: source.config["use_parallel_residual"]
            .as_bool()
            .unwrap_or(true),
    };

    let mut builder = Builder::default();
    let mut x = builder.embedding("gpt_neox.embed_in");
    let layers = source.layers(
        "gpt_neox.layers",
        "attention.query_key_value.weight",
        LAYERS,
    )?;
    for layer in 0..layers {
        x = block.push(&mut builder, &format!("gpt_neox.layers.{layer}"), x);
    }
    let x = builder.layer_norm("gpt_neox.final_layer_norm", block.eps, x);

    if task == Task::TokenClassification {
        builder.linear("classifier", x);
    } else {
        builder.causal_head(source, task, "gpt_neox.embed_in", x)?;
    }
    let positions = source.count("max_position_embeddings")?;

    Ok(builder.finish_for(task, Input::Tokens { shape: [positions] }))
}

/// Refuses a configuration in which two names of one number disagree: the library reads the first alone.
fn check_other_names(source: &Source<'_>) -> Result<(), GraphError> {
    let config = source.config;
    let other = OTHER_NAMES.iter().find(|[later, first]| {
        let told = config[*later].as_f64();
        told.is_some_and(|told| config[*first].as_f64() != Some(told))
            && config["rope_parameters"].is_null()
    });
    let Some([later, first]) = other else {
        return Ok(());
    };
    let detail = format!(
        "{later}: is {}, but {first} is {}",
        config[*later], config[*first]
    );

    Err(GraphError::Malformed { detail })
}

/// What all blocks share.
struct Block {
    heads: Attending,
    eps: f64,
    activation: Op,
    is_parallel: bool,
}

impl Block {
    fn push(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        let normed = builder.layer_norm(&named(prefix, "input_layernorm"), self.eps, x);
        let fused = builder.linear(&named(prefix, "attention.query_key_value"), normed);
        let attended = builder.attention(named(prefix, "attention"), &self.heads, &[fused]);
        let attended = builder.linear(&named(prefix, "attention.dense"), attended);

        if self.is_parallel {
            let output = self.mlp(builder, prefix, x);
            return builder.add(named(prefix, "sum"), &[output, attended, x]);
        }
        let x = builder.add(named(prefix, "attention.sum"), &[attended, x]);
        let output = self.mlp(builder, prefix, x);

        builder.add(named(prefix, "mlp.sum"), &[output, x])
    }

    fn mlp(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        let normed = builder.layer_norm(&named(prefix, "post_attention_layernorm"), self.eps, x);
        let hidden = builder.linear(&named(prefix, "mlp.dense_h_to_4h"), normed);
        let hidden = builder.push(named(prefix, "mlp.act"), self.activation.clone(), &[hidden]);
        builder.linear(&named(prefix, "mlp.dense_4h_to_h"), hidden)
    }
}

fn named(prefix: &str, suffix: &str) -> String {
    format!("{prefix}.{suffix}")
}
