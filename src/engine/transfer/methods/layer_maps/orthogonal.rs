//! The orthogonal map closest to a cross-covariance.

use faer::Mat;

use crate::{
    tensors::{
        matmul::exact_product,
        solve::{SingularValues, singular_values},
    },
    transfer::error::TransferError,
};

/// Weight of the weight-matching π beside the largest singular value, and the share of it below
/// which a singular value counts as not determined.
const COMPLETION_WEIGHT: f64 = 1e-6;

/// What a map does where no sample says anything.
pub(super) enum LeftOpen {
    /// Entry `j` of the target's axis receives the source's entry `sources[j]`.
    Matched(Vec<usize>),
    /// Nothing is carried from the `from` entries of the source to the `to` of the target.
    Nothing { from: usize, to: usize },
}

impl LeftOpen {
    fn map(&self) -> Mat<f64> {
        match self {
            Self::Matched(sources) => {
                let mut matrix = Mat::zeros(sources.len(), sources.len());
                sources
                    .iter()
                    .enumerate()
                    .for_each(|(j, &i)| matrix[(i, j)] = 1.0);
                matrix
            }
            Self::Nothing { from, to } => Mat::zeros(*from, *to),
        }
    }
}

/// `U Vᵀ` of `C`, and whether `C` left something open.
pub(super) fn orthogonal_map(
    product: Option<&Mat<f64>>,
    open: &LeftOpen,
) -> Result<(Mat<f64>, bool), TransferError> {
    let Some(product) = product else {
        return Ok((open.map(), true));
    };
    let found = decomposition(product)?;

    let (largest, smallest) = (found.values[0], found.values[found.values.len() - 1]);
    if largest == 0.0 {
        return Ok((open.map(), true));
    }
    if smallest > COMPLETION_WEIGHT * largest {
        return Ok((isometry(&found), false));
    }
    if let LeftOpen::Nothing { .. } = open {
        let seen = found
            .values
            .iter()
            .filter(|value| **value > COMPLETION_WEIGHT * largest)
            .count();
        let (left, right) = (found.u.subcols(0, seen), found.v.subcols(0, seen));
        return Ok((exact_product(left, right.transpose()), true));
    }

    let completed = product + open.map() * faer::Scale(COMPLETION_WEIGHT * largest);
    Ok((isometry(&decomposition(&completed)?), true))
}

fn decomposition(product: &Mat<f64>) -> Result<SingularValues, TransferError> {
    singular_values(product.as_ref()).ok_or(TransferError::NoSingularValues)
}

fn isometry(found: &SingularValues) -> Mat<f64> {
    exact_product(found.u.as_ref(), found.v.transpose())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::with_threads;

    #[test]
    fn a_rotation_is_found_and_scale_is_not_its_business() {
        let (s, c) = 0.3f64.sin_cos();
        let product = Mat::from_fn(2, 2, |i, j| 5.0 * [[c, s], [-s, c]][i][j]);
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Matched(vec![0, 1])).unwrap();
        assert!(!completed);
        for ((i, j), expected) in [((0, 0), c), ((0, 1), s), ((1, 0), -s), ((1, 1), c)] {
            assert!((map[(i, j)] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn the_map_does_not_depend_on_the_threads() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let product = Mat::from_fn(300, 260, |_, _| rng.random_range(-1.0..1.0));
        let open = LeftOpen::Nothing { from: 300, to: 260 };
        let found = with_threads(1, || orthogonal_map(Some(&product), &open).unwrap().0);
        assert!(with_threads(3, || orthogonal_map(Some(&product), &open).unwrap().0) == found);
    }

    #[test]
    fn what_no_sample_shows_goes_by_weight_matching() {
        // The samples show that the source's channel 2 is the target's 0, and nothing else.
        let mut product = Mat::zeros(3, 3);
        product[(2, 0)] = 7.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Matched(vec![2, 0, 1])).unwrap();
        assert!(completed);
        for (i, j) in [(2, 0), (0, 1), (1, 2)] {
            assert!((map[(i, j)] - 1.0).abs() < 1e-9, "{map:?}");
        }
        let overflown = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(orthogonal_map(Some(&overflown), &LeftOpen::Matched(vec![0, 1])).is_err());
    }

    #[test]
    fn between_widths_only_what_samples_show_is_carried() {
        // Two channels to three: the first becomes the target's second, of the other nothing is seen.
        let mut product = Mat::zeros(2, 3);
        product[(0, 1)] = 4.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Nothing { from: 2, to: 3 }).unwrap();
        assert!(completed);
        let expected = Mat::from_fn(2, 3, |i, j| f64::from(u8::from((i, j) == (0, 1))));
        assert!((&map - &expected).norm_max() < 1e-12, "{map:?}");
        // Both are seen: an isometry into the wider space.
        product[(1, 0)] = 2.0;
        product[(1, 2)] = 2.0;
        let (map, completed) =
            orthogonal_map(Some(&product), &LeftOpen::Nothing { from: 2, to: 3 }).unwrap();
        assert!(!completed);
        let gram = &map * map.transpose();
        assert!(
            (&gram - Mat::<f64>::identity(2, 2)).norm_max() < 1e-12,
            "{map:?}"
        );
        assert!((map[(1, 0)] - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
