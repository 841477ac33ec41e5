//! Hugging Face's vision transformer (Dosovitskiy et al. 2021), and what all of them have in front of their blocks.

use serde_json::Value;

use super::{
    Builder, Source,
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{Op, Pair},
};

/// Hugging Face's `ViTForImageClassification`.
pub(super) fn hugging_face(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = if source.is_body() {
        Task::Representation
    } else {
        source.sample_task("ForImageClassification")?
    };
    let heads = Attending::plain(source.count("num_attention_heads")?, false);
    let eps = source.number("layer_norm_eps", 1e-12)?;
    let activation = source.activation("hidden_act", "gelu")?;
    let projection = "vit.embeddings.patch_embeddings.projection";
    let [_, channels, ..] = source.shape::<4>(&format!("{projection}.weight"))?;
    let [height, width] = sides("image_size", &source.config["image_size"])?;
    let input = Input::Image {
        shape: [channels, height, width],
    };
    let mut builder = Builder::default();
    let names = Embeddings {
        patches: projection,
        prefix: &["vit.embeddings.cls_token"],
        positions: "vit.embeddings.position_embeddings",
    };
    let mut x = names.build(&mut builder, source, &input)?;

    for layer in 0..source.layers("vit.encoder.layer", "output.dense.weight", LAYERS)? {
        let name = |suffix: &str| format!("vit.encoder.layer.{layer}.{suffix}");
        let normed = builder.layer_norm(&name("layernorm_before"), eps, x);
        let qkv =
            ["query", "key", "value"].map(|part| name(&format!("attention.attention.{part}")));
        let attended = builder.attend(qkv, &heads, normed);
        let attended = builder.linear(&name("attention.output.dense"), attended);
        x = builder.add(name("attention.sum"), &[attended, x]);

        let normed = builder.layer_norm(&name("layernorm_after"), eps, x);
        let hidden = builder.linear(&name("intermediate.dense"), normed);
        let hidden = builder.push(name("activation"), activation.clone(), &[hidden]);
        let output = builder.linear(&name("output.dense"), hidden);
        x = builder.add(name("sum"), &[output, x]);
    }

    let normed = builder.layer_norm("vit.layernorm", eps, x);
    if task == Task::Representation {
        builder.body(source, "vit.pooler.dense", &[normed]);
        return Ok(builder.finish_for(task, input));
    }
    let first = builder.first_token(normed);
    builder.linear("classifier", first);

    Ok(builder.finish_for(task, input))
}

/// Height and width, given as one number or as two.
pub(super) fn sides(key: &str, value: &Value) -> Result<[usize; 2], GraphError> {
    serde_json::from_value::<Pair>(value.clone())
        .map(Pair::array)
        .map_err(|_| {
            let detail = format!("{key}: give a whole number or [height, width], not {value}");
            GraphError::Malformed { detail }
        })
}

/// The tensors in front of the blocks.
pub(super) struct Embeddings<'a> {
    pub patches: &'a str,
    /// Tokens before the patches, `[1, R, D]` each: those of a class, and registers.
    pub prefix: &'a [&'a str],
    pub positions: &'a str,
}

impl Embeddings<'_> {
    /// Patches behind the other tokens, with a position for each; the others have none where the table has as many
    /// rows as there are patches.
    pub fn build(
        &self,
        builder: &mut Builder,
        source: &Source<'_>,
        input: &Input,
    ) -> Result<Operand, GraphError> {
        let [_, rows, _] = source.shape(self.positions)?;
        let [_, _, height, width] = source.shape(&format!("{}.weight", self.patches))?;
        let size = input.shape();
        let patches = (size[1] / height.max(1)).checked_mul(size[2] / width.max(1));
        let others = self.others(source)?;
        let tokens = patches.and_then(|patches| patches.checked_add(others));
        let has_bare_prefix = others > 0 && patches == Some(rows);
        if tokens != Some(rows) && !has_bare_prefix {
            let tokens = tokens.map_or("too many".to_owned(), |tokens| tokens.to_string());
            let expected = Value::from(size);
            let positions = self.positions;
            let detail =
                format!("{positions} has {rows} rows, but images {expected} make {tokens}");
            return Err(GraphError::Malformed { detail });
        }

        let param = self.patches.to_owned();
        let x = builder.push(self.patches, Op::PatchEmbed { param }, &[Operand::Input]);
        if has_bare_prefix {
            let x = self.placed(builder, x);
            return Ok(self.with_prefix(builder, x));
        }
        let x = self.with_prefix(builder, x);

        Ok(self.placed(builder, x))
    }

    /// How many tokens stand before the patches.
    pub fn others(&self, source: &Source<'_>) -> Result<usize, GraphError> {
        let mut others = 0usize;
        for tokens in self.prefix {
            let [_, count, _] = source.shape(tokens)?;
            others = others.saturating_add(count);
        }
        Ok(others)
    }

    /// The last is the first to stand before the patches.
    fn with_prefix(&self, builder: &mut Builder, mut x: Operand) -> Operand {
        for tokens in self.prefix.iter().rev() {
            let op = Op::ClassToken {
                param: (*tokens).to_owned(),
                flat: false,
                at: 0,
            };
            x = builder.push(*tokens, op, &[x]);
        }
        x
    }

    fn placed(&self, builder: &mut Builder, x: Operand) -> Operand {
        let op = Op::PositionEmbedding {
            param: self.positions.to_owned(),
            bare: true,
            offset: 0,
            constant: false,
            padding: None,
            frozen: false,
            resampled: None,
        };
        let places = builder.push(self.positions, op, &[x]);

        builder.add(format!("{}.sum", self.positions), &[x, places])
    }
}
