//! The orthogonal map from what the old base sees at a point to what the new base sees there.

use faer::{Mat, MatRef};

use super::ridge::{less, means};
use crate::{
    tensors::{
        matmul::exact_product,
        solve::{SingularValues, singular_values},
    },
    transfer::error::TransferError,
};

/// Weight of the identity beside the product's norm: it decides what no row shows. Between a base and
/// itself the map is then the identity everywhere.
const COMPLETION_WEIGHT: f64 = 1e-6;

/// `Q = UVᵀ` of `(A − mean)ᵀ (B − mean)`, `[d_A, d_B]`: rows are samples × positions.
///
/// # Errors
/// When the activations overflow.
pub fn between(a: MatRef<f64>, b: MatRef<f64>) -> Result<Mat<f64>, TransferError> {
    let (a, b) = (less(a, &means(a)), less(b, &means(b)));
    let mut product = exact_product(a.transpose(), b.as_ref());

    let size = product.norm_l2();
    if !size.is_finite() {
        return Err(TransferError::NoSingularValues);
    }
    if size <= 0.0 {
        return Ok(Mat::identity(product.nrows(), product.ncols()));
    }
    for i in 0..product.nrows().min(product.ncols()) {
        product[(i, i)] += COMPLETION_WEIGHT * size;
    }

    let found = singular_values(product.as_ref()).ok_or(TransferError::NoSingularValues)?;
    let SingularValues { u, v, .. } = found;
    Ok(exact_product(u.as_ref(), v.transpose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_found_and_what_no_row_shows_stays() {
        let (sine, cosine) = 0.3f64.sin_cos();
        // The third channel is always 1.
        let a = Mat::from_fn(4, 3, |i, j| {
            [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [3.0, 0.5]][i].get(j).copied().unwrap_or(1.0)
        });
        let turn = Mat::from_fn(3, 3, |i, j| {
            [[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]][i][j]
        });
        let found = between(a.as_ref(), (&a * &turn).as_ref()).unwrap();
        assert!((&found - &turn).norm_max() < 1e-5, "{found:?}");

        let overflown = Mat::from_fn(2, 2, |_, _| f64::INFINITY);
        assert!(between(overflown.as_ref(), overflown.as_ref()).is_err());
        let nothing = Mat::zeros(3, 2);
        assert_eq!(
            between(nothing.as_ref(), nothing.as_ref()).unwrap(),
            Mat::<f64>::identity(2, 2)
        );
    }
}
