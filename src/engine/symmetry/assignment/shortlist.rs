//! The columns worth a row's while. Prices only rise during a solve, so a list of a row's best
//! columns, with a bound on all the others, stays true until it is made anew: most bids and most of
//! Dijkstra's steps look at some forty columns and never at the rest.

use super::{
    FREE, Rows,
    scan::{self, ColumnsFrom},
};

/// At most so many columns per row.
const CAPACITY: usize = 64;
/// The list reaches down to the maximum of the group with this rank, about
/// `GROUPS · ln(GROUPS / (GROUPS − RANK))` columns when they are dealt evenly.
const RANK: usize = 28;

/// One list per row.
pub(super) struct Shortlists {
    columns: Vec<[u32; CAPACITY]>,
    values: Vec<[f32; CAPACITY]>,
    lengths: Vec<usize>,
    bounds: Vec<f64>,
    found: Vec<u32>,
}

impl Shortlists {
    pub(super) fn empty(n: usize) -> Self {
        Self {
            columns: vec![[0; CAPACITY]; n],
            values: vec![[0.0; CAPACITY]; n],
            lengths: vec![0; n],
            bounds: vec![f64::INFINITY; n],
            found: Vec::with_capacity(2 * CAPACITY),
        }
    }

    /// Lists row `j`'s best columns at these prices.
    pub(super) fn make(&mut self, rows: &Rows, j: usize, prices: &[f64]) {
        let row = rows.row(j);
        let mut maxima = scan::group_maxima(rows.arch, row, prices);
        maxima.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut rank = RANK.min(rows.n - 1);

        loop {
            self.found.clear();
            let wanted = ColumnsFrom {
                row,
                prices,
                threshold: maxima[rank],
                limit: CAPACITY,
                columns: &mut self.found,
            };
            scan::columns_from(rows.arch, wanted);
            if self.found.len() <= CAPACITY || rank == 0 {
                break;
            }
            rank /= 2;
        }

        // With rank 0 all that is listed is equal, and so is what finds no place.
        self.found.truncate(CAPACITY);
        self.bounds[j] = maxima[rank];
        self.lengths[j] = self.found.len();

        for (k, &i) in self.found.iter().enumerate() {
            self.columns[j][k] = i;
            self.values[j][k] = row[i as usize];
        }
    }

    /// Row `j`'s best column, a free one among equals, and how much better it is than the second best.
    pub(super) fn bid(
        &mut self,
        rows: &Rows,
        j: usize,
        prices: &[f64],
        row_of: &[u32],
    ) -> (u32, f64) {
        let (column, best, second) = self.best_two(j, prices, row_of);
        if second >= self.bounds[j] {
            return (column, best - second);
        }
        self.make(rows, j, prices);
        let (column, best, second) = self.best_two(j, prices, row_of);
        (column, best - second.max(self.bounds[j]))
    }

    fn best_two(&self, j: usize, prices: &[f64], row_of: &[u32]) -> (u32, f64, f64) {
        let mut found = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (i, value) in self.of(j) {
            let utility = f64::from(value) - prices[i as usize];
            let free = row_of[i as usize] == FREE;
            if utility > found.1 || (free && utility >= found.1) {
                found = (i, utility, found.1);
            } else if utility > found.2 {
                found.2 = utility;
            }
        }

        found
    }

    /// Row `j`'s listed columns with their entries of the matrix.
    pub(super) fn of(&self, j: usize) -> impl Iterator<Item = (u32, f32)> {
        let length = self.lengths[j];
        let columns = self.columns[j][..length].iter();
        columns
            .copied()
            .zip(self.values[j][..length].iter().copied())
    }

    /// No column that row `j` does not list has a higher utility.
    pub(super) fn bound(&self, j: usize) -> f64 {
        self.bounds[j]
    }
}
