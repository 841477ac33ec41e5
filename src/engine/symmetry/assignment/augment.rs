//! Shortest augmenting paths: rows that have no column yet take one in turn, pushing others along
//! the cheapest chain of exchanges, as Dijkstra's algorithm finds it over slacks
//! `u[j] + price[i] − A[j,i] ≥ 0`.

use super::Rows;
use super::scan::{BLOCK, Frontier};

/// No row, or no column.
const FREE: u32 = u32::MAX;

/// A partial matching and the prices at which every matched row has its best column.
pub(super) struct Search<'a> {
    rows: Rows<'a>,
    prices: Vec<f64>,
    column_of: Vec<u32>,
    row_of: Vec<u32>,
    frontier: Frontier,
    /// Columns closed in the present search with their final distances, in the order of closing.
    closed: Vec<(u32, f64)>,
}

impl<'a> Search<'a> {
    pub(super) fn begin(rows: Rows<'a>, prices: &[f64]) -> Self {
        let n = rows.n;
        Self {
            rows,
            prices: prices.to_vec(),
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
            frontier: Frontier::of(prices),
            closed: Vec::with_capacity(n),
        }
    }

    /// Matches each row whose best column is still free. Rows whose best is their current column
    /// come first, so that a tie does not take it from them.
    pub(super) fn match_free_best_columns(&mut self) {
        let best: Vec<u32> =
            (0..self.rows.n).map(|j| self.rows.best_column(j, &self.prices).1).collect();
        if let Some(current) = self.rows.current {
            for j in (0..self.rows.n).filter(|&j| best[j] == current[j]) {
                self.match_if_free(j, best[j]);
            }
        }
        for (j, &i) in best.iter().enumerate() {
            if self.column_of[j] == FREE {
                self.match_if_free(j, i);
            }
        }
    }

    fn match_if_free(&mut self, j: usize, i: u32) {
        if self.row_of[i as usize] == FREE {
            self.row_of[i as usize] = j as u32;
            self.column_of[j] = i;
        }
    }

    /// Gives every row a column.
    pub(super) fn augment_all(&mut self) {
        for j in 0..self.rows.n {
            if self.column_of[j] == FREE {
                let (end, distance) = self.shortest_path(j);
                self.reprice(distance);
                self.exchange_along(end, j);
            }
        }
    }

    /// The permutation; its prices go where the caller wants them.
    pub(super) fn finish(self, prices: &mut [f64]) -> Vec<u32> {
        prices.copy_from_slice(&self.prices);
        self.column_of
    }

    /// Dijkstra from row `source` to the nearest free column: that column and its distance.
    fn shortest_path(&mut self, source: usize) -> (u32, f64) {
        self.frontier.distance.fill(f64::INFINITY);
        self.closed.clear();
        let mut row = source;
        // Relative to the source's own utility, which reprice() does not need.
        let mut offset = 0.0;
        loop {
            let values = self.rows.row(row);
            let shortest = self.frontier.relax(self.rows.arch, values, offset, row as u32);
            let column = self.nearest(shortest);
            let next = self.row_of[column as usize];
            if next == FREE {
                return (column, shortest);
            }
            self.close(column, shortest);
            row = next as usize;
            offset = shortest + self.rows.utility(row, column, &self.prices);
        }
    }

    /// An open column at distance `shortest`: a free one if there is any, else the first.
    fn nearest(&self, shortest: f64) -> u32 {
        let mut first = FREE;
        for (b, _) in self.frontier.shortest.iter().enumerate().filter(|(_, d)| **d <= shortest) {
            let start = b * BLOCK;
            let block = &self.frontier.distance[start..start + BLOCK];
            for (k, _) in block.iter().enumerate().filter(|(_, d)| **d <= shortest) {
                let column = (start + k) as u32;
                if self.row_of[column as usize] == FREE {
                    return column;
                }
                first = first.min(column);
            }
        }
        first
    }

    fn close(&mut self, column: u32, distance: f64) {
        self.closed.push((column, distance));
        self.frontier.distance[column as usize] = f64::INFINITY;
        self.frontier.open_price[column as usize] = f64::INFINITY;
    }

    /// Raises the price of every closed column by how much nearer it lay than the end of the path:
    /// all slacks stay non-negative and those on the path vanish.
    fn reprice(&mut self, end: f64) {
        for &(column, distance) in &self.closed {
            let i = column as usize;
            self.prices[i] += end - distance;
            self.frontier.open_price[i] = self.prices[i];
        }
    }

    /// Each row on the path gives up its column for the next one.
    fn exchange_along(&mut self, end: u32, source: usize) {
        let mut column = end;
        loop {
            let row = self.frontier.through[column as usize];
            self.row_of[column as usize] = row;
            std::mem::swap(&mut self.column_of[row as usize], &mut column);
            if row as usize == source {
                return;
            }
        }
    }
}
