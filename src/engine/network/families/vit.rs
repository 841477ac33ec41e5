//! Vision transformers (Dosovitskiy et al. 2021) with timm's names or Hugging Face's.

use serde_json::Value;

use super::{
    Builder, Source, settings,
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{Op, Pair},
};

/// How many heads a model has by the beginning of its name, for timm's configuration does not say. The first
/// entry that fits counts.
const HEADS: [(&str, usize); 25] = [
    ("deit_tiny_", 3),
    ("deit_small_", 6),
    ("deit_base_", 12),
    ("vit_base_patch16_plus_", 14),
    ("vit_base_patch32_plus_", 14),
    ("vit_base_patch16_gap_", 16),
    ("vit_giant_patch14_dinov2", 24),
    ("vit_giant_patch14_reg", 24),
    ("vit_giant_patch16_radio", 24),
    ("vit_small_resnet", 8),
    ("vit_wee_", 4),
    ("vit_tiny_", 3),
    ("vit_little_", 5),
    ("vit_small_", 6),
    ("vit_medium_", 8),
    ("vit_mediumd_", 8),
    ("vit_betwixt_", 10),
    ("vit_base_", 12),
    ("vit_so150m_", 14),
    ("vit_so400m_", 16),
    ("vit_intern300m_", 16),
    ("vit_large_", 16),
    ("vit_huge_", 16),
    ("vit_giant_", 16),
    ("vit_gigantic_", 16),
];

/// timm's names, for messages.
pub(super) const PATTERNS: [&str; 2] = ["vit_*", "deit_*"];

/// Whether timm's architecture name is that of a vision transformer. What its tensors do not bear out
/// is refused for them; a distilled one has a second class token and a second head.
pub(super) fn is_timm(name: &str) -> bool {
    name.starts_with("vit_") || name.starts_with("deit_") && !name.contains("distilled")
}

/// How many heads an architecture has by its name.
pub(super) fn heads_of(name: &str) -> Option<usize> {
    HEADS
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, heads)| *heads)
}

/// Of names that tell the number of heads.
#[cfg(test)]
pub(super) fn prefixes() -> impl Iterator<Item = &'static str> {
    HEADS.iter().map(|(prefix, _)| *prefix)
}

/// timm's `vit_*`: the class is read from the class token. `model_args.num_heads` overrides the
/// name's number of heads, and is needed where the name tells none.
pub(super) fn timm(source: &Source<'_>) -> Result<Graph, GraphError> {
    settings::check_timm(source.config, &settings::TIMM_VIT, "token")?;
    let name = source.config["architecture"].as_str().unwrap_or_default();
    if name.contains("quickgelu") {
        let detail = format!("architecture: the activation of {name:?} is not supported");
        return Err(GraphError::Malformed { detail });
    }
    let given = source.config["model_args"]["num_heads"].as_u64();
    let named = heads_of(name);
    let Some(heads) = given.and_then(|v| usize::try_from(v).ok()).or(named) else {
        let known = HEADS.map(|(prefix, _)| format!("{prefix}*")).join(", ");
        let detail = format!(
            "model_args.num_heads: is missing for {name:?}; the name alone tells it for {known}"
        );
        return Err(GraphError::Malformed { detail });
    };
    let (heads, eps) = (Attending::plain(heads, false), 1e-6);
    let input = image_of_timm(source)?;
    let mut builder = Builder::default();
    let names = Embeddings {
        patches: "patch_embed.proj",
        class: "cls_token",
        positions: "pos_embed",
    };
    let mut x = names.build(&mut builder, source, &input)?;

    for block in 0..source.depth("blocks", "attn.qkv.weight") {
        let name = |suffix: &str| format!("blocks.{block}.{suffix}");
        // Without them it is another norm, which no tensor tells otherwise.
        for norm in ["norm1.bias", "norm2.bias"] {
            source.shape::<1>(&name(norm))?;
        }
        let [up, down] = [name("mlp.fc1.weight"), name("mlp.fc2.weight")];
        if let ([hidden, _], [_, read]) = (source.shape(&up)?, source.shape(&down)?)
            && hidden != read
        {
            let detail = format!(
                "architecture: its mlp_layer is gated ({up} has {hidden} rows, {down} reads {read}), which is \
                 not supported"
            );
            return Err(GraphError::Malformed { detail });
        }

        let normed = builder.layer_norm(&name("norm1"), eps, x);
        let fused = builder.linear(&name("attn.qkv"), normed);
        let attended = builder.attention(name("attn"), &heads, &[fused]);
        let attended = builder.linear(&name("attn.proj"), attended);
        let attended = scaled(&mut builder, source, name("ls1"), attended);
        x = builder.add(name("attn.sum"), &[attended, x]);

        let normed = builder.layer_norm(&name("norm2"), eps, x);
        let hidden = builder.linear(&name("mlp.fc1"), normed);
        let hidden = builder.push(name("mlp.act"), Op::Gelu {}, &[hidden]);
        let output = builder.linear(&name("mlp.fc2"), hidden);
        let output = scaled(&mut builder, source, name("ls2"), output);
        x = builder.add(name("mlp.sum"), &[output, x]);
    }

    let normed = builder.layer_norm("norm", eps, x);
    let first = builder.first_token(normed);
    builder.linear("head", first);
    Ok(builder.finish(input))
}

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
        class: "vit.embeddings.cls_token",
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

