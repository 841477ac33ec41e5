//! Tokens that lie in a grid: windows of them, and neighbours that become one.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::{Op, Pair, Windows},
    program::{Layer, Param, layer},
};

impl Resolver<'_> {
    /// Windows must fill the grid, and the attention must be one of all tokens of a sample.
    pub(super) fn windows(
        &self,
        windows: &Windows,
        heads: usize,
    ) -> Result<layer::Windows, GraphError> {
        let &Windows {
            grid, size, shift, ..
        } = windows;
        self.check_no_places()?;
        self.check_grid(grid)?;
        if !fills(size.0, grid.0) || !fills(size.1, grid.1) {
            let [grid, size] = [grid, size].map(Pair::array);
            let detail = format!(
                "windows of {size:?} do not fill its grid of {grid:?}; tokens that only pad it are not supported"
            );
            return Err(self.fault(detail));
        }
        if shift.0 >= size.0 || shift.1 >= size.1 {
            return Err(self.fault("windows need a shift below their size"));
        }

        let rows = [size.0, size.1].map(|side| 2 * side - 1);
        let wanted = [rows[0].saturating_mul(rows[1]), heads];
        let name = windows.bias.clone();
        match self.tensor(&name)? {
            Some(info) if info.shape == wanted => Ok(layer::Windows {
                grid,
                size,
                shift,
                bias: Param {
                    name,
                    shape: wanted,
                },
            }),
            Some(info) => Err(GraphError::WrongShape {
                tensor: name,
                expected: format!("{wanted:?}"),
                found: info.shape.clone(),
            }),
            None => Err(self.missing(name)),
        }
    }

    /// Refuses options of an attention that need places in a sequence.
    fn check_no_places(&self) -> Result<(), GraphError> {
        let Op::Attention {
            causal: false,
            mask: false,
            rotary: None,
            window: None,
            position_bias: None,
            distances: None,
            cross: false,
            ..
        } = &self.node.op
        else {
            let detail = "windows go without causal, mask, rotary, window, position_bias, distances and cross";
            return Err(self.fault(detail));
        };
        Ok(())
    }

    /// Its tokens must be those of the grid.
    fn check_grid(&self, grid: Pair) -> Result<[usize; 2], GraphError> {
        let [tokens, channels] = self.tokens(0)?;
        if tokens == 0 || grid.0.checked_mul(grid.1) != Some(tokens) {
            let detail = format!(
                "has {tokens} tokens, not those of a grid of {:?}",
                grid.array()
            );
            return Err(self.fault(detail));
        }
        Ok([tokens, channels])
    }

    pub(super) fn merge_tokens(&self, grid: Pair) -> Result<Resolved, GraphError> {
        self.one()?;
        let [_, channels] = self.check_grid(grid)?;
        let tokens = grid.0.div_ceil(2) * grid.1.div_ceil(2);
        Ok(Resolved {
            layer: Layer::MergeTokens { grid },
            output: vec![tokens, channels.saturating_mul(4)],
        })
    }
}

/// Whether windows of so many rows or columns fill so many.
fn fills(window: usize, along: usize) -> bool {
    window > 0 && along.is_multiple_of(window)
}
