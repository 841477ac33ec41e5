//! The best approximation of a matrix by one of low rank: a truncated singular value decomposition.
//!
//! Block subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4) from a
//! seeded start, with more vectors than are wanted, until the captured energy no longer grows; then
//! the small problem exactly, by Jacobi rotations. All in f64.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Vectors beside those that are wanted; they make the wanted ones converge.
const SPARE_VECTORS: usize = 8;
const MAX_ITERATIONS: usize = 60;
/// The captured energy has settled when it grows by less than this share.
const RELATIVE_GAIN: f64 = 1e-13;

/// `[rows, columns]`, row-major.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<f64>,
}

/// `matrix ≈ left · rightᵀ`, of the wanted rank; what a smaller matrix does not need is zero.
#[derive(Clone, Debug)]
pub struct Factors {
    /// `√σ_k u_k`, one vector of `rows` values for each k.
    pub left: Vec<Vec<f64>>,
    /// `√σ_k v_k`, one vector of `columns` values for each k.
    pub right: Vec<Vec<f64>>,
    /// σ, falling.
    pub singular: Vec<f64>,
}

impl Matrix {
    /// Its best approximation of this rank, with the singular value shared evenly by both factors.
    pub fn truncated(&self, rank: usize) -> Factors {
        let count = (rank + SPARE_VECTORS).min(self.rows).min(self.columns);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut right: Vec<Vec<f64>> = Vec::with_capacity(count);
        for _ in 0..count {
            right.push(
                (0..self.columns)
                    .map(|_| rng.random_range(-1.0..1.0))
                    .collect(),
            );
        }

        let mut left = Vec::new();
        let mut captured = 0.0;
        for _ in 0..MAX_ITERATIONS {
            left = orthonormal(self.times(&right));
            right = self.transposed_times(&left);
            let energy: f64 = right.iter().map(|v| dot(v, v)).sum();
            if energy - captured <= RELATIVE_GAIN * energy {
                break;
            }
            captured = energy;
            right = orthonormal(right);
        }

        right = self.transposed_times(&left);
        let gram: Vec<Vec<f64>> = right
            .iter()
            .map(|a| right.iter().map(|b| dot(a, b)).collect())
            .collect();
        let (values, vectors) = eigen(gram);

        let largest = values.first().copied().unwrap_or(0.0).max(0.0).sqrt();
        let (rows, columns) = (self.rows, self.columns);
        let mut factors = Factors {
            left: Vec::new(),
            right: Vec::new(),
            singular: Vec::new(),
        };
        for k in 0..rank {
            let sigma = values.get(k).map_or(0.0, |value| value.max(0.0).sqrt());
            // Below, the square root of the Gram matrix is rounding.
            let Some(weights) = vectors.get(k).filter(|_| sigma > 1e-8 * largest) else {
                factors.left.push(vec![0.0; rows]);
                factors.right.push(vec![0.0; columns]);
                factors.singular.push(0.0);
                continue;
            };
            factors.left.push(combined(&left, weights, sigma.sqrt()));
            factors
                .right
                .push(combined(&right, weights, 1.0 / sigma.sqrt()));
            factors.singular.push(sigma);
        }
        factors
    }

    /// `‖matrix − left · rightᵀ‖ / ‖matrix‖` with the factors as f32 holds them; 0 of a zero matrix.
    pub fn relative_error(&self, left: &[Vec<f64>], right: &[Vec<f64>]) -> f64 {
        let rows: Vec<(f64, f64)> = (0..self.rows)
            .into_par_iter()
            .map(|row| {
                let mut rest = self.row(row).to_vec();
                for (l, r) in left.iter().zip(right) {
                    let factor = in_f32(l[row]);
                    rest.iter_mut()
                        .zip(r)
                        .for_each(|(v, &r)| *v -= factor * in_f32(r));
                }
                (dot(&rest, &rest), dot(self.row(row), self.row(row)))
            })
            .collect();
        let (off, size) = rows
            .into_iter()
            .fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        if size > 0.0 { (off / size).sqrt() } else { 0.0 }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    fn times(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        vectors
            .par_iter()
            .map(|v| (0..self.rows).map(|row| dot(self.row(row), v)).collect())
            .collect()
    }

    fn transposed_times(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        vectors
            .par_iter()
            .map(|v| self.transposed_times_one(v))
            .collect()
    }

    fn transposed_times_one(&self, v: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.columns];
        for (row, &factor) in v.iter().enumerate() {
            sum.iter_mut()
                .zip(self.row(row))
                .for_each(|(s, &a)| *s += factor * a);
        }
        sum
    }
}

/// As f32 holds it.
fn in_f32(v: f64) -> f64 {
    f64::from(v as f32)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn combined(basis: &[Vec<f64>], weights: &[f64], scale: f64) -> Vec<f64> {
    let mut sum = vec![0.0; basis[0].len()];
    for (vector, weight) in basis.iter().zip(weights) {
        sum.iter_mut()
            .zip(vector)
            .for_each(|(s, v)| *s += scale * weight * v);
    }
    sum
}

/// Modified Gram–Schmidt, twice; a vector that the others span becomes zero.
fn orthonormal(mut vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for k in 0..vectors.len() {
        let (earlier, rest) = vectors.split_at_mut(k);
        let vector = &mut rest[0];
        let before = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in earlier.iter() {
                let along = dot(other, vector);
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(v, o)| *v -= along * o);
            }
        }

        let norm = dot(vector, vector).sqrt();
        let scale = if norm > 1e-12 * before {
            1.0 / norm
        } else {
            0.0
        };
        vector.iter_mut().for_each(|v| *v *= scale);
    }
    vectors
}

