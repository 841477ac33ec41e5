//! Bicubic interpolation of a grid of positions, as `PyTorch`'s `interpolate` has it (Keys 1981): corners are not
//! aligned. What lies outside is the nearest row or column; with antialiasing it does not count.

use crate::network::op::{Pair, Resampled};

/// The kernel's parameter without antialiasing, and with it.
const PLAIN: f64 = -0.75;
const ANTIALIASED: f64 = -0.5;

/// An old place with its share in a new one.
type Share = (usize, f64);

/// What each place of the new grid has of each place of the old one, `[new, old]`, row-major.
pub(super) fn shares(grid: &Resampled) -> Vec<f32> {
    let (Pair(old_rows, old_columns), Pair(new_rows, new_columns)) = (grid.from, grid.to);
    let along = if grid.antialias { covered } else { around };
    let (down, across) = (along(old_rows, new_rows), along(old_columns, new_columns));

    let old = old_rows * old_columns;
    let mut shares = vec![0f64; new_rows * new_columns * old];
    for (place, shares) in shares.chunks_mut(old).enumerate() {
        let (of_row, of_column) = (&down[place / new_columns], &across[place % new_columns]);
        for (row, by_row) in of_row {
            for (column, by_column) in of_column {
                shares[row * old_columns + column] += by_row * by_column;
            }
        }
    }

    shares.into_iter().map(|share| share as f32).collect()
}

/// Of each new place the four old ones around it.
fn around(old: usize, new: usize) -> Vec<Vec<Share>> {
    let scale = old as f64 / new as f64;
    let last = old as isize - 1;

    (0..new)
        .map(|place| {
            let at = (place as f64 + 0.5) * scale - 0.5;
            let first = at.floor() as isize - 1;
            let sources = (first..first + 4).map(|source| {
                let share = cubic((at - source as f64).abs(), PLAIN);
                (source.clamp(0, last) as usize, share)
            });
            sources.collect()
        })
        .collect()
}

/// Of each new place the old ones that it covers, and those around it.
fn covered(old: usize, new: usize) -> Vec<Vec<Share>> {
    let scale = old as f64 / new as f64;
    let stretch = scale.max(1.0);

    (0..new)
        .map(|place| {
            let centre = (place as f64 + 0.5) * scale;
            let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
            let end = ((centre + 2.0 * stretch + 0.5) as usize).min(old);
            let sources = (first..end).map(|source| {
                let distance = (source as f64 + 0.5 - centre) / stretch;
                (source, cubic(distance.abs(), ANTIALIASED))
            });
            let sources: Vec<Share> = sources.collect();
            let whole: f64 = sources.iter().map(|(_, share)| share).sum();
            let sources = sources.into_iter();
            sources
                .map(|(source, share)| (source, share / whole))
                .collect()
        })
        .collect()
}

/// The kernel at a distance.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance;
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x <= 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(values: &[f32], grid: &Resampled) -> Vec<f32> {
        let shares = shares(grid);
        let rows = shares.chunks(values.len());
        rows.map(|shares| shares.iter().zip(values).map(|(share, v)| share * v).sum())
            .collect()
    }

    fn are_close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}");
        }
    }

    #[test]
    fn the_same_grid_is_left_as_it_is() {
        for antialias in [false, true] {
            let grid = Resampled {
                from: Pair(2, 3),
                to: Pair(2, 3),
                prefix: 1,
                antialias,
            };
            let values = [1.0, 5.0, -2.0, 7.0, 0.0, 3.0];
            are_close(&resampled(&values, &grid), &values);
        }
    }

    /// As `interpolate` of `PyTorch` gives them.
    #[test]
    fn rows_lie_between_their_neighbours() {
        let grid = Resampled {
            from: Pair(1, 4),
            to: Pair(1, 3),
            prefix: 0,
            antialias: false,
        };
        let found = resampled(&[0.0, 1.0, 4.0, 9.0], &grid);
        are_close(&found, &[0.091_435, 2.125, 8.334_491]);

        let grid = Resampled {
            from: Pair(5, 2),
            to: Pair(2, 3),
            prefix: 0,
            antialias: true,
        };
        let values = [0.0, 1.0, 4.0, 9.0, -3.0, 2.0, 5.0, 0.5, -1.0, 6.0];

        are_close(
            &resampled(&values, &grid),
            &[
                0.906_034, 2.757_342, 4.608_65, 1.006_302, 2.064_854, 3.123_407,
            ],
        );
    }
}
