//! Rows that stand for positions.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    graph::Operand,
    op::{Pair, Resampled},
    program::{Layer, Param, layer::PositionEmbedding},
};

pub(super) const NO_COUNTED_POSITIONS: &str =
    "padding needs a table of rows and the ids, \"input\"";

/// Which rows of a table the positions read.
pub(super) struct Rows {
    /// That of the first position.
    pub offset: usize,
    /// All positions read that row.
    pub constant: bool,
    pub frozen: bool,
}

impl Rows {
    /// Rows that the table must have.
    fn needed(&self, positions: usize) -> usize {
        self.offset
            .saturating_add(if self.constant { 1 } else { positions })
    }

    fn of(self, table: Param<3>) -> Layer {
        let Self {
            offset,
            constant,
            frozen,
        } = self;

        Layer::PositionEmbedding(PositionEmbedding::Rows {
            table,
            offset,
            constant,
            frozen,
        })
    }
}

impl Resolver<'_> {
    pub(super) fn sinusoids(&self, width: usize) -> Result<Resolved, GraphError> {
        let length = self.length()?;
        if width == 0 {
            return Err(self.fault("needs a width above 0"));
        }
        Ok(Resolved {
            layer: Layer::Sinusoids,
            output: vec![length, width],
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
}
