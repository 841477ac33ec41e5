//! Ridge regression by the products of rows with one another, for layers of about as many inputs as rows
//! or more.
//!
//! `ΔW = Rᵀ (XXᵀ + λI)⁻¹ X`, as [`ridge`](super::ridge) has it. Everything that does not depend on the
//! residuals is computed once, for all layers that read the same rows: `XXᵀ`, and for every ridge the
//! matrix by which the residuals of the rows that are fitted predict those of the rows held back. So a
//! layer of many outputs may be fitted some outputs at a time.

use std::ops::AddAssign;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::ridge::{Chosen, Errors, FACTORS, RidgeFit, intercept, less, means, ridged};
use crate::tensors::{
    matmul::{exact_gram, exact_product},
    solve::Positive,
};

/// With so many inputs, somewhat more rows than inputs are regressed by their own products.
const WIDE: usize = 1024;

/// Whether rows of so many inputs are regressed by their products with one another.
pub fn is_apt(rows: usize, inputs: usize) -> bool {
    rows < inputs || inputs >= WIDE && rows <= 2 * inputs
}

/// Rows of a layer's inputs, with what every regression on them has in common.
pub struct Kernel {
    /// `[rows, inputs]`
    x: Mat<f64>,
    /// `XXᵀ`
    products: Mat<f64>,
    /// So many rows, the first, are fitted while a ridge is chosen.
    used: usize,
    is_centred: bool,
    /// By factor `[held back, used]`; `None` where nothing is solved, none at all where no row is held back.
    predictors: Vec<Option<Mat<f64>>>,
}

/// The regression on all rows by one ridge.
pub struct Solver<'k> {
    kernel: &'k Kernel,
    ridged: Positive,
    x_mean: Vec<f64>,
}

impl Kernel {
    /// Of rows `[rows, inputs]`, of which the last `held_back` choose the ridge.
    pub fn of(x: Mat<f64>, held_back: usize, is_centred: bool) -> Self {
        let used = x.nrows().saturating_sub(held_back);
        let products = exact_gram(x.transpose());
        let mut kernel = Self {
            x,
            products,
            used,
            is_centred,
            predictors: Vec::new(),
        };

        if held_back > 0 && used > 1 {
            kernel.predictors = kernel.predictors();
        }
        kernel
    }

    fn predictors(&self) -> Vec<Option<Mat<f64>>> {
        let (centred, rows) = (self.centred(self.used), self.x.nrows());
        let system = centred.submatrix(0, 0, self.used, self.used);
        let across = centred.submatrix(0, self.used, self.used, rows - self.used);

        FACTORS
            .par_iter()
            .map(|&factor| {
                let ridged = ridged(system, factor, self.used)?;
                let predictor = Positive::of(ridged)?.solve(across.to_owned());
                predictor
                    .is_all_finite()
                    .then(|| predictor.transpose().to_owned())
            })
            .collect()
    }

    /// Products of the rows less the mean of the first so many.
    fn centred(&self, used: usize) -> Mat<f64> {
        if !self.is_centred {
            return self.products.clone();
        }

        let rows = self.products.nrows();
        let with_mean: Vec<f64> = (0..rows)
            .map(|row| {
                (0..used)
                    .map(|other| self.products[(row, other)])
                    .sum::<f64>()
                    / used as f64
            })
            .collect();
        let mean = with_mean[..used].iter().sum::<f64>() / used as f64;

        Mat::from_fn(rows, rows, |i, j| {
            self.products[(i, j)] - with_mean[i] - with_mean[j] + mean
        })
    }

    /// Errors of every ridge on the rows held back, of residuals `[rows, outputs]`.
    pub fn errors(&self, residuals: MatRef<f64>) -> Errors {
        if self.predictors.is_empty() {
            return Errors::default();
        }
        let (fitted, held) = residuals.split_at_row(self.used);
        let mean = if self.is_centred {
            means(fitted)
        } else {
            vec![0.0; residuals.ncols()]
        };
        let (fitted, centred) = (less(fitted, &mean), less(held, &mean));

        let mut errors = Errors {
            whole: held.squared_norm_l2(),
            ..Errors::default()
        };
        for (left, predictor) in errors.left.iter_mut().zip(&self.predictors) {
            *left = predictor.as_ref().map(|predictor| {
                let predicted = exact_product(predictor.as_ref(), fitted.as_ref());
                (&centred - predicted).squared_norm_l2()
            });
        }
        errors
    }

    /// The ridge of least error; `None` where the inputs tell nothing of what is missing.
    pub fn choose(&self, errors: &Errors) -> Option<Chosen> {
        if self.predictors.is_empty() {
            return Some(Chosen::UNTRIED);
        }
        errors.choose()
    }

