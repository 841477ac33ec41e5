//! The loops over whole rows: plain arithmetic over blocks of columns, compiled once per
//! instruction set and chosen at run time. A lane keeps its own maximum, so no pass waits on one
//! comparison after another.
#![expect(
    clippy::inline_always,
    reason = "a loop that is not inlined is not compiled for AVX"
)]

use pulp::{Arch, Simd, WithSimd};

const BLOCK: usize = 64;
/// Columns are dealt to this many groups, `i mod GROUPS`, in [`group_maxima`].
pub(super) const GROUPS: usize = 64;

/// `max_i |row[i]|`, infinite if anything in the row is infinite or not a number.
pub(super) fn largest_magnitude(arch: Arch, row: &[f32]) -> f32 {
    arch.dispatch(Largest(row))
}

struct Largest<'a>(&'a [f32]);

impl WithSimd for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        // The bits of |x| order as |x| does, with NaN above infinity: no comparison is lost to NaN.
        let mut high = [0_u32; BLOCK];
        let (blocks, tail) = self.0.as_chunks::<BLOCK>();
        for block in blocks {
            for (h, x) in high.iter_mut().zip(block) {
                *h = (*h).max(x.abs().to_bits());
            }
        }

        let tail = tail.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
        let high = f32::from_bits(high.into_iter().max().unwrap_or(0).max(tail));

        if high.is_finite() {
            high
        } else {
            f32::INFINITY
        }
    }
}

/// `max (row[i] − prices[i])` over the columns of each group, −∞ for a group without columns.
pub(super) fn group_maxima(arch: Arch, row: &[f32], prices: &[f64]) -> [f64; GROUPS] {
    arch.dispatch(Maxima { row, prices })
}

/// `max_i (row[i] − prices[i])` and the first column that attains it. The row is not empty.
pub(super) fn best(arch: Arch, row: &[f32], prices: &[f64]) -> (f64, u32) {
    let maxima = group_maxima(arch, row, prices);
    let best = maxima
        .iter()
        .fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut first = row.len() - 1;

    for (group, _) in maxima.iter().enumerate().filter(|(_, high)| **high >= best) {
        let mut columns = (group..first).step_by(GROUPS);
        first = columns
            .find(|&i| f64::from(row[i]) - prices[i] >= best)
            .unwrap_or(first);
    }

    (best, first as u32)
}

struct Maxima<'a> {
    row: &'a [f32],
    prices: &'a [f64],
}

impl WithSimd for Maxima<'_> {
    type Output = [f64; GROUPS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; GROUPS] {
        let mut high = [f64::NEG_INFINITY; GROUPS];
        let (rows, row_tail) = self.row.as_chunks::<GROUPS>();
        let (prices, price_tail) = self.prices[..self.row.len()].as_chunks::<GROUPS>();

        for (a, p) in rows.iter().zip(prices) {
            for l in 0..GROUPS {
                let x = f64::from(a[l]) - p[l];
                high[l] = if x > high[l] { x } else { high[l] };
            }
        }

        for ((h, a), p) in high.iter_mut().zip(row_tail).zip(price_tail) {
            let x = f64::from(*a) - p;
            *h = if x > *h { x } else { *h };
        }

        high
    }
}

/// `worth[i] = max(worth[i], row[i] − utility)`.
pub(super) fn raise_to(arch: Arch, row: &[f32], utility: f64, worth: &mut [f64]) {
    arch.dispatch(RaiseTo {
        row,
        utility,
        worth,
    });
}

struct RaiseTo<'a> {
    row: &'a [f32],
    utility: f64,
    worth: &'a mut [f64],
}

impl WithSimd for RaiseTo<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (w, a) in self.worth.iter_mut().zip(self.row) {
            let x = f64::from(*a) - self.utility;
            *w = if x > *w { x } else { *w };
        }
    }
}

/// Appends the columns with `row[i] − prices[i] ≥ threshold`, in order, but stops after the block
/// in which `columns` outgrows `limit`.
pub(super) fn columns_from(arch: Arch, wanted: ColumnsFrom<'_>) {
    arch.dispatch(wanted);
}

/// A search for columns of high utility, `row[i] − prices[i]`.
pub(super) struct ColumnsFrom<'a> {
    pub row: &'a [f32],
    pub prices: &'a [f64],
    pub threshold: f64,
    pub limit: usize,
    pub columns: &'a mut Vec<u32>,
}

impl WithSimd for ColumnsFrom<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (rows, row_tail) = self.row.as_chunks::<BLOCK>();
        let (prices, price_tail) = self.prices[..self.row.len()].as_chunks::<BLOCK>();
        for (b, (a, p)) in rows.iter().zip(prices).enumerate() {
            let mut any = false;
            for l in 0..BLOCK {
                any |= f64::from(a[l]) - p[l] >= self.threshold;
            }
            if any {
                append(self.columns, b * BLOCK, a, p, self.threshold);
                if self.columns.len() > self.limit {
                    return;
                }
            }
        }

        append(
            self.columns,
            rows.len() * BLOCK,
            row_tail,
            price_tail,
            self.threshold,
        );
    }
}

/// Appends the columns of a block that begins at `start`.
fn append(columns: &mut Vec<u32>, start: usize, row: &[f32], prices: &[f64], threshold: f64) {
    let utilities = row.iter().zip(prices).map(|(a, p)| f64::from(*a) - p);
    let enough = utilities
        .enumerate()
        .filter(|(_, utility)| *utility >= threshold);
    columns.extend(enough.map(|(k, _)| (start + k) as u32));
}
