//! Decompositions in f64 that do not depend on the number of threads.

use faer::{
    Conj, Mat, MatMut, MatRef, Par, Spec,
    diag::Diag,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        cholesky::llt::{factor, solve},
        householder, qr, svd,
    },
};
use rayon::prelude::*;

/// Right-hand sides that are solved for in one task.
const TASK_COLUMNS: usize = 128;

/// `A = U S Vᵀ`, thin.
pub struct SingularValues {
    pub u: Mat<f64>,
    pub v: Mat<f64>,
    /// From the largest.
    pub values: Vec<f64>,
}

/// The thin singular value decomposition; `None` where it does not converge, as of a matrix that is
/// not finite.
pub fn singular_values(matrix: MatRef<f64>) -> Option<SingularValues> {
    if !matrix.is_all_finite() {
        return None;
    }

    let size = matrix.nrows().min(matrix.ncols());
    let mut u = Mat::zeros(matrix.nrows(), size);
    let mut v = Mat::zeros(matrix.ncols(), size);
    let mut values = Diag::zeros(size);

    let (rows, columns) = matrix.shape();
    let thin = svd::ComputeSvdVectors::Thin;
    let need = svd::svd_scratch::<f64>(rows, columns, thin, thin, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(need);
    svd::svd(
        matrix,
        values.as_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .ok()?;

    let values = values.column_vector().iter().copied().collect();
    Some(SingularValues { u, v, values })
}

/// `A = Q R` of a matrix with at least as many rows as columns: `Q` thin, orthonormal also where the
/// columns are not independent, and `R`.
pub fn orthonormal(matrix: MatRef<f64>) -> (Mat<f64>, Mat<f64>) {
    let (rows, columns) = matrix.shape();
    let block = qr::no_pivoting::factor::recommended_block_size::<f64>(rows, columns);
    let mut factored = matrix.to_owned();
    let mut coefficients = Mat::zeros(block, columns);

    let spec = Spec::default();
    let need =
        qr::no_pivoting::factor::qr_in_place_scratch::<f64>(rows, columns, block, Par::Seq, spec);
    let mut memory = MemBuffer::new(need);
    qr::no_pivoting::factor::qr_in_place(
        factored.as_mut(),
        coefficients.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
        spec,
    );

    let r = Mat::from_fn(columns, columns, |i, j| {
        if i <= j { factored[(i, j)] } else { 0.0 }
    });
    let mut q = Mat::identity(rows, columns);
    let need = householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(
        rows, block, columns,
    );
    let mut memory = MemBuffer::new(need);
    householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
        factored.as_ref(),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
    );
    (q, r)
}

/// A symmetric positive definite matrix, factored once to be solved with many times.
pub struct Positive {
    /// `L`, below and on the diagonal.
    lower: Mat<f64>,
}

impl Positive {
    /// `A = L Lᵀ`; `None` where `A` is not positive definite.
    pub fn of(mut matrix: Mat<f64>) -> Option<Self> {
        let need =
            factor::cholesky_in_place_scratch::<f64>(matrix.nrows(), Par::Seq, Spec::default());
        let mut memory = MemBuffer::new(need);
        factor::cholesky_in_place(
            matrix.as_mut(),
            factor::LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut memory),
            Spec::default(),
        )
        .ok()?;
        Some(Self { lower: matrix })
    }

    /// `A⁻¹ B`, columns of `B` side by side.
    pub fn solve(&self, mut right: Mat<f64>) -> Mat<f64> {
        let parts: Vec<_> = right.par_col_chunks_mut(TASK_COLUMNS).collect();
        parts
            .into_par_iter()
            .for_each(|part| self.solve_in_place(part));
        right
    }

    fn solve_in_place(&self, right: MatMut<f64>) {
        let size = self.lower.nrows();
        let need = solve::solve_in_place_scratch::<f64>(size, right.ncols(), Par::Seq);
        let mut memory = MemBuffer::new(need);

        solve::solve_in_place_with_conj(
            self.lower.as_ref(),
            Conj::No,
            right,
            Par::Seq,
            MemStack::new(&mut memory),
        );
    }
}

/// `A⁻¹ B` of a symmetric positive definite `A`; `None` where it is not.
pub fn solve_positive(matrix: Mat<f64>, right: MatRef<f64>) -> Option<Mat<f64>> {
    let positive = Positive::of(matrix)?;
    let mut solution = right.to_owned();
    positive.solve_in_place(solution.as_mut());
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_by_two() {
        let matrix = Mat::from_fn(2, 2, |i, j| [[4.0, 2.0], [2.0, 3.0]][i][j]);
        let right = Mat::from_fn(2, 1, |i, _| [8.0, 8.0][i]);
        let found = solve_positive(matrix.clone(), right.as_ref()).unwrap();
        // 4 · 1 + 2 · 2 = 8, 2 · 1 + 3 · 2 = 8.
        assert!((found[(0, 0)] - 1.0).abs() < 1e-12 && (found[(1, 0)] - 2.0).abs() < 1e-12);
        let indefinite = Mat::from_fn(2, 2, |i, j| [[1.0, 2.0], [2.0, 1.0]][i][j]);
        assert!(solve_positive(indefinite.clone(), right.as_ref()).is_none());

        let positive = Positive::of(matrix).unwrap();
        assert!((positive.solve(right.clone()) - &found).norm_max() < 1e-12);
        assert!(Positive::of(indefinite).is_none());

        let found =
            singular_values(Mat::from_fn(2, 2, |i, j| [[0.0, 3.0], [-2.0, 0.0]][i][j]).as_ref());
        let SingularValues { u, v, values } = found.unwrap();
        assert!((values[0] - 3.0).abs() < 1e-12 && (values[1] - 2.0).abs() < 1e-12);
        let polar = &u * v.transpose();
        assert!((polar[(0, 1)] - 1.0).abs() < 1e-12 && (polar[(1, 0)] + 1.0).abs() < 1e-12);
    }
    /// Also of columns of which two are the same and one is nothing.
    #[test]
    fn an_orthonormal_basis_spans_the_columns() {
        let matrix = Mat::from_fn(40, 4, |i, j| {
            let column = [1.0, 0.3, 1.0, 0.0][j];
            column * ((i * 7 + usize::from(j == 1) * i * i) % 11) as f64
        });
        let (q, r) = orthonormal(matrix.as_ref());
        assert!((q.transpose() * &q - Mat::<f64>::identity(4, 4)).norm_max() < 1e-12);
        assert!((&q * &r - &matrix).norm_max() < 1e-11);
    }
}
