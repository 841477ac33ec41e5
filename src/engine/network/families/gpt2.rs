//! GPT-2 for sequence classification or as a language model, with Hugging Face's names. Its linear
//! layers are stored `[in, out]`; a class is read from the last token that is no padding.

use super::{Builder, Source, transformer::Attending};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.causal_task("LMHeadModel")?;
    let count = source.count_of(&["n_head", "num_attention_heads"])?;
    let heads = Attending {
        causal: true,
        ..Attending::plain(count, true)
    };
    let eps = source.number("layer_norm_epsilon", 1e-5)?;
    let activation = source.activation("activation_function", "gelu_new")?;
    let input = source.ids("transformer.wpe.weight", 0)?;

    let mut builder = Builder::default();
    let words = builder.embedding("transformer.wte");
    let places = builder.positions("transformer.wpe");
    let mut x = builder.add("transformer.sum".into(), &[words, places]);

    for layer in 0..source.layers(
        "transformer.h",
        "attn.c_attn.weight",
        &["n_layer", "num_hidden_layers"],
    )? {
        let name = |suffix: &str| format!("transformer.h.{layer}.{suffix}");
        let normed = builder.layer_norm(&name("ln_1"), eps, x);
        let fused = transposed(&mut builder, name("attn.c_attn"), normed);
        let attended = builder.attention(name("attn"), &heads, &[fused]);
        let attended = transposed(&mut builder, name("attn.c_proj"), attended);
        x = builder.add(name("attn.sum"), &[attended, x]);

        let normed = builder.layer_norm(&name("ln_2"), eps, x);
        let hidden = transposed(&mut builder, name("mlp.c_fc"), normed);
        let hidden = builder.push(name("mlp.act"), activation.clone(), &[hidden]);
        let output = transposed(&mut builder, name("mlp.c_proj"), hidden);
        x = builder.add(name("mlp.sum"), &[output, x]);
    }

    let normed = builder.layer_norm("transformer.ln_f", eps, x);
    builder.causal_head(source, task, "transformer.wte", normed)?;

    Ok(builder.finish_for(task, input))
}

fn transposed(builder: &mut Builder, param: String, x: Operand) -> Operand {
    builder.push(
        param.clone(),
        Op::Linear {
            param,
            transposed: true,
            bias: None,
        },
        &[x],
    )
}
