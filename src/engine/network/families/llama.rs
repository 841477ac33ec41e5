//! Llama and the families of its kind, for sequence classification or as language models, with Hugging
//! Face's names. A class is read from the last token that is no padding.
//!
//! What differs among them is data: the names and places of norms, defaults, which layers have a window
//! (`dialect`), what is multiplied by constants (`multipliers`), which rotary positions and windows the layers
//! have (`layers`), which of them have experts (`experts`).

mod biases;
mod dialect;
mod experts;
mod layers;
mod multipliers;

use super::{
    Builder, Source,
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{HeadNorms, Op},
    resolve::MAX_VALUES,
};
use dialect::{Dialect, QueryNorms};
use experts::Routed;
use layers::LayerKind;
use multipliers::Multipliers;

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let task = source.causal_task("ForCausalLM")?;
    let dialect = Dialect::of(source.config);
    let heads = source.count("num_attention_heads")?;
    let kv_heads = dialect.kv_heads(source)?;
    dialect.biases.check(
        source,
        dialect.first_projection(),
        dialect.gate_projection(),
    )?;
    check_padding(source)?;
    dialect.check_rotary(source)?;
    let first = format!("{}.weight", dialect.first_projection());
    let depth = source.layers("model.layers", &first, LAYERS)?;
    let activation = dialect.activation(source)?;
    let routed = dialect
        .experts
        .map(|keys| Routed::read(source, keys, &activation, depth));
    let decoder = Decoder {
        dialect,
        eps: source.number("rms_norm_eps", dialect.eps)?,
        activation,
        heads: Attending {
            kv_heads,
            causal: true,
            ..Attending::plain(heads, true)
        },
        multipliers: Multipliers::read(source, dialect)?,
        routed: routed.transpose()?,
    };

    let mut builder = Builder::default();
    let words = builder.embedding("model.embed_tokens");
    let mut x = scaled(
        &mut builder,
        "model.scale".into(),
        decoder.multipliers.embedding,
        words,
    );
    for (layer, kind) in layers::kinds(source, dialect, depth)?
        .into_iter()
        .enumerate()
    {
        x = decoder.block(&mut builder, layer, kind, x);
    }
    let x = decoder.norm(&mut builder, "model.norm".into(), x);

    let logits = builder.causal_head(source, task, "model.embed_tokens", x)?;
    if task == Task::NextToken {
        decoder.multipliers.logits(&mut builder, logits);
    }

    Ok(builder.finish_for(
        task,
        Input::Tokens {
            shape: [longest(source, task)?],
        },
    ))
}

/// Whether some layers of a family have experts.
pub(super) fn has_experts(model_type: &str) -> bool {
    Dialect::named(model_type).experts.is_some()
}

/// The library makes no embedding without a row for its padding.
fn check_padding(source: &Source<'_>) -> Result<(), GraphError> {
    let [rows, _] = source.shape("model.embed_tokens.weight")?;
    match source.padding()? {
        Some(id) if id as usize >= rows && source.config.get("pad_token_id").is_none() => {
            let detail = format!(
                "pad_token_id: without the key it is {id}, but there are {rows} tokens; give one, or null"
            );
            Err(GraphError::Malformed { detail })
        }
        _ => Ok(()),
    }
}

/// As many positions as the configuration has, and no more than logits can be held of.
fn longest(source: &Source<'_>, task: Task) -> Result<usize, GraphError> {
    let positions = source.count("max_position_embeddings")?;
    let widths = source.signature.iter().filter(|(name, info)| {
        let is_output = task == Task::NextToken || name.as_str() != "model.embed_tokens.weight";
        is_output && info.shape.len() == 2 && !info.shape.contains(&0)
    });
    let widest = widths.map(|(_, info)| info.shape[0]).max().unwrap_or(1);
    Ok(positions.min(MAX_VALUES / widest).max(1))
}

/// Times a constant, where there is one.
fn scaled(builder: &mut Builder, id: String, factor: Option<f64>, x: Operand) -> Operand {
    match factor {
        Some(factor) => builder.push(id, Op::Scale { factor }, &[x]),
        None => x,
    }
}

/// What all blocks share.
struct Decoder {
    dialect: &'static Dialect,
    eps: f64,
    activation: Op,
    heads: Attending,
    multipliers: Multipliers,
    /// Where the family has experts.
    routed: Option<Routed>,
}

