//! ELECTRA with Hugging Face's names: BERT's encoder on embeddings that may be narrower than it. The
//! head has a `gelu` where `RoBERTa`'s has a tanh; there is no pooler.

use super::{
    Builder, Source,
    post_norm::{self, Block, Embeddings, Head, Words},
    transformer::{Attending, LAYERS},
};
use crate::network::{error::GraphError, graph::Graph, op::Op};

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.encoder_task()?;
    let embeddings = Embeddings {
        prefix: "electra.embeddings",
        eps: source.number("layer_norm_eps", 1e-12)?,
        padding: None,
        has_types: true,
    };
    let block = Block {
        names: &post_norm::BERT,
        heads: &Attending::plain(source.count("num_attention_heads")?, true),
        eps: embeddings.eps,
        activation: &source.activation("hidden_act", "gelu")?,
    };
    let input = embeddings.input(source)?;
    let layers = "electra.encoder.layer";
    let [_, narrow] = source.shape("electra.embeddings.word_embeddings.weight")?;
    let [_, wide] = source.shape(&format!("{layers}.0.attention.self.query.weight"))?;

    let mut builder = Builder::default();
    let mut x = embeddings.push(&mut builder);
    // The library has no such layer where nothing is to be widened.
    if narrow != wide {
        x = builder.linear("electra.embeddings_project", x);
    }
    for layer in 0..source.layers(layers, "output.dense.weight", LAYERS)? {
        x = block.push(&mut builder, &format!("{layers}.{layer}"), x);
    }
    let head = Head {
        layers: ["classifier.dense", "classifier.out_proj"],
        activation: Op::Gelu {},
        pooler: None,
        words: Words {
            dense: "generator_predictions.dense",
            activation: Op::Gelu {},
            norm: "generator_predictions.LayerNorm",
            eps: embeddings.eps,
        },
    };

    head.finish(source, builder, input, x)
}
