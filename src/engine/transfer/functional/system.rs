//! Ridge regression of a layer's residuals on its inputs, in f64.
//!
//! `ΔW = Rᵀ X (XᵀX + λI)⁻¹` with `λ = f · tr(XᵀX) / rows`, centred where the layer has a bias: by the products
//! of the inputs with one another ([`gram`](super::gram)), or by those of the rows where they are fewer
//! ([`kernel`]). `f` is chosen from [`FACTORS`](super::ridge::FACTORS) by the error on rows that are held
//! back, and the fit is then made of all rows.

use faer::{Mat, MatRef};

use super::{
    gram::Gram,
    kernel::{self, Kernel},
    ridge::RidgeFit,
};

/// What every regression on the same rows has in common.
pub enum System {
    Inputs(Gram),
    Rows(Kernel),
}

impl System {
    /// Of rows `[rows, inputs]`, of which the last `held_back` choose the ridge. An intercept is fitted where
    /// the rows are to be centred.
    pub fn of(x: Mat<f64>, held_back: usize, is_centred: bool) -> Self {
        if kernel::is_apt(x.nrows(), x.ncols()) {
            Self::Rows(Kernel::of(x, held_back, is_centred))
        } else {
            Self::Inputs(Gram::of(x, held_back, is_centred))
        }
    }

    /// The regression of residuals `[rows, outputs]`; `None` where the rows say nothing of them or overflow.
    pub fn fit(&self, residuals: MatRef<f64>) -> Option<RidgeFit> {
        match self {
            Self::Inputs(gram) => gram.fit(residuals),
            Self::Rows(kernel) => kernel.fit(residuals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ridge::FACTORS, *};

    fn rows<const R: usize, const C: usize>(values: [[f64; C]; R]) -> Mat<f64> {
        Mat::from_fn(R, C, |row, column| values[row][column])
    }

    #[test]
    fn one_input_by_hand() {
        // Σx² = 14, Σxr = 28, λ = f · 14 / 3.
        let system = System::of(rows([[1.0], [2.0], [3.0]]), 0, false);
        let fit = system.fit(rows([[2.0], [4.0], [6.0]]).as_ref()).unwrap();
        let expected = 28.0 / (14.0 + FACTORS[0] * 14.0 / 3.0);
        assert!((fit.weight[(0, 0)] - expected).abs() < 1e-12);
        assert_eq!(fit.intercept, [0.0]);
    }

    #[test]
    fn an_intercept_takes_the_mean_and_the_held_back_rows_choose() {
        // r = 3 x + 5, without noise: the smallest ridge is the best.
        let x: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7)).collect();
        let system = System::of(Mat::from_fn(20, 1, |row, _| x[row]), 4, true);
        let residuals = Mat::from_fn(20, 1, |row, _| 3.0 * x[row] + 5.0);
        let fit = system.fit(residuals.as_ref()).unwrap();
        assert_eq!(fit.chosen.factor, FACTORS[0]);
        assert!((fit.weight[(0, 0)] - 3.0).abs() < 1e-6 && (fit.intercept[0] - 5.0).abs() < 1e-6);
        assert!(fit.chosen.left < 1e-9);
    }

    #[test]
    fn nothing_is_fitted_to_what_the_inputs_do_not_tell() {
        let zero = System::of(rows([[0.0], [0.0], [0.0]]), 0, false);
        assert!(zero.fit(rows([[1.0], [2.0], [3.0]]).as_ref()).is_none());
        let done = System::of(rows([[1.0], [2.0], [4.0]]), 1, false);
        let nothing = rows([[0.0], [0.0], [0.0]]);
        assert!(done.fit(nothing.as_ref()).is_none(), "nothing is missing");
    }
}
