//! BERT, `RoBERTa` and `DistilBERT` for sequence classification, with Hugging Face's names.
//!
//! Norms stand after each sum. Token types are those of the data, the first where it has none.

use super::{
    Builder, Source,
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand, Task},
    op::Op,
};

/// The layer that tells the class of every token.
const EVERY_TOKEN: &str = "classifier";

/// Where a block's layers are, within its prefix.
struct BlockNames {
    qkv: [&'static str; 3],
    attention_out: &'static str,
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    norm: &'static str,
}

const BERT: BlockNames = BlockNames {
    qkv: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

const DISTILBERT: BlockNames = BlockNames {
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// The head: a pooled first token, tanh, the classifier. Of every token it is the last layer alone.
pub(super) fn bert(source: &Source<'_>) -> Result<Graph, GraphError> {
    bert_like(source, "bert", None, ["bert.pooler.dense", "classifier"])
}

/// Positions are counted over the ids that are no padding, from the row after the padding's.
pub(super) fn roberta(source: &Source<'_>) -> Result<Graph, GraphError> {
    let padding = match source.padding()? {
        Some(padding) => padding,
        // The library's own, where the key is missing.
        None if source.config.get("pad_token_id").is_none() => 1,
        None => {
            let detail =
                "pad_token_id: positions are counted from it; give an id, not null or below zero";
            return Err(GraphError::Malformed {
                detail: detail.into(),
            });
        }
    };
    bert_like(
        source,
        "roberta",
        Some(padding),
        ["classifier.dense", "classifier.out_proj"],
    )
}

fn bert_like(
    source: &Source<'_>,
    prefix: &str,
    padding: Option<u32>,
    head: [&str; 2],
) -> Result<Graph, GraphError> {
    let task = source.encoder_task()?;
    let heads = Attending::plain(source.count("num_attention_heads")?, true);
    let eps = source.number("layer_norm_eps", 1e-12)?;
    let activation = source.activation("hidden_act", "gelu")?;

    let embeddings = format!("{prefix}.embeddings");
    let table = format!("{embeddings}.position_embeddings");
    let first_row = padding.map_or(0, |id| id as usize + 1);
    let input = source.ids(&format!("{table}.weight"), first_row)?;

    let mut builder = Builder::default();
    let words = builder.embedding(&format!("{embeddings}.word_embeddings"));
    let places = match padding {
        Some(padding) => builder.counted_positions(&table, padding),
        None => builder.positions(&table),
    };
    let param = format!("{embeddings}.token_type_embeddings");
    let op = Op::TokenTypeEmbedding {
        param: param.clone(),
    };
    let types = builder.push(param, op, &[Operand::Input]);
    let sum = builder.add(format!("{embeddings}.sum"), &[words, places, types]);
    let mut x = builder.layer_norm(&format!("{embeddings}.LayerNorm"), eps, sum);

    let layers = format!("{prefix}.encoder.layer");
    let block = Block {
        names: &BERT,
        heads: &heads,
        eps,
        activation: &activation,
    };
    for layer in 0..source.layers(&layers, "output.dense.weight", LAYERS)? {
        x = block.build(&mut builder, &format!("{layers}.{layer}"), x);
    }

    match task {
        Task::TokenClassification => {
            builder.linear(EVERY_TOKEN, x);
            return Ok(builder.finish_for(task, input));
        }
        Task::Representation => {
            builder.body(
                source,
                &format!("{prefix}.pooler.dense"),
                &[x, Operand::Input],
            );
            return Ok(builder.finish_for(task, input));
        }
        Task::Classification | Task::NextToken => {}
    }
    let first = builder.first_token(x);
    let pooled = builder.linear(head[0], first);
    let pooled = builder.push("pooled", Op::Tanh {}, &[pooled]);
    builder.linear(head[1], pooled);
    Ok(builder.finish(input))
}

/// No token types; the head has a `relu`, but for that of every token.
pub(super) fn distilbert(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.encoder_task()?;
    let heads = Attending::plain(source.count_of(&["n_heads", "num_attention_heads"])?, true);
    let activation = source.activation("activation", "gelu")?;
    let (eps, embeddings) = (1e-12, "distilbert.embeddings");
    let table = format!("{embeddings}.position_embeddings");
    let input = source.ids(&format!("{table}.weight"), 0)?;

    let mut builder = Builder::default();
    let words = builder.embedding(&format!("{embeddings}.word_embeddings"));
    let places = builder.positions(&table);
    let sum = builder.add(format!("{embeddings}.sum"), &[words, places]);
    let mut x = builder.layer_norm(&format!("{embeddings}.LayerNorm"), eps, sum);

    let layers = "distilbert.transformer.layer";
    let block = Block {
        names: &DISTILBERT,
        heads: &heads,
        eps,
        activation: &activation,
    };
    for layer in 0..source.layers(
        layers,
        "ffn.lin1.weight",
        &["n_layers", "num_hidden_layers"],
    )? {
        x = block.build(&mut builder, &format!("{layers}.{layer}"), x);
    }

    match task {
        Task::TokenClassification => {
            builder.linear(EVERY_TOKEN, x);
            return Ok(builder.finish_for(task, input));
        }
        Task::Representation => return Ok(builder.finish_for(task, input)),
        Task::Classification | Task::NextToken => {}
    }
    let first = builder.first_token(x);
    let pooled = builder.linear("pre_classifier", first);
    let pooled = builder.push("pooled", Op::Relu {}, &[pooled]);
    builder.linear("classifier", pooled);
    Ok(builder.finish(input))
}

/// How the blocks of a network compute.
struct Block<'a> {
    names: &'a BlockNames,
    heads: &'a Attending,
    eps: f64,
    activation: &'a Op,
}

impl Block<'_> {
    /// A block whose layers' names begin with `prefix`.
    fn build(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        let BlockNames {
            qkv,
            attention_out,
            attention_norm,
            up,
            down,
            norm,
        } = self.names;
        let qkv = qkv.map(|part| format!("{prefix}.{part}"));
        let attended = builder.attend(qkv, self.heads, x);
        let attended = builder.linear(&format!("{prefix}.{attention_out}"), attended);
        let sum = builder.add(format!("{prefix}.attention.sum"), &[attended, x]);
        let x = builder.layer_norm(&format!("{prefix}.{attention_norm}"), self.eps, sum);

        let hidden = builder.linear(&format!("{prefix}.{up}"), x);
        let activation = self.activation.clone();
        let hidden = builder.push(format!("{prefix}.activation"), activation, &[hidden]);
        let output = builder.linear(&format!("{prefix}.{down}"), hidden);
        let sum = builder.add(format!("{prefix}.sum"), &[output, x]);
        builder.layer_norm(&format!("{prefix}.{norm}"), self.eps, sum)
    }
}
