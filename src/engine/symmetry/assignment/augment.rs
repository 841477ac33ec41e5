//! Shortest augmenting paths: rows that have no column yet take one in turn, pushing others along
//! the cheapest chain of exchanges, as Dijkstra's algorithm finds it over slacks
//! `u[j] + price[i] − A[j,i] ≥ 0`.

use super::{
    FREE, Rows,
    scan::{self, ColumnsFrom},
    shortlist::Shortlists,
    tree::{Event, Tree, What},
};

/// Bids before paths take over, for every row that starts without a column: enough for most rows of
/// this field's matrices, and a bound on what rows with the same wishes may spend outbidding each
/// other by a hair.
const MAX_BIDS: usize = 1000;

/// A partial matching and the prices at which every matched row has its best column.
pub(super) struct Search<'a> {
    rows: Rows<'a>,
    prices: Vec<f64>,
    column_of: Vec<u32>,
    row_of: Vec<u32>,
    shortlists: Shortlists,
    tree: Tree,
}

impl<'a> Search<'a> {
    pub(super) fn begin(rows: Rows<'a>, prices: &[f64]) -> Self {
        let n = rows.n;
        Self {
            rows,
            prices: prices.to_vec(),
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
            shortlists: Shortlists::empty(n),
            tree: Tree::empty(n),
        }
    }

    /// Matches each row whose best column is still free. Rows whose best is their current column
    /// come first, so that a tie does not take it from them.
    pub(super) fn match_free_best_columns(&mut self) {
        let (utilities, best): (Vec<f64>, Vec<u32>) = (0..self.rows.n)
            .map(|j| self.rows.best_column(j, &self.prices))
            .unzip();
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

        if self.row_of.contains(&FREE) {
            self.lower_free_prices(&utilities);
        }
    }

    fn match_if_free(&mut self, j: usize, i: u32) {
        if self.row_of[i as usize] == FREE {
            self.row_of[i as usize] = j as u32;
            self.column_of[j] = i;
        }
    }

    /// Lowers the price of every column without a row to where some row would as soon have it.
    /// Only before any list is made: a list trusts that prices rise.
    fn lower_free_prices(&mut self, utilities: &[f64]) {
        let mut worth = vec![f64::NEG_INFINITY; self.rows.n];
        for (j, &utility) in utilities.iter().enumerate() {
            scan::raise_to(self.rows.arch, self.rows.row(j), utility, &mut worth);
        }

        for (i, worth) in worth
            .into_iter()
            .enumerate()
            .filter(|&(i, _)| self.row_of[i] == FREE)
        {
            self.prices[i] = worth;
        }
    }

    /// Rows without a column bid for their best one, up to the price at which they would as soon
    /// have the second best; who is outbid bids again, until the bids are spent. (Jonker and
    /// Volgenant's augmenting row reduction; an auction without increments.)
    pub(super) fn bid(&mut self) {
        let n = self.rows.n;
        let mut waiting: Vec<usize> = (0..n)
            .rev()
            .filter(|&j| self.column_of[j] == FREE)
            .collect();
        for _ in 0..MAX_BIDS * waiting.len() {
            let Some(j) = waiting.pop() else { return };
            let (column, rise) = self
                .shortlists
                .bid(&self.rows, j, &self.prices, &self.row_of);
            let i = column as usize;
            if rise <= 0.0 && self.row_of[i] != FREE {
                continue;
            }
            self.prices[i] += rise;
            let outbid = std::mem::replace(&mut self.row_of[i], j as u32);
            self.column_of[j] = column;
            if outbid != FREE {
                self.column_of[outbid as usize] = FREE;
                waiting.push(outbid as usize);
            }
        }
    }

    /// Gives every row a column.
    pub(super) fn augment_all(&mut self) {
        for j in 0..self.rows.n {
            if self.column_of[j] == FREE {
                self.find_shortest_path(j);
                self.reprice();
                self.exchange_along_path(j);
            }
        }
    }

    /// The permutation; its prices go where the caller wants them.
    pub(super) fn finish(self, prices: &mut [f64]) -> Vec<u32> {
        prices.copy_from_slice(&self.prices);
        self.column_of
    }

    /// Dijkstra from row `source` to the nearest free column. Distances are relative to the
    /// source's own utility, which no step needs.
    fn find_shortest_path(&mut self, source: usize) {
        self.tree.begin();
        self.relax_listed(source, 0.0);
        while let Some(event) = self.tree.queue.pop() {
            if event.distance >= self.tree.end.1 {
                return;
            }
            match event.what {
                What::Unlisted(row, offset) => self.relax_all(row as usize, offset),
                What::Column(column) if event.distance > self.tree.distance[column as usize] => {}
                What::Column(column) => {
                    self.tree.close(column, event.distance);
                    let row = self.row_of[column as usize] as usize;
                    let offset = event.distance + self.rows.utility(row, column, &self.prices);
                    self.relax_listed(row, offset);
                }
            }
        }
    }

    /// Offers the columns on the row's list a way through it, and notes when to look further.
    fn relax_listed(&mut self, row: usize, offset: f64) {
        for (column, value) in self.shortlists.of(row) {
            let distance = offset - (f64::from(value) - self.prices[column as usize]);
            self.tree.offer(column, distance, row as u32, &self.row_of);
        }

        let distance = offset - self.shortlists.bound(row);
        if distance < self.tree.end.1 {
            self.tree.queue.push(Event {
                distance,
                what: What::Unlisted(row as u32, offset),
            });
        }
    }

    /// Offers every column a way through the row, and makes its list anew.
    fn relax_all(&mut self, row: usize, offset: f64) {
        self.shortlists.make(&self.rows, row, &self.prices);
        let mut wide = std::mem::take(&mut self.tree.wide);
        wide.clear();
        let values = self.rows.row(row);
        let wanted = ColumnsFrom {
            row: values,
            prices: &self.prices,
            threshold: offset - self.tree.end.1,
            limit: usize::MAX,
            columns: &mut wide,
        };
        scan::columns_from(self.rows.arch, wanted);

        // Free columns first: the end they find spares the queue what lies beyond it.
        for is_free in [true, false] {
            for &i in wide
                .iter()
                .filter(|&&i| (self.row_of[i as usize] == FREE) == is_free)
            {
                let utility = f64::from(values[i as usize]) - self.prices[i as usize];
                self.tree
                    .offer(i, offset - utility, row as u32, &self.row_of);
            }
        }
        self.tree.wide = wide;
    }

    /// Raises the price of every closed column by how much nearer it lay than the end of the path:
    /// all slacks stay non-negative and those on the path vanish.
    fn reprice(&mut self) {
        for &(column, distance) in &self.tree.closed {
            self.prices[column as usize] += self.tree.end.1 - distance;
        }
    }

    /// Each row on the path gives up its column for the next one.
    fn exchange_along_path(&mut self, source: usize) {
        let mut column = self.tree.end.0;
        loop {
            let row = self.tree.through[column as usize];
            self.row_of[column as usize] = row;
            std::mem::swap(&mut self.column_of[row as usize], &mut column);
            if row as usize == source {
                return;
            }
        }
    }
}
