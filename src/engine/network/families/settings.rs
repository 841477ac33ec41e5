//! Every key of every family's configuration: what is read, what the tensors say themselves, what leaves
//! the computation as it is, and what is known at some values only. A key of none of these kinds is
//! refused by its name: it may change what the library computes.
//!
//! The keys are those of transformers 4 and 5, and of timm 1.0. A test walks the libraries' own default
//! configurations, and what their sources read, through these tables.

mod decoders;
mod encoders;
mod pictures;
mod sequences;
mod timm;
mod transformers;

use serde_json::{Map, Value};

#[cfg(test)]
use transformers::COMMON;

pub(super) use decoders::{
    GEMMA, GEMMA2, GEMMA3, GLM4, GPT_NEOX, GPT_OSS, GRANITE, LLAMA, MISTRAL, MIXTRAL, OLMO2, OLMO3,
    OLMOE, PARTIAL_ROPE, PHI3, QWEN2, QWEN3, QWEN3_MOE, ROPE, SEED_OSS, SMOLLM3,
};
pub(super) use encoders::{ALBERT, DEBERTA, ELECTRA, MPNET};
pub(super) use pictures::{
    CLIP, CLIP_VISION, CONVNEXT, DINOV2, DINOV2_WITH_REGISTERS, EFFICIENTNET, MOBILENET_V2, RESNET,
    SIGLIP, SIGLIP_VISION, SWIN, VIT,
};
pub(super) use sequences::{BART, MARIAN, PEGASUS, T5, WHISPER};
pub(super) use timm::{
    TIMM_CONVNEXT, TIMM_DENSENET, TIMM_EFFICIENTNET, TIMM_RESNET, TIMM_SWIN, TIMM_VGG, TIMM_VIT,
    check_timm,
};
pub(super) use transformers::{BERT, DISTILBERT, GPT2, MODERNBERT, check, check_part};

use crate::network::error::GraphError;

/// What is known of the keys of one object.
pub(super) struct Settings {
    /// These keys are known too.
    pub extends: Option<&'static Settings>,
    /// The builder reads them.
    pub read: &'static [&'static str],
    /// Sizes and switches that the tensors show: a file that contradicts them is refused for its tensors.
    pub tensors: &'static [&'static str],
    /// They do not change what a trained network computes.
    pub neutral: &'static [&'static str],
    /// Neutral at these values alone, in JSON; `null` is always one of them.
    pub only: &'static [(&'static str, &'static [&'static str])],
}

/// Refuses an object with a key of which nothing is known, or with a value that is not neutral.
pub(super) fn check_object(
    place: &str,
    object: &Value,
    tables: &[&Settings],
) -> Result<(), GraphError> {
    if object.is_null() {
        return Ok(());
    }
    let Some(fields) = object.as_object() else {
        let place = place.trim_end_matches('.');
        let detail = format!("{place}: give an object, not {object}");
        return Err(GraphError::Malformed { detail });
    };
    check_fields(place, fields, tables)
}

fn check_fields(
    place: &str,
    fields: &Map<String, Value>,
    tables: &[&Settings],
) -> Result<(), GraphError> {
    for (key, value) in fields {
        // Keys that begin so are the library's notes to itself.
        if value.is_null() || key.starts_with('_') || tables.iter().any(|table| table.knows(key)) {
            continue;
        }
        let Some(allowed) = tables.iter().find_map(|table| table.values(key)) else {
            let why = "what it changes is not known; where it is a note of your own, remove it (a model of a \
                       known family is not carried by its tensors' names)";
            return Err(unsupported(&format!("{place}{key}"), value, why));
        };
        if !allowed
            .iter()
            .any(|text| text.parse::<Value>().is_ok_and(|known| known == *value))
        {
            let why = match allowed {
                [] => "leave it out".to_owned(),
                _ => format!("only {}", allowed.join(", ")),
            };
            return Err(unsupported(&format!("{place}{key}"), value, &why));
        }
    }

    Ok(())
}

fn unsupported(key: &str, value: &Value, why: &str) -> GraphError {
    let mut shown = value.to_string();
    if let Some((cut, _)) = shown.char_indices().nth(100) {
        shown.truncate(cut);
    }
    GraphError::Malformed {
        detail: format!("{key}: {shown} is not supported; {why}"),
    }
}

impl Settings {
    /// Whether the key is read, shown by the tensors, or neutral at every value.
    fn knows(&self, key: &str) -> bool {
        [self.read, self.tensors, self.neutral]
            .iter()
            .any(|keys| keys.contains(&key))
            || self.extends.is_some_and(|base| base.knows(key))
    }

    /// The values at which the key is neutral.
    fn values(&self, key: &str) -> Option<&'static [&'static str]> {
        let own = self
            .only
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, values)| *values);
        own.or_else(|| self.extends?.values(key))
    }
}

#[cfg(test)]
mod tests;
