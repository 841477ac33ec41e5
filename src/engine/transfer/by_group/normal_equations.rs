//! The sums of Gauss–Newton on a loss whose logits are nearly linear in a few numbers.

use rayon::prelude::*;

use super::STEP;
use crate::training::{Loss, cross_entropy::IGNORED};

/// `Σ Jᵀ (diag(p) − ppᵀ) J`, `Σ Jᵀ (p − y)` and the loss, over the rows of logits so far; of rows of one value
/// `Σ l″ JᵀJ` and `Σ l′ Jᵀ`.
#[derive(Clone, Debug)]
pub(super) struct NormalEquations {
    /// `[groups, groups]`, row-major.
    pub hessian: Vec<f64>,
    pub gradient: Vec<f64>,
    loss: f64,
    rows: usize,
}

impl NormalEquations {
    pub fn new(groups: usize) -> Self {
        let (hessian, gradient) = (vec![0.0; groups * groups], vec![0.0; groups]);
        Self {
            hessian,
            gradient,
            loss: 0.0,
            rows: 0,
        }
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.loss / self.rows.max(1) as f64
    }

    /// Adds rows: their logits at the point, and one step along each group.
    pub fn add(&mut self, loss: Loss, at: &[f32], moved: &[Vec<f32>], labels: &[i64]) {
        if let Some(at) = loss.rows(at, labels) {
            let moved = moved.iter().filter_map(|all| loss.rows(all, labels));
            return self.add(Loss::Classes, &at, &moved.collect::<Vec<_>>(), labels);
        }

        let classes = at.len() / labels.len().max(1);
        let rows: Vec<Self> = labels
            .par_iter()
            .enumerate()
            .filter(|(_, label)| **label != IGNORED)
            .map(|(row, &label)| {
                let range = row * classes..(row + 1) * classes;
                let moved: Vec<&[f32]> = moved.iter().map(|all| &all[range.clone()]).collect();
                if loss == Loss::Classes {
                    Self::of_row(&at[range], &moved, label as usize)
                } else {
                    Self::of_one(loss, at[row], &moved, label)
                }
            })
            .collect();

        // In order, so that the sums do not depend on the threads.
        rows.iter().for_each(|row| self.add_all(row));
    }

    fn add_all(&mut self, other: &Self) {
        self.hessian
            .iter_mut()
            .zip(&other.hessian)
            .for_each(|(sum, term)| *sum += term);
        self.gradient
            .iter_mut()
            .zip(&other.gradient)
            .for_each(|(sum, term)| *sum += term);
        self.loss += other.loss;
        self.rows += other.rows;
    }

    /// A row of one value.
    fn of_one(loss: Loss, at: f32, moved: &[&[f32]], label: i64) -> Self {
        let z = f64::from(at);
        let found = loss.of_one(z, loss.target(label));
        let jacobian: Vec<f64> = moved
            .iter()
            .map(|moved| (f64::from(moved[0]) - z) / STEP)
            .collect();

        let mut row = Self::new(moved.len());
        for (g, own) in jacobian.iter().enumerate() {
            row.gradient[g] = found.slope * own;
            for (h, other) in jacobian.iter().enumerate() {
                row.hessian[g * moved.len() + h] = found.curvature * own * other;
            }
        }
        row.loss = found.loss;
        row.rows = 1;

        row
    }

    fn of_row(at: &[f32], moved: &[&[f32]], label: usize) -> Self {
        let most = at
            .iter()
            .fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
        let exponentials = at.iter().map(|&logit| f64::from(logit - most).exp());
        let total: f64 = exponentials.clone().sum();
        let p: Vec<f64> = exponentials.map(|value| value / total).collect();

        let jacobian: Vec<Vec<f64>> = moved
            .iter()
            .map(|moved| {
                let pairs = moved.iter().zip(at);
                pairs
                    .map(|(&moved, &at)| (f64::from(moved) - f64::from(at)) / STEP)
                    .collect()
            })
            .collect();
        let means: Vec<f64> = jacobian.iter().map(|column| inner(&p, column)).collect();

        let mut row = Self::new(moved.len());
        for (g, column) in jacobian.iter().enumerate() {
            row.gradient[g] = means[g] - column[label];
            let weighted: Vec<f64> = p.iter().zip(column).map(|(p, value)| p * value).collect();
            for h in 0..=g {
                let value = inner(&weighted, &jacobian[h]) - means[g] * means[h];
                row.hessian[g * moved.len() + h] = value;
                row.hessian[h * moved.len() + g] = value;
            }
        }
        row.loss = total.ln() + f64::from(most) - f64::from(at[label]);
        row.rows = 1;

        row
    }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes, p = (1/4, 3/4), one group that moves the first logit by 2 a unit.
    #[test]
    fn one_row_by_hand() {
        let ln3 = 3f32.ln();
        let mut sums = NormalEquations::new(1);
        sums.add(Loss::Classes, &[0.0, ln3], &[vec![2.0 / 64.0, ln3]], &[0]);
        // J = (2, 0): pᵀJ = 1/2, Jᵀ diag(p) J = 1, so H = 1 − 1/4; Jᵀ(p − y) = 1/2 − 2.
        assert!((sums.hessian[0] - 0.75).abs() < 1e-6, "{sums:?}");
        assert!((sums.gradient[0] + 1.5).abs() < 1e-6, "{sums:?}");
        assert!((sums.loss() - 4f64.ln()).abs() < 1e-6);
        // What is ignored counts nowhere.
        sums.add(Loss::Classes, &[0.0, ln3], &[vec![1.0, 1.0]], &[IGNORED]);
        assert!((sums.loss() - 4f64.ln()).abs() < 1e-6 && sums.rows == 1);
    }

    /// A value 3 beside 1 that moves by 2 a unit, and a logit 0 beside a label of 1 that moves by 4.
    #[test]
    fn rows_of_one_value_by_hand() {
        let mut sums = NormalEquations::new(1);
        let label = crate::training::Value(1.0).label();
        sums.add(Loss::Values, &[3.0], &[vec![3.0 + 2.0 / 64.0]], &[label]);
        assert!((sums.hessian[0] - 8.0).abs() < 1e-6, "{sums:?}");
        assert!((sums.gradient[0] - 8.0).abs() < 1e-6, "{sums:?}");
        assert!((sums.loss() - 4.0).abs() < 1e-9);
        let mut sums = NormalEquations::new(1);
        sums.add(Loss::Labels, &[0.0], &[vec![4.0 / 64.0]], &[1]);
        assert!((sums.hessian[0] - 4.0).abs() < 1e-6, "{sums:?}");
        assert!((sums.gradient[0] + 2.0).abs() < 1e-6, "{sums:?}");
    }
}
