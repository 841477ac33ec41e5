//! The orthogonal map from what the old base sees at a point to what the new base sees there.

use faer::{Mat, MatRef};

use super::ridge::{less, means};
use crate::{
    tensors::{
        matmul::exact_product,
        solve::{SingularValues, orthonormal, singular_values},
    },
    transfer::error::TransferError,
};

/// Above this width a map that is known from few rows is not written out.
const MAX_WIDTH: usize = 1024;
/// Rows that such a map is known from at most.
const MAX_ROWS: usize = 1024;
/// Singular values below this share of the largest are none.
const SMALLEST_VALUE: f64 = 1e-9;
/// Weight of the identity beside the product's norm: it decides what no row shows. Between a base and
/// itself the map is then the identity everywhere.
const COMPLETION_WEIGHT: f64 = 1e-6;

/// From the old base's units to the new base's.
pub enum Frame {
    /// `Q`, `[d_A, d_B]`.
    Whole(Mat<f64>),
    /// `UVᵀ + (I − UUᵀ)(I − VVᵀ)`, U `[d_A, r]` and V `[d_B, r]`: what no row shows stays where it is, as
    /// far as nothing is carried there. Between a base and itself it is the identity, too.
    Thin { u: Mat<f64>, v: Mat<f64> },
}

impl Frame {
    /// The map between what two bases see at a point, `[rows, d_A]` and `[rows, d_B]`: rows are samples ×
    /// positions. Of wide layers with few rows it is a thin one.
    ///
    /// # Errors
    /// When the activations overflow.
    pub fn between(a: MatRef<f64>, b: MatRef<f64>) -> Result<Self, TransferError> {
        let width = a.ncols().min(b.ncols());
        if width > MAX_WIDTH && a.nrows() < 2 * width {
            thin(a, b)
        } else {
            whole(a, b).map(Self::Whole)
        }
    }

    /// Rows in the old base's units, `[rows, d_A]`, in the new base's, `[rows, d_B]`.
    pub fn carried(&self, rows: MatRef<f64>) -> Mat<f64> {
        match self {
            Self::Whole(map) => exact_product(rows, map.as_ref()),
            Self::Thin { u, v } => {
                let shown = exact_product(rows, u.as_ref());
                let hidden = rows - exact_product(shown.as_ref(), u.transpose());
                let width = hidden.ncols();
                let hidden = Mat::from_fn(rows.nrows(), v.nrows(), |row, column| {
                    if column < width {
                        hidden[(row, column)]
                    } else {
                        0.0
                    }
                });
                let difference = shown - exact_product(hidden.as_ref(), v.as_ref());
                hidden + exact_product(difference.as_ref(), v.transpose())
            }
        }
    }
}

/// By at most [`MAX_ROWS`] rows, evenly drawn: `(A − mean)ᵀ = P R` of both, and the singular vectors of
/// `R_A R_Bᵀ` between the two `P`. Nothing is as large as the width's square.
fn thin(a: MatRef<f64>, b: MatRef<f64>) -> Result<Frame, TransferError> {
    let every = a.nrows().div_ceil(MAX_ROWS);
    let rows = a.nrows() / every;
    let (a, b) = rayon::join(|| basis(a, every, rows), || basis(b, every, rows));
    let middle = exact_product(a.1.as_ref(), b.1.transpose());
    let found = singular_values(middle.as_ref()).ok_or(TransferError::NoSingularValues)?;
    let SingularValues { u, v, values } = found;
    let least = SMALLEST_VALUE * values.first().copied().unwrap_or_default();
    let rank = values.iter().take_while(|value| **value > least).count();
    let u = exact_product(a.0.as_ref(), u.subcols(0, rank));
    let v = exact_product(b.0.as_ref(), v.subcols(0, rank));
    Ok(Frame::Thin { u, v })
}

/// An orthonormal basis of some rows less their mean, `[d, rows]`, and the rows by it.
fn basis(rows: MatRef<f64>, every: usize, count: usize) -> (Mat<f64>, Mat<f64>) {
    let rows = Mat::from_fn(count, rows.ncols(), |row, column| {
        rows[(row * every, column)]
    });
    let centred = less(rows.as_ref(), &means(rows.as_ref()));
    orthonormal(centred.transpose())
}

/// `Q = UVᵀ` of `(A − mean)ᵀ (B − mean)`.
fn whole(a: MatRef<f64>, b: MatRef<f64>) -> Result<Mat<f64>, TransferError> {
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
            [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0], [3.0, 0.5]][i]
                .get(j)
                .copied()
                .unwrap_or(1.0)
        });
        let turn = Mat::from_fn(3, 3, |i, j| {
            [[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]][i][j]
        });
        let found = whole(a.as_ref(), (&a * &turn).as_ref()).unwrap();
        assert!((&found - &turn).norm_max() < 1e-5, "{found:?}");

        let overflown = Mat::from_fn(2, 2, |_, _| f64::INFINITY);
        assert!(whole(overflown.as_ref(), overflown.as_ref()).is_err());
        let nothing = Mat::zeros(3, 2);
        assert_eq!(
            whole(nothing.as_ref(), nothing.as_ref()).unwrap(),
            Mat::<f64>::identity(2, 2)
        );
    }

    /// Rows of any values, fewer than channels.
    fn drawn(rows: usize, channels: usize, seed: usize) -> Mat<f64> {
        Mat::from_fn(rows, channels, |i, j| {
            ((i * 7919 + j * 104_729 + seed * i * j) % 1009) as f64 / 500.0 - 1.0
        })
    }

    #[test]
    fn a_thin_frame_carries_what_rows_show_and_leaves_the_rest() {
        let (a, b) = (drawn(30, 60, 1), drawn(30, 60, 5));
        let same = thin(a.as_ref(), a.as_ref()).unwrap();
        let moved = drawn(7, 60, 3);
        assert!((same.carried(moved.as_ref()) - &moved).norm_max() < 1e-9);

        // What the rows show of A becomes what they show of B, lengths and angles kept.
        let found = thin(a.as_ref(), b.as_ref()).unwrap();
        let centred = less(a.as_ref(), &means(a.as_ref()));
        let carried = found.carried(centred.as_ref());
        let (before, after) = (
            &centred * centred.transpose(),
            &carried * carried.transpose(),
        );
        assert!((before - after).norm_max() < 1e-9);
        let other = less(b.as_ref(), &means(b.as_ref()));
        assert!(carried.as_ref().transpose().nrows() == 60);
        let (q, _) = orthonormal(other.transpose());
        let outside = &carried - &carried * &q * q.transpose();
        assert!(outside.norm_max() < 1e-9, "{}", outside.norm_max());

        // Across widths.
        let narrow = thin(a.as_ref(), drawn(30, 45, 2).as_ref()).unwrap();
        assert_eq!(narrow.carried(moved.as_ref()).ncols(), 45);
        let overflown = Mat::from_fn(3, 4, |_, _| f64::INFINITY);
        assert!(thin(overflown.as_ref(), overflown.as_ref()).is_err());
    }
}
