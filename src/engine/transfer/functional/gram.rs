//! Ridge regression by the products of inputs with one another, for layers of fewer inputs than rows.
//!
//! `ΔW = Rᵀ X (XᵀX + λI)⁻¹`. What does not depend on the residuals is computed once for all layers that read the same
//! rows: query, key and value, or a gate and what it gates. `XᵀR` is summed over the rows that are fitted first and over
//! those held back when the ridge has been chosen, so that no row is gone through twice.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::ridge::{Chosen, Errors, FACTORS, RidgeFit, intercept, less, means, ridged, take_off};
use crate::tensors::{
    matmul::{exact_accumulate, exact_gram, exact_product},
    solve::solve_positive,
};

/// Rows by which a ridge is chosen at most, evenly drawn of those held back: more tell no better which of a few factors
/// is the best.
const MOST_JUDGES: usize = 1024;

/// Rows of a layer's inputs, with what every regression on them has in common.
pub struct Gram {
    /// `[rows, inputs]`, less their mean where an intercept is fitted.
    x: Mat<f64>,
    /// What was taken off; `None` where no intercept is fitted.
    x_mean: Option<Vec<f64>>,
    /// `XᵀX`
    products: Mat<f64>,
    /// None where no row is held back.
    choice: Option<Choice>,
}

/// What a ridge is chosen by.
struct Choice {
    /// So many rows, the first, are fitted.
    used: usize,
    /// `XᵀX` of these less their mean.
    products: Mat<f64>,
    /// Of these.
    x_mean: Vec<f64>,
    /// Of all rows, those that judge.
    judges: Vec<usize>,
    /// Less that mean, `[judges, inputs]`.
    judged: Mat<f64>,
}

impl Gram {
    /// Of rows `[rows, inputs]`, of which the last `held_back` choose the ridge.
    pub fn of(mut x: Mat<f64>, held_back: usize, is_centred: bool) -> Self {
        let x_mean = is_centred.then(|| means(x.as_ref()));
        if let Some(mean) = &x_mean {
            take_off(&mut x, mean);
        }

        let used = x.nrows().saturating_sub(held_back);
        if held_back == 0 || used < 2 {
            return Self {
                products: exact_gram(x.as_ref()),
                x,
                x_mean,
                choice: None,
            };
        }
        let (fitted, held) = x.split_at_row(used);
        let mut of_fitted = exact_gram(fitted);
        let products = &of_fitted + exact_gram(held);
        let mean = if is_centred {
            means(fitted)
        } else {
            vec![0.0; x.ncols()]
        };
        take_off_outer(&mut of_fitted, used, &mean, &mean);

        let every = held_back.div_ceil(MOST_JUDGES);
        let judges: Vec<usize> = (used..x.nrows()).step_by(every).collect();
        let mut judged = drawn(x.as_ref(), &judges);
        take_off(&mut judged, &mean);
        let choice = Some(Choice {
            used,
            products: of_fitted,
            x_mean: mean,
            judges,
            judged,
        });
        Self {
            x,
            x_mean,
            products,
            choice,
        }
    }

    /// The regression of residuals `[rows, outputs]`; `None` where the rows say nothing of them or overflow.
    pub fn fit(&self, residuals: MatRef<f64>) -> Option<RidgeFit> {
        let (rows, outputs) = residuals.shape();
        let mean = match self.x_mean {
            Some(_) => means(residuals),
            None => vec![0.0; outputs],
        };
        let centred = less(residuals, &mean);

        let used = self.choice.as_ref().map_or(rows, |choice| choice.used);
        let mut products = exact_product(
            self.x.subrows(0, used).transpose(),
            centred.subrows(0, used),
        );
        let chosen = match &self.choice {
            Some(choice) => choice.choose(Residuals {
                as_they_are: residuals,
                centred: centred.as_ref(),
                of_fitted: &products,
                has_mean: self.x_mean.is_some(),
            })?,
            None => Chosen::UNTRIED,
        };

        exact_accumulate(
            products.as_mut(),
            self.x.subrows(used, rows - used).transpose(),
            centred.subrows(used, rows - used),
        );
        let ridged = ridged(self.products.as_ref(), chosen.factor, rows)?;
        let weight = solve_positive(ridged, products.as_ref())?;
        let weight = weight.transpose().to_owned();
        if !weight.is_all_finite() {
            return None;
        }
        let intercept = match &self.x_mean {
            Some(x_mean) => intercept(&weight, x_mean, &mean),
            None => mean,
        };
        Some(RidgeFit {
            weight,
            intercept,
            chosen,
        })
    }
}

/// Residuals `[rows, outputs]` for the choice of a ridge.
struct Residuals<'r> {
    as_they_are: MatRef<'r, f64>,
    /// Less their mean over all rows.
    centred: MatRef<'r, f64>,
    /// `XᵀR` of the rows that are fitted, both less their means over all rows, `[inputs, outputs]`.
    of_fitted: &'r Mat<f64>,
    has_mean: bool,
}

impl Choice {
    /// The ridge of least error on the judges; `None` where the inputs tell nothing of what is missing.
    fn choose(&self, residuals: Residuals) -> Option<Chosen> {
        let mean = if residuals.has_mean {
            means(residuals.centred.subrows(0, self.used))
        } else {
            vec![0.0; residuals.centred.ncols()]
        };
        let mut products = residuals.of_fitted.clone();
        take_off_outer(&mut products, self.used, &self.x_mean, &mean);
        let mut wanted = drawn(residuals.centred, &self.judges);
        take_off(&mut wanted, &mean);

        let left: Vec<Option<f64>> = FACTORS
            .par_iter()
            .map(|&factor| {
                let ridged = ridged(self.products.as_ref(), factor, self.used)?;
                let weight = solve_positive(ridged, products.as_ref())?;
                let predicted = exact_product(self.judged.as_ref(), weight.as_ref());
                weight
                    .is_all_finite()
                    .then(|| (&wanted - predicted).squared_norm_l2())
            })
            .collect();
        let mut errors = Errors {
            whole: drawn(residuals.as_they_are, &self.judges).squared_norm_l2(),
            ..Errors::default()
        };
        errors
            .left
            .iter_mut()
            .zip(left)
            .for_each(|(to, left)| *to = left);
        errors.choose()
    }
}

/// Takes `rows · a bᵀ` off: products of rows become those of rows less their means `a` and `b`.
fn take_off_outer(products: &mut Mat<f64>, rows: usize, a: &[f64], b: &[f64]) {
    for (column, b) in products.col_iter_mut().zip(b) {
        let values = column.iter_mut().zip(a);
        values.for_each(|(value, a)| *value -= rows as f64 * a * b);
    }
}

/// Some of the rows.
fn drawn(rows: MatRef<f64>, which: &[usize]) -> Mat<f64> {
    Mat::from_fn(which.len(), rows.ncols(), |row, column| {
        rows[(which[row], column)]
    })
}
