//! What both forms of ridge regression have in common: the ridges, how one is chosen, and means.

use faer::{Mat, MatRef};

/// The ridge, in units of the mean square of a row. The smallest is none but for rounding: where inputs
/// say everything, the fit is exact.
pub const FACTORS: [f64; 7] = [1e-9, 3e-5, 0.003, 0.03, 0.3, 3.0, 30.0];

/// A linear map with an intercept.
pub struct RidgeFit {
    /// `[outputs, inputs]`
    pub weight: Mat<f64>,
    pub intercept: Vec<f64>,
    pub chosen: Chosen,
}

/// A ridge that was chosen.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    pub factor: f64,
    /// Share of the held-back residuals' square that is left.
    pub left: f64,
}

/// Squares of what is left of the residuals that are held back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    /// By factor; `None` where nothing is solved.
    pub left: [Option<f64>; FACTORS.len()],
    pub whole: f64,
}

impl Chosen {
    /// Where no row is held back.
    pub const UNTRIED: Self = Self {
        factor: FACTORS[0],
        left: f64::NAN,
    };
}

impl Errors {
    /// The ridge of least error; `None` where the inputs tell nothing of what is missing.
    pub fn choose(&self) -> Option<Chosen> {
        let mut best = None;
        for (factor, left) in FACTORS.into_iter().zip(self.left) {
            let left = left.filter(|left| left.is_finite());
            if let Some(left) = left.filter(|left| best.is_none_or(|(_, least)| *left < least)) {
                best = Some((factor, left));
            }
        }

        let (factor, left) = best.filter(|(_, left)| *left < self.whole)?;
        Some(Chosen {
            factor,
            left: left / self.whole,
        })
    }
}

/// A symmetric matrix of products of as many rows with the ridge of this factor on its diagonal; `None` where it is
/// none.
pub fn ridged(products: MatRef<f64>, factor: f64, rows: usize) -> Option<Mat<f64>> {
    let size = products.nrows();
    let trace: f64 = (0..size).map(|i| products[(i, i)]).sum();
    let ridge = factor * trace / rows as f64;
    if !(ridge > 0.0 && ridge.is_finite()) {
        return None;
    }

    let mut ridged = products.to_owned();
    (0..size).for_each(|i| ridged[(i, i)] += ridge);
    Some(ridged)
}

/// What is to be added to the outputs once the weight has what the inputs' means do not tell.
pub fn intercept(weight: &Mat<f64>, x_mean: &[f64], mean: &[f64]) -> Vec<f64> {
    (0..weight.nrows())
        .map(|output| {
            let inputs = x_mean.iter().enumerate();
            let products = inputs.map(|(input, mean)| weight[(output, input)] * mean);
            mean[output] - products.sum::<f64>()
        })
        .collect()
}

/// Of each column.
pub fn means(rows: MatRef<f64>) -> Vec<f64> {
    (0..rows.ncols())
        .map(|column| rows.col(column).sum() / rows.nrows() as f64)
        .collect()
}

/// Every row less the same.
pub fn less(rows: MatRef<f64>, mean: &[f64]) -> Mat<f64> {
    let mut less = rows.to_owned();
    take_off(&mut less, mean);
    less
}

/// Takes the same off every row.
pub fn take_off(rows: &mut Mat<f64>, mean: &[f64]) {
    for (column, mean) in rows.col_iter_mut().zip(mean) {
        column.iter_mut().for_each(|value| *value -= mean);
    }
}
