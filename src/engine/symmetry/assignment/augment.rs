//! Shortest augmenting paths: rows that have no column yet take one in turn, pushing others along
//! the cheapest chain of exchanges, as Dijkstra's algorithm finds it over slacks
//! `u[j] + price[i] − A[j,i] ≥ 0`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Rows;
use super::scan;
use super::shortlist::Shortlists;

/// No row, or no column.
const FREE: u32 = u32::MAX;

/// A partial matching and the prices at which every matched row has its best column.
pub(super) struct Search<'a> {
    rows: Rows<'a>,
    prices: Vec<f64>,
    column_of: Vec<u32>,
    row_of: Vec<u32>,
    shortlists: Shortlists,
    tree: Tree,
}

/// The tree of shortest paths from one row.
struct Tree {
    /// Shortest distance known to each column.
    distance: Vec<f64>,
    /// The row through which it is reached.
    through: Vec<u32>,
    /// Columns whose distance was written in this search.
    touched: Vec<u32>,
    /// Columns left, with their final distance.
    closed: Vec<(u32, f64)>,
    /// What to look at next, nearest first.
    queue: BinaryHeap<Event>,
    /// The nearest free column and its distance.
    end: (u32, f64),
    /// Columns of a row looked at in whole.
    wide: Vec<u32>,
}

/// A place in the queue.
#[derive(Clone, Copy, PartialEq)]
struct Event {
    distance: f64,
    what: What,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// A matched column, reached.
    Column(u32),
    /// A row, from whose unlisted columns something this near may come; and its offset.
    Unlisted(u32, f64),
}

impl Eq for Event {}

impl Ord for Event {
    /// The nearest is the greatest, for the heap; ties by number, for the same result every time.
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |event: &Self| match event.what {
            What::Column(i) => (0, i),
            What::Unlisted(j, _) => (1, j),
        };
        other.distance.total_cmp(&self.distance).then(number(other).cmp(&number(self)))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> Search<'a> {
    pub(super) fn begin(rows: Rows<'a>, prices: &[f64]) -> Self {
        let n = rows.n;
        let tree = Tree {
            distance: vec![f64::INFINITY; n],
            through: vec![0; n],
            touched: Vec::with_capacity(n),
            closed: Vec::with_capacity(n),
            queue: BinaryHeap::with_capacity(n),
            end: (FREE, f64::INFINITY),
            wide: Vec::with_capacity(n),
        };
        Self {
            rows,
            prices: prices.to_vec(),
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
            shortlists: Shortlists::empty(n),
            tree,
        }
    }

    /// Matches each row whose best column is still free. Rows whose best is their current column
    /// come first, so that a tie does not take it from them.
    pub(super) fn match_free_best_columns(&mut self) {
        let mut best = Vec::with_capacity(self.rows.n);
        for j in 0..self.rows.n {
            let i = self.rows.best_column(j, &self.prices);
            if self.rows.current.is_some_and(|current| current[j] == i) {
                self.match_if_free(j, i);
            }
            best.push(i);
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
            self.tree.queue.push(Event { distance, what: What::Unlisted(row as u32, offset) });
        }
    }

    /// Offers every column a way through the row, and makes its list anew.
    fn relax_all(&mut self, row: usize, offset: f64) {
        self.shortlists.make(&self.rows, row, &self.prices);
        let mut wide = std::mem::take(&mut self.tree.wide);
        wide.clear();
        let values = self.rows.row(row);
        let threshold = offset - self.tree.end.1;
        scan::columns_from(
            self.rows.arch,
            (values, &self.prices),
            threshold,
            usize::MAX,
            &mut wide,
        );
        let distance = |i: u32| offset - (f64::from(values[i as usize]) - self.prices[i as usize]);
        // Free columns first: the end they find spares the queue what lies beyond it.
        for &i in wide.iter().filter(|&&i| self.row_of[i as usize] == FREE) {
            self.tree.offer(i, distance(i), row as u32, &self.row_of);
        }
        for &i in wide.iter().filter(|&&i| self.row_of[i as usize] != FREE) {
            self.tree.offer(i, distance(i), row as u32, &self.row_of);
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

impl Tree {
    fn begin(&mut self) {
        for column in self.touched.drain(..) {
            self.distance[column as usize] = f64::INFINITY;
        }
        self.closed.clear();
        self.queue.clear();
        self.end = (FREE, f64::INFINITY);
    }

    /// Settles a column's distance; no rounding error in a later offer will reopen it.
    fn close(&mut self, column: u32, distance: f64) {
        self.closed.push((column, distance));
        self.distance[column as usize] = f64::NEG_INFINITY;
    }

    /// Notes a way to a column if it is shorter than any known and than the way to the end.
    fn offer(&mut self, column: u32, distance: f64, row: u32, row_of: &[u32]) {
        let i = column as usize;
        if distance >= self.end.1 || distance >= self.distance[i] {
            return;
        }
        self.touched.push(column);
        self.distance[i] = distance;
        self.through[i] = row;
        if row_of[i] == FREE {
            self.end = (column, distance);
        } else {
            self.queue.push(Event { distance, what: What::Column(column) });
        }
    }
}
