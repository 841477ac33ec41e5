//! Ridge regression of a layer's residuals on its inputs, in f64.
//!
//! `ΔW = Rᵀ X (XᵀX + λI)⁻¹` with `λ = f · tr(XᵀX) / rows`, centred where the layer has a bias. Where
//! the input is wider than the rows, the dual form `ΔW = Rᵀ (XXᵀ + λI)⁻¹ X`. `f` is chosen from
//! [`FACTORS`] by the error on rows that are held back, and the fit is then made of all rows.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::tensors::{matmul::exact_product, solve::solve_positive};

/// The ridge, in units of the mean square of a row. The smallest is none but for rounding: where inputs
/// say everything, the fit is exact.
pub const FACTORS: [f64; 7] = [1e-9, 3e-5, 0.003, 0.03, 0.3, 3.0, 30.0];

/// What is regressed on what.
pub struct Regression {
    /// `[rows, inputs]`
    pub x: Mat<f64>,
    /// `[rows, outputs]`
    pub residuals: Mat<f64>,
    /// So many rows, the last, are held back while the ridge is chosen.
    pub held_back: usize,
    /// Whether an intercept is fitted.
    pub centred: bool,
}

/// A linear map with an intercept.
pub struct Fit {
    /// `[outputs, inputs]`
    pub weight: Mat<f64>,
    pub intercept: Vec<f64>,
    /// The ridge that was chosen.
    pub factor: f64,
    /// Share of the held-back residuals' square that is left.
    pub left: f64,
}

impl Regression {
    /// The fit; `None` where the rows say nothing or overflow.
    pub fn fit(self) -> Option<Fit> {
        let rows = self.x.nrows();
        let used = rows.saturating_sub(self.held_back);
        let (mut factor, mut left) = (FACTORS[0], f64::NAN);

        if self.held_back > 0 && used > 1 {
            let training = Centred::of(
                self.x.subrows(0, used),
                self.residuals.subrows(0, used),
                self.centred,
            );
            let system = training.system();
            let held = (
                self.x.subrows(used, rows - used),
                self.residuals.subrows(used, rows - used),
            );
            let whole = square(held.1);
            let errors: Vec<Option<f64>> = FACTORS
                .par_iter()
                .map(|&factor| {
                    let weight = training.solve(&system, factor)?;
                    Some(training.error(&weight, held.0, held.1))
                })
                .collect();
            let mut best = f64::INFINITY;
            for (candidate, error) in FACTORS.into_iter().zip(errors) {
                if let Some(error) = error.filter(|error| *error < best) {
                    (best, factor) = (error, candidate);
                }
            }
            left = best / whole;
            // Nothing that the inputs tell of what is missing.
            if best.is_nan() || best >= whole {
                return None;
            }
        }

        let all = Centred::of(self.x.as_ref(), self.residuals.as_ref(), self.centred);
        let weight = all.solve(&all.system(), factor)?;
        let intercept = all.intercept(&weight);
        Some(Fit {
            weight,
            intercept,
            factor,
            left,
        })
    }
}

/// Rows less their means.
struct Centred {
    x: Mat<f64>,
    residuals: Mat<f64>,
    x_mean: Vec<f64>,
    residual_mean: Vec<f64>,
}

/// The products that do not depend on the ridge.
enum System {
    /// `XᵀX` and `XᵀR`.
    Primal(Mat<f64>, Mat<f64>),
    /// `XXᵀ`.
    Dual(Mat<f64>),
}

impl Centred {
    fn of(x: MatRef<f64>, residuals: MatRef<f64>, centred: bool) -> Self {
        let (x_mean, residual_mean) = if centred {
            (means(x), means(residuals))
        } else {
            (vec![0.0; x.ncols()], vec![0.0; residuals.ncols()])
        };
        Self {
            x: less(x, &x_mean),
            residuals: less(residuals, &residual_mean),
            x_mean,
            residual_mean,
        }
    }

    fn system(&self) -> System {
        if self.x.ncols() <= self.x.nrows() {
            let x = self.x.transpose();
            System::Primal(
                exact_product(x, self.x.as_ref()),
                exact_product(x, self.residuals.as_ref()),
            )
        } else {
            System::Dual(exact_product(self.x.as_ref(), self.x.transpose()))
        }
    }

    /// `[outputs, inputs]`
    fn solve(&self, system: &System, factor: f64) -> Option<Mat<f64>> {
        let (System::Primal(gram, _) | System::Dual(gram)) = system;
        let trace: f64 = (0..gram.nrows()).map(|i| gram[(i, i)]).sum();
        let ridge = factor * trace / self.x.nrows() as f64;
        if !(ridge > 0.0 && ridge.is_finite()) {
            return None;
        }

        let mut ridged = gram.clone();
        (0..gram.nrows()).for_each(|i| ridged[(i, i)] += ridge);
        let weight = match system {
            System::Primal(_, products) => solve_positive(ridged, products.as_ref())?
                .transpose()
                .to_owned(),
            System::Dual(_) => {
                let dual = solve_positive(ridged, self.residuals.as_ref())?;
                exact_product(dual.transpose(), self.x.as_ref())
            }
        };
        is_finite(&weight).then_some(weight)
    }

