//! How rotary frequencies are stretched for long sentences, by what `rope_type` says.

use serde_json::Value;

use super::{Object, Reading, malformed};
use crate::network::{
    error::GraphError,
    op::{Llama3Scaling, LongRope, Rotary, Yarn},
};

/// What stands in the object of rotary positions.
pub(super) struct Scaling<'a>(pub Reading<'a>);

impl Scaling<'_> {
    /// The same positions at the speeds that the object tells.
    pub(super) fn applied(&self, plain: Rotary) -> Result<Rotary, GraphError> {
        let Reading { object, keys, .. } = self.0;
        let value = &object.value;
        let kind = value["rope_type"]
            .as_str()
            .or(value["type"].as_str())
            .unwrap_or("default");
        // Phi-3 knows one kind by three names.
        let kind = match kind {
            "su" | "yarn" if keys.original_length.is_some() => "longrope",
            kind => kind,
        };

        match kind {
            "default" => Ok(plain),
            "longrope" => {
                let longrope = self.longrope()?;
                let attention_factor = Some(self.longrope_attention_factor(&longrope)?);
                Ok(Rotary {
                    longrope: Some(longrope.into()),
                    attention_factor,
                    ..plain
                })
            }
            // Phi-3 knows no other.
            other if keys.original_length.is_some() => Err(self.unknown(other)),
            // It differs beyond the positions alone, and no more are read.
            "dynamic" => object.positive("factor").map(|_| plain),
            "linear" => Ok(Rotary {
                linear_factor: Some(object.positive("factor")?),
                ..plain
            }),
            "llama3" => Ok(Rotary {
                llama3: Some(self.llama3()?.into()),
                ..plain
            }),
            "yarn" => {
                let yarn = self.yarn()?;
                let attention_factor = Some(self.yarn_attention_factor(yarn.factor)?);
                Ok(Rotary {
                    yarn: Some(yarn.into()),
                    attention_factor,
                    ..plain
                })
            }
            other => Err(self.unknown(other)),
        }
    }

    fn unknown(&self, kind: &str) -> GraphError {
        malformed(format!(
            "{}: the rope_type {kind:?} is not supported",
            self.0.object.key
        ))
    }

    fn llama3(&self) -> Result<Llama3Scaling, GraphError> {
        let object = self.0.object;
        Ok(Llama3Scaling {
            factor: object.positive("factor")?,
            low_freq_factor: object.positive("low_freq_factor")?,
            high_freq_factor: object.positive("high_freq_factor")?,
            original_max_position_embeddings: object
                .positive("original_max_position_embeddings")?,
        })
    }

    fn yarn(&self) -> Result<Yarn, GraphError> {
        let object = self.0.object;
        let length = self.original_length()?;
        Ok(Yarn {
            factor: self.factor(length)?,
            original_max_position_embeddings: length,
            beta_fast: object.optional("beta_fast")?.unwrap_or(32.0),
            beta_slow: object.optional("beta_slow")?.unwrap_or(1.0),
            // The library looks for it beside the kinds of layers, where no configuration has it.
            truncate: match &object.value["truncate"] {
                _ if self.0.keys.local_theta.is_some() => true,
                Value::Null => true,
                Value::Bool(truncate) => *truncate,
                other => {
                    let detail =
                        format!("{}.truncate: give true or false, not {other}", object.key);
                    return Err(malformed(detail));
                }
            },
        })
    }

    /// As the configuration has it, else by the paper's rule (Peng et al. 2023, section 3.4).
    fn yarn_attention_factor(&self, factor: f64) -> Result<f64, GraphError> {
        let object = self.0.object;
        let given = ["attention_factor", "mscale", "mscale_all_dim"];
        let [told, mscale, of_all] = given.map(|name| object.optional(name));
        Ok(match (told?, mscale?, of_all?) {
            (Some(told), ..) => told,
            (None, Some(mscale), Some(of_all)) => growth(factor, mscale) / growth(factor, of_all),
            _ => growth(factor, 1.0),
        })
    }

    fn longrope(&self) -> Result<LongRope, GraphError> {
        Ok(LongRope {
            short_factor: self.factors("short_factor")?,
            long_factor: self.factors("long_factor")?,
            original_max_position_embeddings: self.original_length()? as usize,
        })
    }

    fn longrope_attention_factor(&self, longrope: &LongRope) -> Result<f64, GraphError> {
        if let Some(told) = self.0.object.optional("attention_factor")? {
            return Ok(told);
        }
        let length = longrope.original_max_position_embeddings as f64;
        let factor = self.factor(length)?;
        Ok(if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / length.ln()).sqrt()
        })
    }

    fn factors(&self, name: &str) -> Result<Vec<f64>, GraphError> {
        let Object { key, value } = self.0.object;
        let entries = value[name]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let factors: Option<Vec<f64>> = entries
            .iter()
            .map(|entry| entry.as_f64().filter(|factor| *factor > 0.0))
            .collect();
        factors
            .filter(|factors| !factors.is_empty())
            .ok_or_else(|| {
                let detail = format!("{key}.{name}: give numbers above 0, not {}", value[name]);
                malformed(detail)
            })
    }

    /// The length before it was stretched. Phi-3 has it beside the object, and reads no other.
    fn original_length(&self) -> Result<f64, GraphError> {
        let key = "original_max_position_embeddings";
        if let Some(default) = self.0.keys.original_length {
            return self.0.source.number(key, default as f64);
        }
        match self.0.object.optional(key)? {
            Some(length) => Ok(length),
            None => self
                .0
                .source
                .count("max_position_embeddings")
                .map(|length| length as f64),
        }
    }

    /// By how much it was stretched, by the configuration or by the lengths.
    fn factor(&self, original_length: f64) -> Result<f64, GraphError> {
        match self.0.object.optional("factor")? {
            Some(factor) => Ok(factor),
            None => Ok(self.0.source.count("max_position_embeddings")? as f64 / original_length),
        }
    }
}

/// `0.1 m ln(factor) + 1`; 1 where nothing is stretched.
fn growth(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * scale * factor.ln() + 1.0
    }
}
