//! BERT, `RoBERTa`, `DistilBERT` and `MPNet` below the heads that encoders have, with Hugging Face's names.
//!
//! Norms stand after each sum. Token types are those of the data, the first where it has none.

use super::{
    Builder, Source,
    post_norm::{self, Block, BlockNames, Embeddings, Head, Words},
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::Graph,
    op::{FullyMasked, Op, PositionBias},
};

const DISTILBERT: BlockNames = BlockNames {
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

const MPNET: BlockNames = BlockNames {
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    attention_out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..post_norm::BERT
};
/// The head of words of `RoBERTa` and `MPNet`, whose activation is the library's own.
const ROBERTA_WORDS: Words<'static> = Words {
    dense: "lm_head.dense",
    activation: Op::Gelu {},
    norm: "lm_head.layer_norm",
    eps: 1e-12,
};
/// The library's, which it reads from no configuration.
const MPNET_PADDING: u32 = 1;
const MPNET_BUCKETS: usize = 32;
const MPNET_DISTANCE: usize = 128;

/// The head: a pooled first token, tanh, the classifier. Of every token it is the last layer alone.
pub(super) fn bert(source: &Source<'_>) -> Result<Graph, GraphError> {
    let embeddings = Embeddings {
        prefix: "bert.embeddings",
        eps: source.number("layer_norm_eps", 1e-12)?,
        padding: None,
        has_types: true,
    };
    let head = Head {
        layers: ["bert.pooler.dense", "classifier"],
        activation: Op::Tanh {},
        pooler: Some("bert.pooler.dense"),
        words: Words {
            dense: "cls.predictions.transform.dense",
            activation: source.activation("hidden_act", "gelu")?,
            norm: "cls.predictions.transform.LayerNorm",
            eps: embeddings.eps,
        },
    };

    bert_like(source, &embeddings, head)
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
    let embeddings = Embeddings {
        prefix: "roberta.embeddings",
        eps: source.number("layer_norm_eps", 1e-12)?,
        padding: Some(padding),
        has_types: true,
    };
    let head = Head {
        layers: ["classifier.dense", "classifier.out_proj"],
        activation: Op::Tanh {},
        pooler: Some("roberta.pooler.dense"),
        words: Words {
            eps: embeddings.eps,
            ..ROBERTA_WORDS
        },
    };

    bert_like(source, &embeddings, head)
}

fn bert_like(
    source: &Source<'_>,
    embeddings: &Embeddings<'_>,
    head: Head<'_>,
) -> Result<Graph, GraphError> {
    source.encoder_task()?;
    let block = Block {
        names: &post_norm::BERT,
        heads: &Attending::plain(source.count("num_attention_heads")?, true),
        eps: embeddings.eps,
        activation: &source.activation("hidden_act", "gelu")?,
    };
    let input = embeddings.input(source)?;

    let mut builder = Builder::default();
    let mut x = embeddings.push(&mut builder);
    let layers = embeddings.prefix.replace("embeddings", "encoder.layer");
    for layer in 0..source.layers(&layers, "output.dense.weight", LAYERS)? {
        x = block.push(&mut builder, &format!("{layers}.{layer}"), x);
    }

    head.finish(source, builder, input, x)
}

/// No token types; the head has a `relu`, but for that of every token.
pub(super) fn distilbert(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.encoder_task()?;
    let embeddings = Embeddings {
        prefix: "distilbert.embeddings",
        eps: 1e-12,
        padding: None,
        has_types: false,
    };
    let block = Block {
        names: &DISTILBERT,
        heads: &Attending::plain(source.count_of(&["n_heads", "num_attention_heads"])?, true),
        eps: embeddings.eps,
        activation: &source.activation("activation", "gelu")?,
    };
    let input = embeddings.input(source)?;

    let mut builder = Builder::default();
    let mut x = embeddings.push(&mut builder);
    let layers = "distilbert.transformer.layer";
    let keys = ["n_layers", "num_hidden_layers"];
    for layer in 0..source.layers(layers, "ffn.lin1.weight", &keys)? {
        x = block.push(&mut builder, &format!("{layers}.{layer}"), x);
    }
    let head = Head {
        layers: ["pre_classifier", "classifier"],
        activation: Op::Relu {},
        pooler: None,
        words: Words {
            dense: "vocab_transform",
            activation: source.activation("activation", "gelu")?,
            norm: "vocab_layer_norm",
            eps: embeddings.eps,
        },
    };

    head.finish(source, builder, input, x)
}

/// Every score has a bias by the distance of its key, of one table for all layers; no token types.
pub(super) fn mpnet(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.encoder_task()?;
    let embeddings = Embeddings {
        prefix: "mpnet.embeddings",
        eps: source.number("layer_norm_eps", 1e-12)?,
        padding: Some(MPNET_PADDING),
        has_types: false,
    };
    let bias = PositionBias {
        param: "mpnet.encoder.relative_attention_bias".into(),
        buckets: MPNET_BUCKETS,
        max_distance: MPNET_DISTANCE,
        one_sided: false,
    };
    let heads = Attending {
        position_bias: Some(bias),
        fully_masked: FullyMasked::Mean,
        ..Attending::plain(source.count("num_attention_heads")?, true)
    };
    let block = Block {
        names: &MPNET,
        heads: &heads,
        eps: embeddings.eps,
        activation: &source.activation("hidden_act", "gelu")?,
    };
    let input = embeddings.input(source)?;

    let mut builder = Builder::default();
    let mut x = embeddings.push(&mut builder);
    let layers = "mpnet.encoder.layer";
    for layer in 0..source.layers(layers, "output.dense.weight", LAYERS)? {
        x = block.push(&mut builder, &format!("{layers}.{layer}"), x);
    }
    let head = Head {
        layers: ["classifier.dense", "classifier.out_proj"],
        activation: Op::Tanh {},
        pooler: Some("mpnet.pooler.dense"),
        words: Words {
            eps: embeddings.eps,
            ..ROBERTA_WORDS
        },
    };

    head.finish(source, builder, input, x)
}
