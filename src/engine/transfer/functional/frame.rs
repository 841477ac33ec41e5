//! The orthogonal map from what the old base sees at a point to what the new base sees there.

use faer::{Mat, MatRef};

use super::ridge::{less, means};
use crate::transfer::problem::TransferError;

/// Weight of the identity beside the largest singular value: it decides what no row shows. Between a
/// base and itself the map is then the identity everywhere.
const COMPLETION_WEIGHT: f64 = 1e-6;

/// `Q = UVᵀ` of `(A − mean)ᵀ (B − mean)`, `[d_A, d_B]`: rows are samples × positions.
///
/// # Errors
/// When the activations overflow.
pub fn between(a: MatRef<f64>, b: MatRef<f64>) -> Result<Mat<f64>, TransferError> {
    let (a, b) = (less(a, &means(a)), less(b, &means(b)));
    let mut product = a.transpose() * &b;

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

    let svd = product.thin_svd().map_err(|_| TransferError::NoSingularValues)?;
    Ok(svd.U() * svd.V().transpose())
}
