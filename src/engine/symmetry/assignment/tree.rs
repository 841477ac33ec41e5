//! The tree of shortest paths from one row, as it grows: distances known, columns settled, what to
//! look at next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::FREE;

/// The tree of shortest paths from one row.
pub(super) struct Tree {
    /// Shortest distance known to each column.
    pub distance: Vec<f64>,
    /// The row through which it is reached.
    pub through: Vec<u32>,
    /// Columns whose distance was written in this search.
    touched: Vec<u32>,
    /// Columns left, with their final distance.
    pub closed: Vec<(u32, f64)>,
    /// What to look at next, nearest first.
    pub queue: BinaryHeap<Event>,
    /// The nearest free column and its distance.
    pub end: (u32, f64),
    /// Columns of a row looked at in whole.
    pub wide: Vec<u32>,
}

/// A place in the queue.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Event {
    pub distance: f64,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum What {
    /// A matched column, reached.
    Column(u32),
    /// A row, from whose unlisted columns something this near may come; and its offset.
    Unlisted(u32, f64),
}

impl What {
    /// Columns before rows, each by its number.
    fn number(self) -> (u8, u32) {
        match self {
            Self::Column(i) => (0, i),
            Self::Unlisted(j, _) => (1, j),
        }
    }
}

impl Eq for Event {}

impl Ord for Event {
    /// The nearest is the greatest, for the heap; ties by number, for the same result every time.
    fn cmp(&self, other: &Self) -> Ordering {
        let nearest = other.distance.total_cmp(&self.distance);
        nearest.then(other.what.number().cmp(&self.what.number()))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Tree {
    pub(super) fn empty(n: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; n],
            through: vec![0; n],
            touched: Vec::with_capacity(n),
            closed: Vec::with_capacity(n),
            queue: BinaryHeap::with_capacity(n),
            end: (FREE, f64::INFINITY),
            wide: Vec::with_capacity(n),
        }
    }

    pub(super) fn begin(&mut self) {
        for column in self.touched.drain(..) {
            self.distance[column as usize] = f64::INFINITY;
        }
        self.closed.clear();
        self.queue.clear();
        self.end = (FREE, f64::INFINITY);
    }

    /// Settles a column's distance; no rounding error in a later offer will reopen it.
    pub(super) fn close(&mut self, column: u32, distance: f64) {
        self.closed.push((column, distance));
        self.distance[column as usize] = f64::NEG_INFINITY;
    }

    /// Notes a way to a column if it is shorter than any known and than the way to the end.
    pub(super) fn offer(&mut self, column: u32, distance: f64, row: u32, row_of: &[u32]) {
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
            self.queue.push(Event {
                distance,
                what: What::Column(column),
            });
        }
    }
}
