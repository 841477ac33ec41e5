//! Layers that work on tokens.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::{Pair, Position, Resampled},
    program::{
        Layer, Param, SampleShape, channels,
        layer::{Norm, NormKind, PatchEmbed, PositionEmbedding, SelectToken},
    },
    token::IDS,
};

pub(super) const NO_COUNTED_POSITIONS: &str =
    "padding needs a table of rows and the ids, \"input\"";

/// Which rows of a table the positions read.
pub(super) struct Rows {
    /// That of the first position.
    pub offset: usize,
    /// All positions read that row.
    pub constant: bool,
}

impl Rows {
    /// Rows that the table must have.
    fn needed(&self, positions: usize) -> usize {
        self.offset
            .saturating_add(if self.constant { 1 } else { positions })
    }

    fn of(self, table: Param<3>) -> Layer {
        let Self { offset, constant } = self;
        Layer::PositionEmbedding(PositionEmbedding::Rows {
            table,
            offset,
            constant,
        })
    }
}

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

    /// Length of the network's ids, shifted or not. They are checked against their tables in the data, not as
    /// they are computed.
    fn own_ids(&self) -> Result<usize, GraphError> {
        let found = self.inputs.first().copied().unwrap_or_default();
        let [length] = *found else {
            return Err(self.fault(format!("needs token ids [S], not {found:?}")));
        };
        if !self.of_ids {
            return Err(self.fault("reads the token ids, \"input\""));
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

    pub(super) fn embedding(&self, param: &str) -> Result<Resolved, GraphError> {
        let length = self.own_ids()?;
        let table = self.weight::<2>(param)?;
        let output = vec![length, table.shape[1]];
        Ok(Resolved {
            layer: Layer::Embedding { table },
            output,
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

    pub(super) fn table(&self, param: &str) -> Result<Resolved, GraphError> {
        if self.node.inputs != [Operand::Input] {
            return Err(self.fault("reads \"input\", and nothing of it"));
        }
        let table = self.weight::<2>(param)?;
        let output = table.shape.to_vec();
        Ok(Resolved {
            layer: Layer::Table { table },
            output,
        })
    }

    pub(super) fn shift_tokens(&self, first: u32) -> Result<Resolved, GraphError> {
        let length = self.own_ids()?;
        if first >= IDS {
            return Err(self.fault(format!("first must be an id below {IDS}")));
        }
        Ok(Resolved {
            layer: Layer::ShiftTokens { first },
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

    /// Positions of ids `[S]` or tokens `[S, D]`.
    fn length(&self) -> Result<usize, GraphError> {
        match *self.one()? {
            [length] | [length, _] => Ok(length),
            ref found => Err(self.fault(format!("needs an input [S] or [S, D], not {found:?}"))),
        }
    }

    /// A table `[P, D]` of positions.
    pub(super) fn positions(&self, param: &str, rows: Rows) -> Result<Resolved, GraphError> {
        let length = self.length()?;
        let Param {
            name,
            shape: [count, channels],
        } = self.weight::<2>(param)?;
        self.check_rows(count, rows.needed(length))?;

        let table = Param {
            name,
            shape: [1, count, channels],
        };
        Ok(Resolved {
            layer: rows.of(table),
            output: vec![length, channels],
        })
    }

    /// A bare parameter `[1, P, D]` of positions.
    pub(super) fn bare_positions(&self, param: &str, rows: Rows) -> Result<Resolved, GraphError> {
        let (length, name) = (self.length()?, param.to_owned());
        let Some(&[1, count, channels]) = self.tensor(param)?.map(|info| info.shape.as_slice())
        else {
            return Err(self.missing(format!("{param} [1, S, D]")));
        };

        let needed = rows.needed(length);
        // A table for more patches has another grid: its first rows are not those of these patches.
        if self.of_images && count != needed {
            return Err(self.fault(format!("has {count} rows for {needed} positions")));
        }
        self.check_rows(count, needed)?;

        let table = Param {
            name,
            shape: [1, count, channels],
        };
        Ok(Resolved {
            layer: rows.of(table),
            output: vec![length, channels],
        })
    }

    /// A table of a grid, for the tokens of another.
    pub(super) fn resampled_positions(
        &self,
        param: &str,
        bare: bool,
        grid: Resampled,
    ) -> Result<Resolved, GraphError> {
        let (length, name) = (self.length()?, param.to_owned());
        let shape = self.tensor(param)?.map(|info| info.shape.as_slice());
        let Some(&[1, count, channels]) = shape.filter(|_| bare) else {
            return Err(self.missing(format!("{param} [1, S, D]")));
        };
        let [from, to] = [grid.from, grid.to].map(|Pair(rows, columns)| {
            let places = rows.checked_mul(columns).filter(|&places| places > 0);
            places.and_then(|places| places.checked_add(grid.prefix))
        });
        if from != Some(count) || to != Some(length) {
            let detail = format!("has {count} rows for {length} positions, not those of its grids");
            return Err(self.fault(detail));
        }

        let table = Param {
            name,
            shape: [1, count, channels],
        };
        Ok(Resolved {
            layer: Layer::ResampledPositions { table, grid },
            output: vec![length, channels],
        })
    }

    pub(super) fn counted_positions(
        &self,
        param: &str,
        padding: u32,
    ) -> Result<Resolved, GraphError> {
        let length = self.length()?;
        if self.node.inputs != [Operand::Input] {
            return Err(self.fault(NO_COUNTED_POSITIONS));
        }
        let table = self.weight::<2>(param)?;
        let [count, channels] = table.shape;
        self.check_rows(
            count,
            (padding as usize).saturating_add(1).saturating_add(length),
        )?;

        let layer = Layer::PositionEmbedding(PositionEmbedding::Counted { table, padding });
        Ok(Resolved {
            layer,
            output: vec![length, channels],
        })
    }

    fn check_rows(&self, rows: usize, needed: usize) -> Result<(), GraphError> {
        if rows < needed {
            return Err(self.fault(format!("has {rows} rows for {needed} positions")));
        }
        Ok(())
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
