//! What families with an encoder and a decoder share.

use serde_json::Value;

use super::{Builder, Source};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::{Op, Position},
    token::IDS,
};

impl Source<'_> {
    /// An id of the configuration, or the library's own where it has one and the configuration says nothing.
    pub(super) fn token_id(&self, key: &str, default: Option<u32>) -> Result<u32, GraphError> {
        let value = &self.config[key];
        let told = value.as_u64().and_then(|id| u32::try_from(id).ok());
        match (told, default) {
            (Some(id), _) if id < IDS => Ok(id),
            (None, Some(default)) if self.config.get(key).is_none() => Ok(default),
            _ => {
                let detail = format!("{key}: give an id below {IDS}, not {value}");
                Err(GraphError::Malformed { detail })
            }
        }
    }

    /// Whether the configuration says so, or the library where it says nothing.
    pub(super) fn switch(&self, key: &str, default: bool) -> Result<bool, GraphError> {
        match &self.config[key] {
            Value::Null => Ok(default),
            Value::Bool(told) => Ok(*told),
            other => {
                let detail = format!("{key}: give true or false, not {other}");
                Err(GraphError::Malformed { detail })
            }
        }
    }
}

impl Builder {
    /// The class of a sentence, told at the last of its tokens that ends it.
    pub(super) fn head_at_end(&mut self, decoded: Operand, end: u32) {
        let op = Op::SelectToken {
            position: Position::End,
            padding: None,
            token: Some(end),
        };
        let end = self.push("end", op, &[decoded, Operand::Input]);
        let hidden = self.linear("classification_head.dense", end);
        let hidden = self.push("classification_head.tanh", Op::Tanh {}, &[hidden]);
        self.linear("classification_head.out_proj", hidden);
    }
}