/// Images of the size that the positions were made for: both libraries read no other, also where another
/// shape has as many patches.
fn image_of_timm(source: &Source<'_>) -> Result<Input, GraphError> {
    let given = &source.config["model_args"]["img_size"];
    if given.is_null() {
        return source.stated_image("patch_embed.proj.weight");
    }
    let [_, channels, ..] = source.shape::<4>("patch_embed.proj.weight")?;
    let [height, width] = sides("model_args.img_size", given)?;
    Ok(Input::Image {
        shape: [channels, height, width],
    })
}

/// Height and width, given as one number or as two.
fn sides(key: &str, value: &Value) -> Result<[usize; 2], GraphError> {
    serde_json::from_value::<Pair>(value.clone())
        .map(Pair::array)
        .map_err(|_| {
            let detail = format!("{key}: give a whole number or [height, width], not {value}");
            GraphError::Malformed { detail }
        })
}

/// The tensors in front of the blocks.
struct Embeddings<'a> {
    patches: &'a str,
    class: &'a str,
    positions: &'a str,
}

impl Embeddings<'_> {
    /// Patches behind the class token, with their positions, one for each.
    fn build(
        &self,
        builder: &mut Builder,
        source: &Source<'_>,
        input: &Input,
    ) -> Result<Operand, GraphError> {
        let &Self {
            patches,
            class,
            positions,
        } = self;
        let [_, rows, _] = source.shape(positions)?;
        let [_, _, height, width] = source.shape(&format!("{patches}.weight"))?;
        let size = input.shape();
        let patches_of_image = (size[1] / height.max(1)).checked_mul(size[2] / width.max(1));
        let tokens = patches_of_image.and_then(|patches| patches.checked_add(1));
        if tokens != Some(rows) {
            let tokens = tokens.map_or("too many".to_owned(), |tokens| tokens.to_string());
            let expected = Value::from(size);
            let detail =
                format!("{positions} has {rows} rows, but images {expected} make {tokens}");
            return Err(GraphError::Malformed { detail });
        }

        let op = Op::PatchEmbed {
            param: patches.to_owned(),
        };
        let x = builder.push(patches, op, &[Operand::Input]);
        let x = builder.push(
            class,
            Op::ClassToken {
                param: class.to_owned(),
            },
            &[x],
        );
        let op = Op::PositionEmbedding {
            param: positions.to_owned(),
            bare: true,
            offset: 0,
            constant: false,
            padding: None,
            frozen: false,
        };
        let places = builder.push(positions, op, &[x]);
        Ok(builder.add(format!("{positions}.sum"), &[x, places]))
    }
}

fn scaled(builder: &mut Builder, source: &Source<'_>, param: String, x: Operand) -> Operand {
    if source.has(&format!("{param}.gamma")) {
        return builder.push(param.clone(), Op::LayerScale { param }, &[x]);
    }
    x
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::signature;
    use super::*;

    #[test]
    fn every_vit_is_built_whose_heads_are_told() {
        let tensors = signature(
            &[
                ("patch_embed.proj.weight", &[512, 3, 16, 16]),
                ("cls_token", &[1, 1, 512]),
                ("pos_embed", &[1, 197, 512]),
                ("blocks.0.attn.qkv.weight", &[1536, 512]),
                ("blocks.0.norm1.bias", &[512]),
                ("blocks.0.norm2.bias", &[512]),
                ("blocks.0.mlp.fc1.weight", &[2048, 512]),
                ("blocks.0.mlp.fc2.weight", &[512, 2048]),
            ],
            &[],
        );
        let heads = |config: Value| {
            let graph = Graph::from_config(&config, &tensors)?;
            Ok::<_, GraphError>(graph.nodes.iter().find_map(|node| match node.op {
                Op::Attention { heads, .. } => Some(heads),
                _ => None,
            }))
        };
        let medium = json!({"architecture": "vit_medium_patch16_224.x"});
        assert_eq!(heads(medium), Ok(Some(8)));
        let own = json!({"architecture": "vit_of_mine", "model_args": {"num_heads": 16}});
        assert_eq!(heads(own), Ok(Some(16)));
        let error = heads(json!({"architecture": "vit_of_mine"}))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("num_heads") && error.contains("vit_medium_*"),
            "{error}"
        );
    }
}