    /// Squared error on other rows.
    fn error(&self, weight: &Mat<f64>, x: MatRef<f64>, residuals: MatRef<f64>) -> f64 {
        let predicted = exact_product(less(x, &self.x_mean).as_ref(), weight.transpose());
        square((less(residuals, &self.residual_mean) - predicted).as_ref())
    }

    fn intercept(&self, weight: &Mat<f64>) -> Vec<f64> {
        let shift = |output: usize| -> f64 {
            (0..weight.ncols())
                .map(|input| weight[(output, input)] * self.x_mean[input])
                .sum()
        };
        (0..weight.nrows())
            .map(|output| self.residual_mean[output] - shift(output))
            .collect()
    }
}

/// Of each column.
pub fn means(rows: MatRef<f64>) -> Vec<f64> {
    (0..rows.ncols())
        .map(|column| rows.col(column).sum() / rows.nrows() as f64)
        .collect()
}

/// Every row less the same.
pub fn less(rows: MatRef<f64>, mean: &[f64]) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| {
        rows[(row, column)] - mean[column]
    })
}

fn square(rows: MatRef<f64>) -> f64 {
    rows.squared_norm_l2()
}

fn is_finite(matrix: &Mat<f64>) -> bool {
    matrix.is_all_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<const R: usize, const C: usize>(values: [[f64; C]; R]) -> Mat<f64> {
        Mat::from_fn(R, C, |row, column| values[row][column])
    }

    #[test]
    fn one_input_by_hand() {
        // Σx² = 14, Σxr = 28, λ = f · 14 / 3.
        let regression = Regression {
            x: rows([[1.0], [2.0], [3.0]]),
            residuals: rows([[2.0], [4.0], [6.0]]),
            held_back: 0,
            centred: false,
        };
        let fit = regression.fit().unwrap();
        let expected = 28.0 / (14.0 + FACTORS[0] * 14.0 / 3.0);
        assert!((fit.weight[(0, 0)] - expected).abs() < 1e-12);
        assert_eq!(fit.intercept, [0.0]);
    }

    #[test]
    fn more_inputs_than_rows_give_the_same_by_the_dual_form() {
        let x = rows([
            [1.0, 0.5, -1.0, 2.0],
            [0.0, 1.5, 1.0, -1.0],
            [2.0, -0.5, 0.0, 1.0],
        ]);
        let residuals = rows([[1.0, 0.0], [0.5, -1.0], [-1.0, 2.0]]);
        let all = Centred::of(x.as_ref(), residuals.as_ref(), false);
        let primal = System::Primal(x.transpose() * &x, x.transpose() * &residuals);
        assert!(matches!(all.system(), System::Dual(_)));
        let (dual, primal) = (
            all.solve(&all.system(), 0.3).unwrap(),
            all.solve(&primal, 0.3).unwrap(),
        );
        assert!((&dual - &primal).norm_max() < 1e-10, "{dual:?} {primal:?}");
    }

    #[test]
    fn an_intercept_takes_the_mean_and_the_held_back_rows_choose() {
        // r = 3 x + 5, without noise: the smallest ridge is the best.
        let x: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7)).collect();
        let regression = Regression {
            x: Mat::from_fn(20, 1, |row, _| x[row]),
            residuals: Mat::from_fn(20, 1, |row, _| 3.0 * x[row] + 5.0),
            held_back: 4,
            centred: true,
        };
        let fit = regression.fit().unwrap();
        assert_eq!(fit.factor, FACTORS[0]);
        assert!((fit.weight[(0, 0)] - 3.0).abs() < 1e-6 && (fit.intercept[0] - 5.0).abs() < 1e-6);
        assert!(fit.left < 1e-9);
    }

    #[test]
    fn nothing_is_fitted_to_what_the_inputs_do_not_tell() {
        let zero = Regression {
            x: rows([[0.0], [0.0], [0.0]]),
            residuals: rows([[1.0], [2.0], [3.0]]),
            held_back: 0,
            centred: false,
        };
        assert!(zero.fit().is_none());
        let done = Regression {
            x: rows([[1.0], [2.0], [4.0]]),
            residuals: rows([[0.0], [0.0], [0.0]]),
            held_back: 1,
            centred: false,
        };
        assert!(done.fit().is_none(), "nothing is missing");
    }
}
