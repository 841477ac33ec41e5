//! timm's vision transformers, `vit_*` and `deit_*`: a class token, registers, a norm before the blocks and factors of
//! layers are read from the tensors, what else a name implies is told by it.

use super::{
    Builder, Source, settings,
    transformer::Attending,
    vit::{Embeddings, sides},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::Op,
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

/// Parts of the names of other networks: they compute otherwise below tensors that may look the same.
const OTHERS: [&str; 9] = [
    "_rpn_", "rope", "relpos", "dinov3", "sapiens", "lingbot", "_pe_", "_xp_", "_5b_",
];

/// How names begin whose activation is `gelu_tanh`.
const WITH_GELU_TANH: [&str; 5] = [
    "vit_base_patch32_siglip_",
    "vit_giantopt_patch16_siglip_",
    "vit_large_patch16_siglip_512",
    "vit_large_patch16_siglip_gap_512",
    "vit_so400m_patch16_siglip_",
];

/// What a name implies and no tensor shows.
pub(super) struct Implied {
    pub activation: &'static str,
    /// Of the norms.
    pub eps: f64,
    /// How the tokens become one.
    pub pool: &'static str,
}

/// The eps of timm's layer norm.
const EPS: f64 = 1e-6;

impl Implied {
    /// Nothing of a network of another kind.
    pub fn of(name: &str) -> Option<Self> {
        if OTHERS.iter().any(|part| name.contains(part)) {
            return None;
        }
        let has_gelu_tanh = WITH_GELU_TANH
            .iter()
            .any(|beginning| name.starts_with(beginning));
        let activation = if name.contains("quickgelu") {
            "quick_gelu"
        } else if has_gelu_tanh {
            "gelu_tanh"
        } else {
            "gelu"
        };
        let pool = if name.contains("_gap") {
            "avg"
        } else if name.contains("_siglip") || name.contains("_map_") {
            "map"
        } else {
            "token"
        };

        Some(Self {
            activation,
            eps: if name.contains("_clip_") { 1e-5 } else { EPS },
            pool,
        })
    }
}

/// What all blocks have in common.
struct Blocks<'a> {
    source: &'a Source<'a>,
    heads: Attending,
    eps: f64,
    activation: Op,
}

/// `model_args.num_heads` overrides the name's number of heads, and is needed where the name tells none.
pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let name = source.architecture();
    let Some(implied) = Implied::of(name) else {
        let detail = format!("architecture: {name:?} is another network than vit_*");
        return Err(GraphError::Malformed { detail });
    };
    let pool = pool(source).unwrap_or(implied.pool);
    settings::check_timm(source.config, &settings::TIMM_VIT, pool)?;
    if !["token", "avg", "map"].contains(&pool) {
        let detail =
            format!("global_pool: {pool:?} is not supported; only \"token\", \"avg\" and \"map\"");
        return Err(GraphError::Malformed { detail });
    }
    let arguments = &source.config["model_args"];
    let activation = arguments["act_layer"]
        .as_str()
        .unwrap_or(implied.activation);
    // A norm that is named anew has timm's own eps.
    let has_own_norm = !arguments["norm_layer"].is_null();
    let blocks = Blocks {
        source,
        heads: Attending::plain(heads(source)?, false),
        eps: if has_own_norm { EPS } else { implied.eps },
        activation: activation_of(activation)?,
    };

    let prefix: Vec<&str> = ["cls_token", "reg_token"]
        .into_iter()
        .filter(|tokens| source.has(tokens))
        .collect();
    let names = Embeddings {
        patches: "patch_embed.proj",
        prefix: &prefix,
        positions: "pos_embed",
    };
    let input = image(source)?;
    let mut builder = Builder::default();
    let mut x = names.build(&mut builder, source, &input)?;
    if source.has("norm_pre.weight") {
        x = blocks.norm(&mut builder, "norm_pre", x)?;
    }
    for block in 0..source.depth("blocks", "attn.qkv.weight") {
        x = blocks.block(&mut builder, &format!("blocks.{block}"), x)?;
    }

    if source.has("norm.weight") {
        x = blocks.norm(&mut builder, "norm", x)?;
    }
    let mut pooled = blocks.pooled(&mut builder, pool, &prefix, x)?;
    if source.has("fc_norm.weight") {
        pooled = blocks.norm(&mut builder, "fc_norm", pooled)?;
    }
    builder.linear("head", pooled);

    Ok(builder.finish(input))
}

fn heads(source: &Source<'_>) -> Result<usize, GraphError> {
    let name = source.architecture();
    let given = source.config["model_args"]["num_heads"].as_u64();
    let given = given.and_then(|heads| usize::try_from(heads).ok());
    given.or(heads_of(name)).ok_or_else(|| {
        let known = HEADS.map(|(prefix, _)| format!("{prefix}*")).join(", ");
        let detail = format!(
            "model_args.num_heads: is missing for {name:?}; the name alone tells it for {known}"
        );
        GraphError::Malformed { detail }
    })
}

/// By timm's name.
fn activation_of(name: &str) -> Result<Op, GraphError> {
    match name {
        "gelu" | "GELU" => Ok(Op::Gelu {}),
        "gelu_tanh" | "GELUTanh" => Ok(Op::GeluTanh {}),
        "quick_gelu" => Ok(Op::QuickGelu {}),
        "relu" | "ReLU" => Ok(Op::Relu {}),
        "silu" | "swish" | "SiLU" => Ok(Op::Silu {}),
        other => Err(GraphError::Malformed {
            detail: format!("model_args.act_layer: {other:?} is not supported"),
        }),
    }
}

