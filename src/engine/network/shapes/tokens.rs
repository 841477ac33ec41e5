//! Shapes of the ops that work on tokens.

use super::{SampleShape, Step, wrong_shape};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::{Op, Position},
};

impl Step<'_> {
    pub(super) fn of_tokens(&self, op: &Op) -> Result<SampleShape, GraphError> {
        match op {
            Op::LayerNorm { param, .. } | Op::RmsNorm { param, .. } => {
                let input = self.one()?.to_vec();
                let channels = super::channels(&input);
                self.vector(&format!("{param}.weight"), channels, true)?;
                self.vector(&format!("{param}.bias"), channels, false)?;
                Ok(input)
            }
            Op::LayerScale { param } => {
                let [tokens, channels] = self.tokens(0)?;
                self.vector(&format!("{param}.gamma"), channels, true)?;
                Ok(vec![tokens, channels])
            }
            Op::Embedding { param } => {
                let [length] = self.ids(0)?;
                // Ids are checked against the vocabulary in the data, not as they are computed.
                if self.node.inputs != [Operand::Input] {
                    return Err(self.fault("reads the token ids, \"input\""));
                }
                Ok(vec![length, self.weight(param, 2)?[1]])
            }
            Op::PositionEmbedding { .. } => self.position_embedding(op),
            Op::TokenTypeEmbedding { param } => {
                let [length] = self.ids(0)?;
                // Types are checked against the table in the data.
                if self.node.inputs != [Operand::Input] {
                    return Err(self.fault("reads the token ids, \"input\""));
                }
                Ok(vec![length, self.weight(param, 2)?[1]])
            }
            Op::ClassToken { param } => {
                let [tokens, channels] = self.tokens(0)?;
                self.parameter(param, [1, channels])?;
                Ok(vec![tokens + 1, channels])
            }
            Op::PatchEmbed { param } => {
                let [channels, height, width] = self.image()?;
                let weight = self.weight(param, 4)?;
                let (rows, columns) = (height / weight[2], width / weight[3]);
                if weight[1] != channels
                    || rows * weight[2] != height
                    || columns * weight[3] != width
                {
                    let expected = format!("[out, {channels}, a divisor of {height}, of {width}]");
                    let name = format!("{param}.weight");
                    return Err(wrong_shape(&name, expected, &self.signature[&name]));
                }
                self.vector(&format!("{param}.bias"), weight[0], false)?;
                Ok(vec![rows * columns, weight[0]])
            }
            Op::Attention { heads, kv_heads, mask, rotary, .. } => {
                let output = self.attention(*heads, kv_heads.unwrap_or(*heads), *mask)?;
                if rotary.is_some() && !(output[1] / heads).is_multiple_of(2) {
                    return Err(self.fault("rotary needs heads of an even size"));
                }
                Ok(output)
            }
            Op::SelectToken { position, padding } => {
                self.at_most(if *position == Position::First { 1 } else { 2 })?;
                if padding.is_some() && (*position != Position::End || self.inputs.len() != 2) {
                    let detail = "padding needs the position \"end\" and the ids as second input";
                    return Err(self.fault(detail));
                }
                Ok(vec![self.tokens(0)?[1]])
            }
            Op::MeanTokens {} => {
                self.at_most(2)?;
                Ok(vec![self.tokens(0)?[1]])
            }
            other => unreachable!("{} is no op of tokens", other.name()),
        }
    }

    fn at_most(&self, inputs: usize) -> Result<(), GraphError> {
        if self.inputs.len() > inputs {
            return Err(self.fault(format!("takes at most {inputs} inputs")));
        }
        Ok(())
    }

    fn tokens(&self, input: usize) -> Result<[usize; 2], GraphError> {
        let found = self.inputs.get(input).copied().unwrap_or_default();
        found.try_into().map_err(|_| self.fault(format!("needs an input [S, D], not {found:?}")))
    }

    fn ids(&self, input: usize) -> Result<[usize; 1], GraphError> {
        let found = self.inputs.get(input).copied().unwrap_or_default();
        found.try_into().map_err(|_| self.fault(format!("needs token ids [S], not {found:?}")))
    }

    /// A bare parameter `[1, rows, channels]`.
    fn parameter(&self, name: &str, rows: [usize; 2]) -> Result<(), GraphError> {
        match self.tensor(name)? {
            Some(info) if info.shape == [1, rows[0], rows[1]] => Ok(()),
            Some(info) => Err(wrong_shape(name, format!("[1, {}, {}]", rows[0], rows[1]), info)),
            None => Err(GraphError::MissingTensor {
                tensor: name.to_owned(),
                node: self.node.id.clone(),
            }),
        }
    }

    fn position_embedding(&self, op: &Op) -> Result<SampleShape, GraphError> {
        let Op::PositionEmbedding { param, bare, offset, constant, padding } = op else {
            unreachable!("called for position embeddings")
        };
        let positions = *self.one()?.first().unwrap_or(&0);
        let offset = match padding {
            None => *offset,
            Some(_) if *bare || *constant || self.node.inputs != [Operand::Input] => {
                return Err(self.fault("padding needs a table of rows and the ids, \"input\""));
            }
            Some(padding) => (*padding as usize).saturating_add(1),
        };
        let needed = offset.saturating_add(if *constant { 1 } else { positions });
        if *bare {
            let Some(&[1, rows, channels]) = self.tensor(param)?.map(|info| info.shape.as_slice())
            else {
                return Err(GraphError::MissingTensor {
                    tensor: format!("{param} [1, S, D]"),
                    node: self.node.id.clone(),
                });
            };
            // A table for more patches has another grid: its first rows are not those of these patches.
            let fits = if self.of_images { rows == needed } else { rows >= needed };
            if !fits {
                return Err(self.fault(format!("has {rows} rows for {needed} positions")));
            }
            return Ok(vec![positions, channels]);
        }
        let weight = self.weight(param, 2)?;
        if weight[0] < needed {
            return Err(self.fault(format!("has {} rows for {needed} positions", weight[0])));
        }
        Ok(vec![positions, weight[1]])
    }

    fn attention(
        &self,
        heads: usize,
        kv_heads: usize,
        mask: bool,
    ) -> Result<SampleShape, GraphError> {
        let [tokens, width] = self.tokens(0)?;
        let operands = self.inputs.len() - usize::from(mask).min(self.inputs.len());
        let (queries, keys) = match operands {
            1 => (width / 3, [width / 3; 2]),
            3 => (width, [self.tokens(1)?[1], self.tokens(2)?[1]]),
            _ => {
                return Err(
                    self.fault("reads [q, k, v] or one fused [q|k|v], and with mask the ids")
                );
            }
        };
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(self.fault(format!("{kv_heads} kv_heads must divide {heads} heads")));
        }
        let size = queries / heads;
        let fits = size * heads == queries && keys == [size * kv_heads; 2];
        if !fits || (operands == 1 && width != 3 * queries) {
            let detail =
                format!("{heads} heads and {kv_heads} kv_heads do not fit {:?}", self.inputs);
            return Err(self.fault(detail));
        }
        Ok(vec![tokens, queries])
    }
}
