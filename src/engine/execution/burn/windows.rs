//! Windows of tokens that lie in a grid, and neighbours that become one (Liu et al. 2021, section 3).

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    execution::weights::Weights,
    network::{op::Pair, program::layer::Windows},
};

/// Added to the score of a token that lay on another side of the image, as in the library.
const APART: f32 = -100.0;

impl Windows {
    /// How many there are.
    fn count(&self) -> usize {
        self.grid.0 / self.size.0 * (self.grid.1 / self.size.1)
    }

    /// For each token of each window its row and column in the shifted grid.
    fn places(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let (across, area) = (self.grid.1 / self.size.1, self.positions());
        (0..self.count() * area).map(move |at| {
            let (window, inside) = (at / area, at % area);
            let row = window / across * self.size.0 + inside / self.size.1;
            let column = window % across * self.size.1 + inside % self.size.1;
            [row, column]
        })
    }

    /// For each token of each window its place among the tokens as they are.
    fn order(&self) -> Vec<usize> {
        self.places()
            .map(|[row, column]| {
                let row = (row + self.shift.0) % self.grid.0;
                let column = (column + self.shift.1) % self.grid.1;
                row * self.grid.1 + column
            })
            .collect()
    }

    /// `[B, S, D]` to `[B · windows, tokens of one, D]`.
    pub(super) fn parted(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, _, width] = x.dims();
        let order = places(&self.order(), &x.device());
        x.select(1, order.int())
            .reshape([batch * self.count(), self.positions(), width])
    }

    /// The reverse of [`Windows::parted`].
    pub(super) fn put_back(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let (all, order) = (self.grid.0 * self.grid.1, self.order());
        let mut back = vec![0; all];
        for (at, &token) in order.iter().enumerate() {
            back[token] = at;
        }
        let batch = x.dims()[0] / self.count();
        let back = places(&back, &x.device());

        x.reshape([batch, all, width]).select(1, back.int())
    }

    /// What the places of a query and a key add to their score, `[B · windows, heads, queries, keys]`.
    pub(super) fn biased(&self, scores: Tensor<4>, weights: &Weights) -> Tensor<4> {
        let table = weights.tensor(&self.bias);
        let (area, [_, heads]) = (self.positions(), self.bias.shape);
        let rows: Vec<usize> = (0..area * area)
            .map(|at| self.row(at / area, at % area))
            .collect();
        let rows = places(&rows, &table.device());
        let bias = table.select(0, rows.int());

        scores + bias.swap_dims(0, 1).reshape([1, heads, area, area])
    }

    /// The row of the table for a query and a key of one window.
    fn row(&self, query: usize, key: usize) -> usize {
        let Pair(height, width) = self.size;
        let down = query / width + height - 1 - key / width;
        let across = query % width + width - 1 - key % width;
        down * (2 * width - 1) + across
    }

    /// The same scores, away where the shift has put together what lay apart.
    pub(super) fn masked(&self, scores: Tensor<4>) -> Tensor<4> {
        if self.shift == Pair(0, 0) {
            return scores;
        }
        let (count, area) = (self.count(), self.positions());
        let regions: Vec<[bool; 2]> = self.places().map(|place| self.region(place)).collect();
        let hidden: Vec<f32> = (0..count * area * area)
            .map(|at| {
                let (window, pair) = (at / (area * area), at % (area * area));
                let own = &regions[window * area..][..area];
                if own[pair / area] == own[pair % area] {
                    0.0
                } else {
                    APART
                }
            })
            .collect();
        let data = TensorData::new(hidden, [1, count, 1, area, area]);
        let hidden = Tensor::<5>::from_data(data, &scores.device());

        let [all, heads, ..] = scores.dims();
        let by_window = scores.reshape([all / count, count, heads, area, area]);
        (by_window + hidden).reshape([all, heads, area, area])
    }

    /// Whether a place of the shifted grid has come from the other side, down and across.
    fn region(&self, [row, column]: [usize; 2]) -> [bool; 2] {
        [
            row >= self.grid.0 - self.shift.0,
            column >= self.grid.1 - self.shift.1,
        ]
    }
}

/// Whole numbers, as floats that burn turns into what it selects by.
fn places(at: &[usize], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = at.iter().map(|&at| at as f32).collect();
    Tensor::from_data(TensorData::new(values, [at.len()]), device)
}

/// `[B, S, D]` of a grid to `[B, S', 4 D]`; zeros stand behind an odd row or column.
pub(super) fn merged(x: Tensor<3>, grid: Pair) -> Tensor<3> {
    let [batch, tokens, width] = x.dims();
    let Pair(rows, columns) = grid;
    let (down, across) = (rows.div_ceil(2), columns.div_ceil(2));

    let mut order = Vec::with_capacity(4 * down * across);
    for place in 0..down * across {
        let (row, column) = (2 * (place / across), 2 * (place % across));
        for [below, behind] in [[0, 0], [1, 0], [0, 1], [1, 1]] {
            let (row, column) = (row + below, column + behind);
            let is_inside = row < rows && column < columns;
            order.push(if is_inside {
                row * columns + column
            } else {
                tokens
            });
        }
    }

    let is_padded = order.contains(&tokens);
    let order = places(&order, &x.device());
    let x = if is_padded {
        let zeros = x.clone().narrow(1, 0, 1).zeros_like();
        Tensor::cat(vec![x, zeros], 1)
    } else {
        x
    };

    x.select(1, order.int())
        .reshape([batch, down * across, 4 * width])
}