impl Decoder {
    fn norm(&self, builder: &mut Builder, param: String, x: Operand) -> Operand {
        let &Self {
            eps,
            dialect: &Dialect { unit_offset, .. },
            ..
        } = self;

        builder.push(
            param.clone(),
            Op::RmsNorm {
                param,
                eps,
                unit_offset,
            },
            &[x],
        )
    }

    /// The norm of this name in a block, where the family has one there.
    fn norm_at(
        &self,
        builder: &mut Builder,
        block: usize,
        place: Option<&str>,
        x: Operand,
    ) -> Operand {
        place.map_or(x, |place| self.norm(builder, named(block, place), x))
    }

    fn block(&self, builder: &mut Builder, block: usize, kind: LayerKind, x: Operand) -> Operand {
        let norms = &self.dialect.norms;
        let residual = self.multipliers.residual;

        let normed = self.norm_at(builder, block, norms.before_attention, x);
        let attended = self.attention(builder, block, kind, normed);
        let attended = self.norm_at(builder, block, norms.after_attention, attended);
        let attended = scaled(builder, named(block, "self_attn.scale"), residual, attended);
        let x = builder.add(named(block, "self_attn.sum"), &[attended, x]);

        let normed = self.norm_at(builder, block, norms.before_mlp, x);
        let output = match self.routed.as_ref().filter(|routed| routed.has(block)) {
            Some(routed) => routed.push(builder, block, normed),
            None => self.mlp(builder, block, normed),
        };
        let output = self.norm_at(builder, block, norms.after_mlp, output);
        let output = scaled(builder, named(block, "mlp.scale"), residual, output);

        builder.add(named(block, "mlp.sum"), &[output, x])
    }

    fn attention(
        &self,
        builder: &mut Builder,
        block: usize,
        kind: LayerKind,
        x: Operand,
    ) -> Operand {
        let norms = ["self_attn.q_norm", "self_attn.k_norm"].map(|norm| named(block, norm));
        let projections: &[&str] = if self.dialect.fused_attention {
            &["self_attn.qkv_proj"]
        } else {
            &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
        };

        let mut operands: Vec<Operand> = projections
            .iter()
            .map(|name| builder.linear(&named(block, name), x))
            .collect();
        if self.dialect.query_norms == QueryNorms::Whole {
            for (operand, norm) in operands.iter_mut().zip(&norms) {
                *operand = self.norm(builder, norm.clone(), *operand);
            }
        }

        let heads = Attending {
            window: kind.window,
            rotary: kind.rotary,
            head_norms: self.head_norms(norms),
            scale: self.multipliers.attention,
            soft_cap: self.multipliers.scores_cap,
            fully_masked: self.dialect.fully_masked,
            sinks: self.dialect.sinks.then(|| named(block, "self_attn.sinks")),
            ..self.heads.clone()
        };
        let id = format!("{}.attention", named(block, projections[0]));
        let attended = builder.attention(id, &heads, &operands);

        builder.linear(&named(block, "self_attn.o_proj"), attended)
    }

    fn head_norms(&self, [queries, keys]: [String; 2]) -> Option<HeadNorms> {
        let &Self {
            eps,
            dialect: &Dialect { unit_offset, .. },
            ..
        } = self;
        let is_of_heads = self.dialect.query_norms == QueryNorms::OfEachHead;

        is_of_heads.then_some(HeadNorms {
            queries,
            keys,
            eps,
            unit_offset,
        })
    }

    fn mlp(&self, builder: &mut Builder, block: usize, x: Operand) -> Operand {
        let fused = self
            .dialect
            .fused_mlp
            .then(|| builder.linear(&named(block, "mlp.gate_up_proj"), x));

        let gate = match fused {
            Some(fused) => half(builder, named(block, "mlp.gate"), 0, fused),
            None => builder.linear(&named(block, "mlp.gate_proj"), x),
        };
        let gate = builder.push(named(block, "mlp.act"), self.activation.clone(), &[gate]);
        let up = match fused {
            Some(fused) => half(builder, named(block, "mlp.up"), 1, fused),
            None => builder.linear(&named(block, "mlp.up_proj"), x),
        };
        let hidden = builder.push(named(block, "mlp.gated"), Op::Gate {}, &[gate, up]);

        builder.linear(&named(block, "mlp.down_proj"), hidden)
    }
}

fn named(block: usize, suffix: &str) -> String {
    format!("model.layers.{block}.{suffix}")
}

fn half(builder: &mut Builder, id: String, part: usize, fused: Operand) -> Operand {
    builder.push(id, Op::Split { parts: 2, part }, &[fused])
}