    /// The regression of residuals `[rows, outputs]`; `None` where the rows say nothing of them or overflow.
    pub fn fit(&self, residuals: MatRef<f64>) -> Option<RidgeFit> {
        let chosen = self.choose(&self.errors(residuals))?;
        let (weight, intercept) = self.solver(chosen.factor)?.fit(residuals)?;
        Some(RidgeFit {
            weight,
            intercept,
            chosen,
        })
    }

    /// The regression on all rows; `None` where the rows say nothing or overflow.
    pub fn solver(&self, factor: f64) -> Option<Solver<'_>> {
        let rows = self.x.nrows();
        let ridged = Positive::of(ridged(self.centred(rows).as_ref(), factor, rows)?)?;
        let x_mean = if self.is_centred {
            means(self.x.as_ref())
        } else {
            Vec::new()
        };

        Some(Solver {
            kernel: self,
            ridged,
            x_mean,
        })
    }
}

impl AddAssign for Errors {
    fn add_assign(&mut self, more: Self) {
        self.whole += more.whole;
        for (left, more) in self.left.iter_mut().zip(more.left) {
            *left = Some(left.unwrap_or_default() + more.unwrap_or(f64::INFINITY));
        }
    }
}

impl Solver<'_> {
    /// Weight `[outputs, inputs]` and intercept for residuals `[rows, outputs]`; `None` where they overflow.
    pub fn fit(&self, residuals: MatRef<f64>) -> Option<(Mat<f64>, Vec<f64>)> {
        let outputs = residuals.ncols();
        let Kernel { x, is_centred, .. } = self.kernel;
        let mean = if *is_centred {
            means(residuals)
        } else {
            vec![0.0; outputs]
        };
        let mut dual = self.ridged.solve(less(residuals, &mean));
        if *is_centred {
            // The duals of an output add up to nothing but for rounding: without it the rows need not be
            // centred.
            dual = less(dual.as_ref(), &means(dual.as_ref()));
        }
        let weight = exact_product(dual.transpose(), x.as_ref());
        if !weight.is_all_finite() {
            return None;
        }

        let intercept = if *is_centred {
            intercept(&weight, &self.x_mean, &mean)
        } else {
            mean
        };
        Some((weight, intercept))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::gram::Gram, *};

    fn drawn(rows: usize, columns: usize, seed: usize) -> Mat<f64> {
        Mat::from_fn(rows, columns, |i, j| {
            ((i * 7919 + j * 104_729 + seed * i * j) % 1009) as f64 / 500.0 - 1.0
        })
    }

    /// The same ridge, weight and intercept as the regression by the products of inputs, at once or some
    /// outputs at a time, with fewer inputs than rows or more.
    #[test]
    fn it_is_the_same_regression() {
        for (inputs, held_back, is_centred) in [
            (12, 9, true),
            (12, 9, false),
            (60, 9, true),
            (60, 9, false),
            (12, 0, true),
        ] {
            let x = drawn(40, inputs, 3);
            let told = x.subcols(0, 6) * drawn(6, 6, 5);
            let residuals = told + 0.1 * drawn(40, 6, 11);
            let gram = Gram::of(x.clone(), held_back, is_centred);
            let Some(RidgeFit {
                weight,
                intercept,
                chosen: Chosen { factor, left },
            }) = gram.fit(residuals.as_ref())
            else {
                panic!("{inputs} inputs tell something")
            };

            let kernel = Kernel::of(x, held_back, is_centred);
            let mut errors = kernel.errors(residuals.subcols(0, 2));
            errors += kernel.errors(residuals.subcols(2, 4));
            let chosen = kernel.choose(&errors).expect("something is told");
            assert_eq!(chosen.factor, factor);
            assert!(held_back == 0 || (chosen.left - left).abs() < 1e-8);
            let (found, shift) = kernel
                .solver(factor)
                .expect("rows")
                .fit(residuals.as_ref())
                .expect("finite");
            // With more rows than inputs the smallest ridge is little against the duals' rounding.
            let tolerance = if inputs < 40 { 1e-4 } else { 1e-7 } * weight.norm_max();
            let off = (&found - &weight).norm_max();
            assert!(
                off < tolerance,
                "{inputs} {is_centred}: {off} of {}",
                weight.norm_max()
            );
            let off = shift.iter().zip(&intercept).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < tolerance);
        }
    }

    #[test]
    fn what_the_inputs_do_not_tell_is_not_fitted() {
        let kernel = Kernel::of(Mat::zeros(6, 8), 2, false);
        assert!(
            kernel
                .choose(&kernel.errors(drawn(6, 2, 1).as_ref()))
                .is_none()
        );
        assert!(kernel.solver(0.3).is_none());
        let kernel = Kernel::of(drawn(6, 8, 1), 2, true);
        assert!(
            kernel
                .choose(&kernel.errors(Mat::zeros(6, 2).as_ref()))
                .is_none(),
            "nothing missing"
        );
    }
}
