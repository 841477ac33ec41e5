//! Decompositions in f64 that do not depend on the number of threads.

use faer::{
    Conj, Mat, MatRef, Par, Spec,
    diag::Diag,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        cholesky::llt::{factor, solve},
        svd,
    },
};

/// `A = U S Vᵀ`, thin.
pub struct SingularValues {
    pub u: Mat<f64>,
    pub v: Mat<f64>,
    /// From the largest.
    pub values: Vec<f64>,
}

/// The thin singular value decomposition; `None` where it does not converge.
pub fn singular_values(matrix: MatRef<f64>) -> Option<SingularValues> {
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

/// `A⁻¹ B` of a symmetric positive definite `A`; `None` where it is not.
pub fn solve_positive(mut matrix: Mat<f64>, right: MatRef<f64>) -> Option<Mat<f64>> {
    let size = matrix.nrows();
    let need = factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(need);
    factor::cholesky_in_place(
        matrix.as_mut(),
        factor::LltRegularization::default(),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .ok()?;

    let mut solution = right.to_owned();
    let need = solve::solve_in_place_scratch::<f64>(size, right.ncols(), Par::Seq);
    let mut memory = MemBuffer::new(need);
    solve::solve_in_place_with_conj(
        matrix.as_ref(),
        Conj::No,
        solution.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
    );
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
        assert!(solve_positive(indefinite, right.as_ref()).is_none());

        let found =
            singular_values(Mat::from_fn(2, 2, |i, j| [[0.0, 3.0], [-2.0, 0.0]][i][j]).as_ref());
        let SingularValues { u, v, values } = found.unwrap();
        assert!((values[0] - 3.0).abs() < 1e-12 && (values[1] - 2.0).abs() < 1e-12);
        let polar = &u * v.transpose();
        assert!((polar[(0, 1)] - 1.0).abs() < 1e-12 && (polar[(1, 0)] + 1.0).abs() < 1e-12);
    }
}
