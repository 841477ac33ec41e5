//! The softmax of wide rows, in f32 but for the sum of each run: of a vocabulary, which would take longer in f64
//! than the layers below it.

use super::{
    functions::exp,
    loops::{maximum, sum_of},
};
use crate::tensors::vectorized;

/// Values summed in f32 before f64 takes over.
const F32_RUN: usize = 4096;

/// The largest number of a row, and `Σ exp(v − maximum)`.
pub fn normaliser(row: &[f32]) -> (f64, f64) {
    vectorized(|| {
        let maximum = maximum(row);
        let runs = row.chunks(F32_RUN);
        let total = runs.map(|run| sum_of(run, run, |v, _| exp(v - maximum)));
        (f64::from(maximum), total.sum())
    })
}

/// `exp(v − maximum) · factor` in the place of the values.
pub fn exponentials(row: &mut [f32], maximum: f64, factor: f64) {
    let (maximum, factor) = (maximum as f32, factor as f32);
    vectorized(|| {
        row.iter_mut().for_each(|v| *v = exp(*v - maximum) * factor);
    });
}