/// Eigenvalues, falling, and eigenvectors of a symmetric matrix, by cyclic Jacobi rotations (Golub and
/// Van Loan, section 8.5).
fn eigen(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = a.len();
    let mut vectors = vec![vec![0.0; size]; size];
    for (i, vector) in vectors.iter_mut().enumerate() {
        vector[i] = 1.0;
    }

    for _ in 0..MAX_ITERATIONS {
        let norm: f64 = a.iter().flatten().map(|v| v * v).sum();
        let diagonal: f64 = (0..size).map(|i| a[i][i] * a[i][i]).sum();
        if norm - diagonal <= f64::EPSILON * f64::EPSILON * norm {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut a, &mut vectors, p, q);
            }
        }
    }

    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    let values = order.iter().map(|&i| a[i][i]).collect();
    (values, order.iter().map(|&i| vectors[i].clone()).collect())
}

/// A rotation of the plane.
struct Rotation {
    cosine: f64,
    sine: f64,
}

impl Rotation {
    fn turn(&self, x: f64, y: f64) -> (f64, f64) {
        let Self { cosine, sine } = self;
        (cosine * x - sine * y, sine * x + cosine * y)
    }
}

/// Makes `a[p][q]` zero.
fn rotate(a: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let rotation = Rotation {
        cosine,
        sine: tangent * cosine,
    };

    for row in a.iter_mut() {
        (row[p], row[q]) = rotation.turn(row[p], row[q]);
    }
    for rows in [a, vectors] {
        let (first, rest) = rows.split_at_mut(q);
        for (x, y) in first[p].iter_mut().zip(&mut rest[0]) {
            (*x, *y) = rotation.turn(*x, *y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Σ σ_k u_k v_kᵀ` with u and v rows of Hadamard's matrices, orthogonal by hand.
    fn known(singular: &[f64]) -> Matrix {
        let hadamard = |k: usize, i: usize| {
            if (k & i).count_ones().is_multiple_of(2) {
                1.0
            } else {
                -1.0
            }
        };
        let (rows, columns) = (16, 32);
        let mut values = vec![0.0; rows * columns];
        for (k, sigma) in singular.iter().enumerate() {
            for (i, value) in values.iter_mut().enumerate() {
                let (row, column) = (i / columns, i % columns);
                *value += sigma * hadamard(k, row) / 4.0 * hadamard(k + 1, column) / 32f64.sqrt();
            }
        }
        Matrix {
            rows,
            columns,
            values,
        }
    }

    #[test]
    fn singular_values_are_found_in_order() {
        let singular = [5.0, 3.0, 3.0, 1.0, 0.5, 0.25];
        let matrix = known(&singular);
        let factors = matrix.truncated(5);
        for (found, expected) in factors.singular.iter().zip(singular) {
            assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
        }
        // What is left is the last: 0.25 of ‖A‖.
        let norm = singular.iter().map(|s| s * s).sum::<f64>().sqrt();
        let off = matrix.relative_error(&factors.left, &factors.right);
        assert!((off - 0.25 / norm).abs() < 1e-6, "{off}");
        let two = matrix.truncated(1);
        let off = matrix.relative_error(&two.left, &two.right);
        let rest = (norm * norm - 25.0f64).sqrt();
        assert!((off - rest / norm).abs() < 1e-6, "{off}");
        for factor in [&factors.left, &factors.right] {
            assert!((dot(&factor[0], &factor[0]) - 5.0).abs() < 1e-9, "√σ each");
            assert!(dot(&factor[0], &factor[3]).abs() < 1e-9, "orthogonal");
        }
    }

    #[test]
    fn a_slow_decay_is_truncated_where_it_should_be() {
        let singular: Vec<f64> = (0..16).map(|k| 0.99f64.powi(k)).collect();
        let matrix = known(&singular);
        let factors = matrix.truncated(3);
        for (found, expected) in factors.singular.iter().zip(&singular) {
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }

    #[test]
    fn a_matrix_of_less_rank_is_exact_and_the_rest_zero() {
        let matrix = known(&[2.0, 1.0]);
        let factors = matrix.truncated(20);
        assert_eq!(factors.left.len(), 20);
        assert!(matrix.relative_error(&factors.left, &factors.right) < 1e-7);
        assert_eq!(factors.singular[2..], [0.0; 18]);
        let zero = Matrix {
            rows: 2,
            columns: 3,
            values: vec![0.0; 6],
        };
        let factors = zero.truncated(1);
        assert_eq!(factors.singular, [0.0]);
        assert!(zero.relative_error(&factors.left, &factors.right).abs() < 1e-12);
    }
}
