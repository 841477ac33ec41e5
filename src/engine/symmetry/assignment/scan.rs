//! The loops that take the time: plain arithmetic over blocks of columns, compiled once per
//! instruction set and chosen at run time. A lane keeps its own minimum, so no pass waits on one
//! comparison after another.
#![expect(clippy::inline_always, reason = "a loop that is not inlined is not compiled for AVX")]

use pulp::{Arch, Simd, WithSimd};

/// Columns handled together; buffers are padded to a multiple of it.
pub(super) const BLOCK: usize = 64;
const LANES: usize = 8;

/// `n` rounded up to whole blocks.
pub(super) fn padded(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}

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
        if high.is_finite() { high } else { f32::INFINITY }
    }
}

/// `max_i (row[i] − prices[i])` and the first column that attains it. The row is not empty.
pub(super) fn best(arch: Arch, row: &[f32], prices: &[f64]) -> (f64, u32) {
    arch.dispatch(Best { row, prices })
}

struct Best<'a> {
    row: &'a [f32],
    prices: &'a [f64],
}

impl WithSimd for Best<'_> {
    type Output = (f64, u32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f64, u32) {
        let utility = |(a, p): (&f32, &f64)| f64::from(*a) - p;
        let (mut best, mut start) = (f64::NEG_INFINITY, 0);
        let (rows, row_tail) = self.row.as_chunks::<BLOCK>();
        let (prices, price_tail) = self.prices[..self.row.len()].as_chunks::<BLOCK>();
        for (b, (a, p)) in rows.iter().zip(prices).enumerate() {
            let mut high = [f64::NEG_INFINITY; LANES];
            for (a, p) in a.as_chunks::<LANES>().0.iter().zip(p.as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    let x = f64::from(a[l]) - p[l];
                    high[l] = if x > high[l] { x } else { high[l] };
                }
            }
            let high = high.into_iter().fold(f64::NEG_INFINITY, f64::max);
            if high > best {
                (best, start) = (high, b * BLOCK);
            }
        }
        let tail = row_tail.iter().zip(price_tail).map(utility).fold(best, f64::max);
        if tail > best {
            (best, start) = (tail, rows.len() * BLOCK);
        }
        let mut from = self.row[start..].iter().zip(&self.prices[start..]);
        let within = from.position(|pair| utility(pair) >= best).unwrap_or(0);
        (best, (start + within) as u32)
    }
}

/// Offers every open column the way through one row; see [`Frontier::relax`].
pub(super) struct Frontier {
    /// Shortest distance known to each open column; infinite for closed ones.
    pub distance: Vec<f64>,
    /// The row through which that distance is reached.
    pub through: Vec<u32>,
    /// Price of each open column; infinite for closed ones.
    pub open_price: Vec<f64>,
    /// Shortest distance within each block of columns.
    pub shortest: Vec<f64>,
}

impl Frontier {
    pub(super) fn of(prices: &[f64]) -> Self {
        let width = padded(prices.len());
        let mut open_price = prices.to_vec();
        open_price.resize(width, f64::INFINITY);
        Self {
            distance: vec![f64::INFINITY; width],
            through: vec![0; width],
            open_price,
            shortest: vec![f64::INFINITY; width / BLOCK],
        }
    }

    /// `distance[i] = min(distance[i], offset + price[i] − row[i])` over the open columns, noting
    /// `id` where it fell, and the shortest of each block. Returns the shortest of all.
    pub(super) fn relax(&mut self, arch: Arch, row: &[f32], offset: f64, id: u32) -> f64 {
        arch.dispatch(Relax { frontier: self, row, offset, id })
    }
}

struct Relax<'a> {
    frontier: &'a mut Frontier,
    row: &'a [f32],
    offset: f64,
    id: u32,
}

impl WithSimd for Relax<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Frontier { distance, through, open_price, shortest } = self.frontier;
        let (rows, tail) = self.row.as_chunks::<BLOCK>();
        let mut last = [0.0; BLOCK];
        last[..tail.len()].copy_from_slice(tail);
        let rows = rows.iter().chain((!tail.is_empty()).then_some(&last));
        let distance = distance.as_chunks_mut::<BLOCK>().0.iter_mut();
        let through = through.as_chunks_mut::<BLOCK>().0.iter_mut();
        let prices = open_price.as_chunks::<BLOCK>().0.iter();
        let mut overall = f64::INFINITY;
        for ((((a, d), t), p), low) in rows.zip(distance).zip(through).zip(prices).zip(shortest) {
            *low = relax_block(a, p, (self.offset, self.id), (d, t));
            overall = if *low < overall { *low } else { overall };
        }
        overall
    }
}

#[inline(always)]
fn relax_block(
    row: &[f32; BLOCK],
    price: &[f64; BLOCK],
    (offset, id): (f64, u32),
    (distance, through): (&mut [f64; BLOCK], &mut [u32; BLOCK]),
) -> f64 {
    let mut low = [f64::INFINITY; LANES];
    for k in 0..BLOCK / LANES {
        for (l, low) in low.iter_mut().enumerate() {
            let i = k * LANES + l;
            let offered = (price[i] - f64::from(row[i])) + offset;
            let shorter = offered < distance[i];
            let d = if shorter { offered } else { distance[i] };
            through[i] = if shorter { id } else { through[i] };
            distance[i] = d;
            *low = if d < *low { d } else { *low };
        }
    }
    low.into_iter().fold(f64::INFINITY, |a, b| if b < a { b } else { a })
}
