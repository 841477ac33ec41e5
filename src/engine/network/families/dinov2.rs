//! Hugging Face's `DINOv2` (Oquab et al. 2024), with registers (Darcet et al. 2024) or without: a vision transformer
//! whose classifier reads the class token beside the mean of the patches.

use super::{
    Builder, Source,
    transformer::{Attending, LAYERS},
    vit::sides,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{Op, Pair, Resampled},
};

/// What stands in front of the patches.
struct Names {
    body: &'static str,
    embeddings: String,
}

impl Names {
    fn of(source: &Source<'_>) -> Self {
        let body = if source.config["model_type"] == "dinov2_with_registers" {
            "dinov2_with_registers"
        } else {
            "dinov2"
        };
        Self {
            body,
            embeddings: format!("{body}.embeddings"),
        }
    }

    fn embedding(&self, part: &str) -> String {
        format!("{}.{part}", self.embeddings)
    }
}

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let is_body = source.is_body();
    if !is_body {
        source.head("ForImageClassification")?;
    }
    let names = Names::of(source);
    let projection = format!("{}.weight", names.embedding("patch_embeddings.projection"));
    let input = image(source, &projection)?;
    let mut builder = Builder::default();
    let mut x = embedded(&mut builder, source, &names, &input)?;

    let blocks = Blocks {
        source,
        heads: Attending::plain(source.count("num_attention_heads")?, false),
        eps: source.number("layer_norm_eps", 1e-6)?,
        activation: source.activation("hidden_act", "gelu")?,
    };
    let layers = format!("{}.encoder.layer", names.body);
    for layer in 0..source.layers(&layers, "norm1.weight", LAYERS)? {
        x = blocks.block(&mut builder, &format!("{layers}.{layer}"), x);
    }

    let normed = builder.layer_norm(&format!("{}.layernorm", names.body), blocks.eps, x);
    if is_body {
        return Ok(builder.finish_for(Task::Representation, input));
    }
    // Registers are no patches, nor is the class token.
    let registers = source
        .signature
        .get(&names.embedding("register_tokens"))
        .and_then(|info| info.shape.get(1).copied());
    let first = builder.first_token(normed);
    let skip = registers.unwrap_or_default().saturating_add(1);
    let mean = builder.push("patches.mean", Op::MeanTokens { skip }, &[normed]);
    let both = builder.push("first_and_mean", Op::Concat {}, &[first, mean]);
    builder.linear("classifier", both);

    Ok(builder.finish(input))
}

/// The samples' own size, else that of the configuration: positions are interpolated.
fn image(source: &Source<'_>, projection: &str) -> Result<Input, GraphError> {
    let [_, channels, ..] = source.shape::<4>(projection)?;
    let [height, width] = match source.sample {
        Some(&[own, height, width]) if own == channels => [height, width],
        _ => sides("image_size", &source.config["image_size"])?,
    };
    Ok(Input::Image {
        shape: [channels, height, width],
    })
}

/// Class token, registers and patches, with positions of all but the registers.
fn embedded(
    builder: &mut Builder,
    source: &Source<'_>,
    names: &Names,
    input: &Input,
) -> Result<Operand, GraphError> {
    let projection = names.embedding("patch_embeddings.projection");
    let x = builder.push(
        projection.clone(),
        Op::PatchEmbed { param: projection },
        &[Operand::Input],
    );
    let class = names.embedding("cls_token");
    let op = Op::ClassToken {
        param: class.clone(),
        flat: false,
        at: 0,
    };
    let x = builder.push(class, op, &[x]);

    let param = names.embedding("position_embeddings");
    let op = Op::PositionEmbedding {
        resampled: grid(source, names, input)?,
        param: param.clone(),
        bare: true,
        offset: 0,
        constant: false,
        padding: None,
        frozen: false,
    };
    let places = builder.push(param.clone(), op, &[x]);
    let x = builder.add(format!("{param}.sum"), &[x, places]);

    let registers = names.embedding("register_tokens");
    if !source.has(&registers) {
        return Ok(x);
    }
    let op = Op::ClassToken {
        param: registers.clone(),
        flat: false,
        at: 1,
    };

    Ok(builder.push(registers, op, &[x]))
}

/// How the positions are interpolated, if the images have another grid: the table's is taken for a square.
fn grid(
    source: &Source<'_>,
    names: &Names,
    input: &Input,
) -> Result<Option<Resampled>, GraphError> {
    let projection = names.embedding("patch_embeddings.projection.weight");
    let [_, _, height, width] = source.shape(&projection)?;
    let positions = names.embedding("position_embeddings");
    let [_, rows, _] = source.shape(&positions)?;
    let size = input.shape();
    let to = Pair(size[1] / height.max(1), size[2] / width.max(1));
    let side = rows.saturating_sub(1).isqrt();
    if side * side + 1 != rows {
        let detail =
            format!("{positions} has {rows} rows, not those of a class token and a square");
        return Err(GraphError::Malformed { detail });
    }

    let from = Pair(side, side);

    Ok((from != to).then_some(Resampled {
        from,
        to,
        prefix: 1,
        // The library does so in one of two models.
        antialias: names.body == "dinov2_with_registers",
    }))
}

/// What all blocks have in common.
struct Blocks<'a> {
    source: &'a Source<'a>,
    heads: Attending,
    eps: f64,
    activation: Op,
}

impl Blocks<'_> {
    fn block(&self, builder: &mut Builder, prefix: &str, input: Operand) -> Operand {
        let normed = builder.layer_norm(&format!("{prefix}.norm1"), self.eps, input);
        let qkv =
            ["query", "key", "value"].map(|part| format!("{prefix}.attention.attention.{part}"));
        let attended = builder.attend(qkv, &self.heads, normed);
        let attended = builder.linear(&format!("{prefix}.attention.output.dense"), attended);
        let attended = builder.layer_scale(&format!("{prefix}.layer_scale1"), "lambda1", attended);
        let x = builder.add(format!("{prefix}.attention.sum"), &[attended, input]);

        let normed = builder.layer_norm(&format!("{prefix}.norm2"), self.eps, x);
        let output = self.mlp(builder, &format!("{prefix}.mlp"), normed);
        let output = builder.layer_scale(&format!("{prefix}.layer_scale2"), "lambda1", output);

        builder.add(format!("{prefix}.sum"), &[output, x])
    }

    /// Two layers, or gated ones: gate and up are one layer in files.
    fn mlp(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        let fused = format!("{prefix}.weights_in");
        if self.source.has(&format!("{fused}.weight")) {
            let both = builder.linear(&fused, x);
            let [gate, up] = [0, 1].map(|part| {
                let op = Op::Split { parts: 2, part };
                builder.push(format!("{prefix}.part{part}"), op, &[both])
            });
            let gate = builder.push(format!("{prefix}.act"), Op::Silu {}, &[gate]);
            let hidden = builder.push(format!("{prefix}.gated"), Op::Gate {}, &[gate, up]);
            return builder.linear(&format!("{prefix}.weights_out"), hidden);
        }
        let hidden = builder.linear(&format!("{prefix}.fc1"), x);
        let hidden = builder.push(format!("{prefix}.act"), self.activation.clone(), &[hidden]);

        builder.linear(&format!("{prefix}.fc2"), hidden)
    }
}
