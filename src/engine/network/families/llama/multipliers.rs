//! Constants by which a decoder multiplies what flows through it, and caps.

use serde_json::Value;

use super::{
    Builder, Source,
    dialect::{Dialect, MultiplierKeys},
    scaled,
};
use crate::network::{error::GraphError, graph::Operand, op::Op};

/// Constants; none where there would be nothing to multiply by.
#[derive(Default)]
pub(super) struct Multipliers {
    pub embedding: Option<f64>,
    /// Of what a block adds to the stream.
    pub residual: Option<f64>,
    /// Of the products of queries and keys.
    pub attention: Option<f64>,
    /// Of scores.
    pub scores_cap: Option<f64>,
    logits: Option<f64>,
    logits_cap: Option<f64>,
}

impl Multipliers {
    /// What the configuration says, by the keys of its family.
    pub(super) fn read(source: &Source<'_>, dialect: &Dialect) -> Result<Self, GraphError> {
        match dialect.multipliers {
            MultiplierKeys::None => Ok(Self::default()),
            MultiplierKeys::Gemma => Ok(Self {
                embedding: Some(root_of_width(source)?),
                ..Self::default()
            }),
            MultiplierKeys::CappedGemma {
                final_cap,
                scores_cap,
            } => Ok(Self {
                embedding: Some(root_of_width(source)?),
                attention: Some(
                    source
                        .number("query_pre_attn_scalar", 256.0)?
                        .sqrt()
                        .recip(),
                ),
                scores_cap: cap(source, "attn_logit_softcapping", scores_cap)?,
                logits_cap: cap(source, "final_logit_softcapping", final_cap)?,
                ..Self::default()
            }),
            MultiplierKeys::Granite => Ok(Self {
                embedding: factor(source, "embedding_multiplier")?,
                residual: factor(source, "residual_multiplier")?,
                attention: Some(source.number("attention_multiplier", 1.0)?),
                logits: factor(source, "logits_scaling")?.map(f64::recip),
                ..Self::default()
            }),
        }
    }

    /// The logits of a language model.
    pub(super) fn logits(&self, builder: &mut Builder, logits: Operand) {
        let logits = scaled(builder, "logits.scale".into(), self.logits, logits);
        if let Some(cap) = self.logits_cap {
            builder.push("logits.cap", Op::SoftCap { cap }, &[logits]);
        }
    }
}

fn root_of_width(source: &Source<'_>) -> Result<f64, GraphError> {
    let [_, width] = source.shape("model.embed_tokens.weight")?;
    Ok((width as f64).sqrt())
}

fn factor(source: &Source<'_>, key: &str) -> Result<Option<f64>, GraphError> {
    Ok(Some(source.number(key, 1.0)?).filter(|factor| (factor - 1.0).abs() > 0.0))
}

/// `null` is no cap; a configuration without the key has the library's default.
fn cap(source: &Source<'_>, key: &str, default: Option<u32>) -> Result<Option<f64>, GraphError> {
    match source.config.get(key) {
        Some(Value::Null) => Ok(None),
        Some(_) => source.number(key, 1.0).map(Some),
        None => Ok(default.map(f64::from)),
    }
}
