//! ALBERT with Hugging Face's names: embeddings that are widened, and layers that are run more than once.

use super::{
    Builder, Source,
    post_norm::{Block, BlockNames, Embeddings, Head, Words},
    transformer::Attending,
};
use crate::network::{error::GraphError, graph::Graph, op::Op};

const BLOCK: BlockNames = BlockNames {
    qkv: ["attention.query", "attention.key", "attention.value"],
    attention_out: "attention.dense",
    attention_norm: "attention.LayerNorm",
    up: "ffn",
    down: "ffn_output",
    norm: "full_layer_layer_norm",
};
const GROUPS: &str = "albert.encoder.albert_layer_groups";
/// Times that a group is run, at most: the file has no tensor for each, so its size does not bound them.
const MAX_LAYERS: usize = 1024;

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.encoder_task()?;
    let embeddings = Embeddings {
        prefix: "albert.embeddings",
        eps: source.number("layer_norm_eps", 1e-12)?,
        padding: None,
        has_types: true,
    };
    let block = Block {
        names: &BLOCK,
        heads: &Attending::plain(source.count("num_attention_heads")?, true),
        eps: embeddings.eps,
        activation: &source.activation("hidden_act", "gelu_new")?,
    };
    let input = embeddings.input(source)?;

    let mut builder = Builder::default();
    let x = embeddings.push(&mut builder);
    let mut x = builder.linear("albert.encoder.embedding_hidden_mapping_in", x);
    for Turn { id, layers } in turns(source)? {
        x = block.push_as(&mut builder, &id, &layers, x);
    }
    let head = Head {
        layers: ["albert.pooler", "classifier"],
        activation: Op::Tanh {},
        pooler: Some("albert.pooler"),
        words: Words {
            dense: "predictions.dense",
            activation: source.activation("hidden_act", "gelu_new")?,
            norm: "predictions.LayerNorm",
            eps: embeddings.eps,
        },
    };

    head.finish(source, builder, input, x)
}

/// A block as it is run.
struct Turn {
    /// What its nodes are named after.
    id: String,
    /// The prefix of its layers.
    layers: String,
}

/// The blocks in order: `num_hidden_layers` times a group, each as often as any other, as far as that goes.
fn turns(source: &Source<'_>) -> Result<Vec<Turn>, GraphError> {
    let layers = source.count("num_hidden_layers")?;
    if layers > MAX_LAYERS {
        let detail = format!("num_hidden_layers: give at most {MAX_LAYERS}, not {layers}");
        return Err(GraphError::Malformed { detail });
    }
    let groups = told(
        source,
        "num_hidden_groups",
        GROUPS,
        "albert_layers.0.ffn.weight",
    )?;
    let mut turns = Vec::new();
    for layer in 0..layers {
        // As the library rounds it.
        let group = (layer as f64 / (layers as f64 / groups as f64)) as usize;
        let prefix = format!("{GROUPS}.{group}.albert_layers");
        for inner in 0..told(source, "inner_group_num", &prefix, "ffn.weight")? {
            turns.push(Turn {
                id: format!("albert.encoder.{layer}.{inner}"),
                layers: format!("{prefix}.{inner}"),
            });
        }
    }

    Ok(turns)
}

/// A number of modules by the configuration, one where it says nothing, which the file must have.
fn told(source: &Source<'_>, key: &str, prefix: &str, tensor: &str) -> Result<usize, GraphError> {
    let told = match source.config.get(key) {
        None => 1,
        Some(_) => source.count(key)?,
    };
    let found = source.depth(prefix, tensor);
    if told != found {
        let detail = format!("{key}: is {told}, but the file has {found}");
        return Err(GraphError::Malformed { detail });
    }
    Ok(told)
}