/// How the tokens become one, by the first place that says it; the others must say the same.
fn pool<'a>(source: &Source<'a>) -> Option<&'a str> {
    let config = source.config;
    let places = [&config["model_args"], config, &config["pretrained_cfg"]];
    places
        .into_iter()
        .find_map(|place| place["global_pool"].as_str())
}

/// Images of the size that the positions were made for: the library reads no other, also where another shape has as
/// many patches.
pub(super) fn image(source: &Source<'_>) -> Result<Input, GraphError> {
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

impl Blocks<'_> {
    /// Without a bias it is another norm, which no tensor tells otherwise.
    fn norm(&self, builder: &mut Builder, param: &str, x: Operand) -> Result<Operand, GraphError> {
        self.source.shape::<1>(&format!("{param}.bias"))?;
        Ok(builder.layer_norm(param, self.eps, x))
    }

    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let name = Block { prefix };
        self.check_mlp(&name)?;
        let normed = self.norm(builder, &name.of("norm1"), input)?;
        let fused = builder.linear(&name.of("attn.qkv"), normed);
        let attended = builder.attention(name.of("attn"), &self.heads, &[fused]);
        let attended = builder.linear(&name.of("attn.proj"), attended);
        let attended = self.scaled(builder, &name.of("ls1"), attended);
        let x = builder.add(name.of("attn.sum"), &[attended, input]);

        let normed = self.norm(builder, &name.of("norm2"), x)?;
        let output = self.mlp(builder, &name, normed);
        let output = self.scaled(builder, &name.of("ls2"), output);

        Ok(builder.add(name.of("mlp.sum"), &[output, x]))
    }

    /// The tokens as one; those of `prefix` stand before the patches.
    fn pooled(
        &self,
        builder: &mut Builder,
        pool: &str,
        prefix: &[&str],
        x: Operand,
    ) -> Result<Operand, GraphError> {
        match pool {
            "token" => {
                self.source.shape::<3>("cls_token")?;
                Ok(builder.first_token(x))
            }
            "map" if prefix.is_empty() => self.attention_pool(builder, x),
            "map" => {
                let detail = format!("global_pool: \"map\" is not supported beside {prefix:?}");
                Err(GraphError::Malformed { detail })
            }
            _ => {
                let mut skip = 0usize;
                for tokens in prefix {
                    let [_, count, _] = self.source.shape(tokens)?;
                    skip = skip.saturating_add(count);
                }
                Ok(builder.push("patches.mean", Op::MeanTokens { skip }, &[x]))
            }
        }
    }

    /// One query that is learned attends to the patches, and a hidden layer follows (Lee et al. 2019, section 3.2).
    fn attention_pool(&self, builder: &mut Builder, x: Operand) -> Result<Operand, GraphError> {
        let name = Block {
            prefix: "attn_pool",
        };
        self.check_mlp(&name)?;
        let latent = name.of("latent");
        let op = Op::Table {
            param: latent.clone(),
            bare: true,
        };
        let latent = builder.push(latent, op, &[Operand::Input]);
        let query = builder.linear(&name.of("q"), latent);
        let both = builder.linear(&name.of("kv"), x);
        let [keys, values] = [0, 1].map(|part| {
            let id = format!("{}.{part}", name.of("kv"));
            builder.push(id, Op::Split { parts: 2, part }, &[both])
        });
        let heads = Attending {
            cross: true,
            ..self.heads.clone()
        };
        let attended = builder.attention(name.of("attn"), &heads, &[query, keys, values]);
        let pooled = builder.linear(&name.of("proj"), attended);

        let normed = self.norm(builder, &name.of("norm"), pooled)?;
        let output = self.mlp(builder, &name, normed);
        let sum = builder.add(name.of("sum"), &[output, pooled]);
        Ok(builder.first_token(sum))
    }

    /// Refuses gated hidden layers.
    fn check_mlp(&self, name: &Block<'_>) -> Result<(), GraphError> {
        let [up, down] = [name.of("mlp.fc1.weight"), name.of("mlp.fc2.weight")];
        let ([hidden, _], [_, read]) = (self.source.shape(&up)?, self.source.shape(&down)?);
        if hidden == read {
            return Ok(());
        }
        let detail = format!(
            "architecture: its mlp_layer is gated ({up} has {hidden} rows, {down} reads {read}), which is not \
             supported"
        );
        Err(GraphError::Malformed { detail })
    }

    fn mlp(&self, builder: &mut Builder, name: &Block<'_>, x: Operand) -> Operand {
        let hidden = builder.linear(&name.of("mlp.fc1"), x);
        let hidden = builder.push(name.of("mlp.act"), self.activation.clone(), &[hidden]);
        builder.linear(&name.of("mlp.fc2"), hidden)
    }

    fn scaled(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        if self.source.has(&format!("{param}.gamma")) {
            return builder.layer_scale(param, "gamma", x);
        }
        x
    }
}

/// The names of a block's tensors.
struct Block<'a> {
    prefix: &'a str,
}

impl Block<'_> {
    fn of(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
                ("norm.bias", &[512]),
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
