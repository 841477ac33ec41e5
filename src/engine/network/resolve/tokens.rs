//! Layers that work on tokens.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::Position,
    program::{
        Layer, Param, SampleShape, channels,
        layer::{Embedding, Norm, NormKind, PatchEmbed, SelectToken, ShiftTokens},
    },
    token::IDS,
};

impl Resolver<'_> {
    fn at_most(&self, inputs: usize) -> Result<(), GraphError> {
        if self.inputs.len() > inputs {
            return Err(self.fault(format!("takes at most {inputs} inputs")));
        }
        Ok(())
    }

    pub(super) fn tokens(&self, input: usize) -> Result<[usize; 2], GraphError> {
        let found = self.inputs.get(input).copied().unwrap_or_default();
        found
            .try_into()
            .map_err(|_| self.fault(format!("needs an input [S, D], not {found:?}")))
    }

    /// Length of the network's ids or its target's, shifted or not. They are checked against their tables in the data, not as
    /// they are computed.
    fn own_ids(&self) -> Result<usize, GraphError> {
        let found = self.inputs.first().copied().unwrap_or_default();
        let [length] = *found else {
            return Err(self.fault(format!("needs token ids [S], not {found:?}")));
        };
        if !self.of_ids {
            return Err(self.fault("reads the token ids, \"input\" or \"target\""));
        }
        Ok(length)
    }

    /// Ids beside tokens: one for each.
    pub(super) fn check_ids_of(&self, tokens: usize, input: usize) -> Result<(), GraphError> {
        match self.inputs.get(input) {
            Some(found) if *found != [tokens] => Err(self.fault(format!(
                "needs the ids of its {tokens} tokens, not {found:?}"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn norm(
        &self,
        param: &str,
        kind: NormKind,
        eps: f64,
    ) -> Result<Resolved, GraphError> {
        let input = self.one()?;
        let channels = channels(input);
        let weight = self.needed_vector(format!("{param}.weight"), channels)?;
        let bias = self.vector(format!("{param}.bias"), channels)?;
        let layer = Layer::Norm(Norm {
            kind,
            weight,
            bias,
            eps,
        });

        Ok(Resolved {
            layer,
            output: input.to_vec(),
        })
    }

    /// Of tokens, or of an image's channels.
    pub(super) fn layer_scale(&self, tensor: String) -> Result<Resolved, GraphError> {
        let input = self.one()?;
        if input.len() == 1 {
            return Err(self.fault(format!("needs an input [S, D] or [C, H, W], not {input:?}")));
        }
        let gamma = self.needed_vector(tensor, channels(input))?;
        self.unchanged(Layer::LayerScale { gamma })
    }

    pub(super) fn embedding(
        &self,
        param: &str,
        padding: Option<u32>,
    ) -> Result<Resolved, GraphError> {
        let length = self.own_ids()?;
        let table = self.weight::<2>(param)?;
        let rows = table.shape[0];
        if let Some(id) = self.own_id.filter(|&id| id as usize >= rows) {
            return Err(self.fault(format!("reads the id {id}, and its table has {rows} rows")));
        }
        let output = vec![length, table.shape[1]];

        Ok(Resolved {
            layer: Layer::Embedding(Embedding { table, padding }),
            output,
        })
    }

    /// A row more for every token.
    pub(super) fn offset(&self, param: &str) -> Result<Resolved, GraphError> {
        let output = self.tokens(0)?;
        self.one()?;
        let bias = self.needed_vector(format!("{param}.bias"), output[1])?;
        Ok(Resolved {
            layer: Layer::Offset { bias },
            output: output.to_vec(),
        })
    }

    pub(super) fn to_tokens(&self) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        let [channels, height, width] = input;
        Ok(Resolved {
            layer: Layer::ToTokens { input },
            output: vec![height * width, channels],
        })
    }

    pub(super) fn token_type_embedding(&self, param: &str) -> Result<Resolved, GraphError> {
        let length = self.own_ids()?;
        let table = self.weight::<2>(param)?;
        let output = vec![length, table.shape[1]];
        Ok(Resolved {
            layer: Layer::TokenTypeEmbedding { table },
            output,
        })
    }

    pub(super) fn table(&self, param: &str, bare: bool) -> Result<Resolved, GraphError> {
        if self.node.inputs != [Operand::Input] {
            return Err(self.fault("reads \"input\", and nothing of it"));
        }
        let table = if bare {
            self.bare_rows(param)?
        } else {
            self.weight::<2>(param)?
        };
        let output = table.shape.to_vec();
        Ok(Resolved {
            layer: Layer::Table { table },
            output,
        })
    }

    /// The rows of a parameter `[1, R, D]`.
    fn bare_rows(&self, param: &str) -> Result<Param<2>, GraphError> {
        let name = param.to_owned();
        match self.tensor(param)?.map(|info| info.shape.as_slice()) {
            Some(&[1, rows, width]) if rows > 0 && width > 0 => Ok(Param {
                name,
                shape: [rows, width],
            }),
            Some(found) => Err(GraphError::WrongShape {
                tensor: name,
                expected: "[1, R, D]".to_owned(),
                found: found.to_vec(),
            }),
            None => Err(self.missing(name)),
        }
    }

    pub(super) fn shift_tokens(&self, shift: ShiftTokens) -> Result<Resolved, GraphError> {
        let length = self.own_ids()?;
        let ids = [shift.first, shift.padding];
        if ids.into_iter().flatten().any(|id| id >= IDS) {
            return Err(self.fault(format!("first and padding must be ids below {IDS}")));
        }
        if ids == [None; 2] {
            return Err(
                self.fault("needs the first id, or the padding before which the last stands")
            );
        }

        Ok(Resolved {
            layer: Layer::ShiftTokens(shift),
            output: vec![length],
        })
    }

    pub(super) fn mask_tokens(&self) -> Result<Resolved, GraphError> {
        let [tokens, channels] = self.tokens(0)?;
        if self.inputs.len() != 2 {
            return Err(self.fault("takes two inputs, tokens and their ids"));
        }
        self.check_ids_of(tokens, 1)?;
        Ok(Resolved {
            layer: Layer::MaskTokens,
            output: vec![tokens, channels],
        })
    }

    pub(super) fn class_token(
        &self,
        param: &str,
        flat: bool,
        at: usize,
    ) -> Result<Resolved, GraphError> {
        let [tokens, channels] = self.tokens(0)?;
        if at > tokens {
            return Err(self.fault(format!("at {at} is behind its {tokens} tokens")));
        }
        let name = param.to_owned();
        let Some(info) = self.tensor(param)? else {
            return Err(self.missing(name));
        };
        let count = match info.shape[..] {
            [width] if flat && width == channels => 1,
            [1, count, width] if !flat && count > 0 && width == channels => count,
            _ => {
                let expected = if flat {
                    format!("[{channels}]")
                } else {
                    format!("[1, R, {channels}]")
                };
                return Err(GraphError::WrongShape {
                    tensor: name,
                    expected,
                    found: info.shape.clone(),
                });
            }
        };

        let shape = [1, count, channels];
        let token = Param { name, shape };

        Ok(Resolved {
            layer: Layer::ClassToken { token, at },
            output: vec![tokens + count, channels],
        })
    }

    pub(super) fn patch_embed(&self, param: &str) -> Result<Resolved, GraphError> {
        let input = self.image()?;
        let [channels, height, width] = input;
        let weight = self.weight::<4>(param)?;

        let [outputs, inputs, patch_height, patch_width] = weight.shape;
        let (rows, columns) = (height / patch_height, width / patch_width);
        if inputs != channels || rows * patch_height != height || columns * patch_width != width {
            let expected = format!("[out, {channels}, a divisor of {height}, of {width}]");
            return Err(weight.misfit(expected));
        }

        let bias = self.vector(format!("{param}.bias"), outputs)?;
        let layer = Layer::PatchEmbed(PatchEmbed {
            weight,
            bias,
            input,
        });

        Ok(Resolved {
            layer,
            output: vec![rows * columns, outputs],
        })
    }

    pub(super) fn select_token(&self, select: SelectToken) -> Result<Resolved, GraphError> {
        let SelectToken {
            position,
            padding,
            token,
        } = select;
        self.at_most(if position == Position::First { 1 } else { 2 })?;
        let looks_at_ids = padding.is_some() || token.is_some();
        if looks_at_ids && (position != Position::End || self.inputs.len() != 2) {
            let detail = "padding and token need the position \"end\" and the ids as second input";
            return Err(self.fault(detail));
        }
        if padding.is_some() && token.is_some() {
            return Err(self.fault("takes padding or token, not both"));
        }

        Ok(Resolved {
            layer: Layer::SelectToken(select),
            output: self.pooled_tokens()?,
        })
    }

    pub(super) fn mean_tokens(&self, skip: usize) -> Result<Resolved, GraphError> {
        self.at_most(if skip > 0 { 1 } else { 2 })?;
        if skip > 0 && skip >= self.tokens(0)?[0] {
            return Err(self.fault(format!("skip {skip} leaves no token")));
        }
        Ok(Resolved {
            layer: Layer::MeanTokens { skip },
            output: self.pooled_tokens()?,
        })
    }

    /// `[D]` of tokens `[S, D]`, with their ids beside them or not.
    fn pooled_tokens(&self) -> Result<SampleShape, GraphError> {
        let [tokens, channels] = self.tokens(0)?;
        self.check_ids_of(tokens, 1)?;
        Ok(vec![channels])
    }
}
