//! λ of the linear trajectory `θ_A^t = (1 − λ_t) θ_A⁰ + λ_t θ_A^T`.

use std::f64::consts::PI;

use super::options::Schedule;

/// `λ_1 … λ_T`, rising, the last exactly 1. Uniform: `t / T`; cosine:
/// `λ_s ∝ Σ_{t<s} (1 + cos(πt/T))`, as far as a cosine learning rate would have come.
pub fn fractions(schedule: Schedule, timesteps: usize) -> Vec<f64> {
    let total = timesteps as f64;
    let mut sum = 0.0;
    let mut fractions = Vec::with_capacity(timesteps);

    for t in 0..timesteps {
        sum += match schedule {
            Schedule::Uniform => 1.0,
            Schedule::Cosine => 1.0 + (PI * t as f64 / total).cos(),
        };
        fractions.push(sum);
    }

    fractions.iter_mut().for_each(|f| *f /= sum);
    fractions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_and_cosine() {
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(
            &fractions(Schedule::Uniform, 4),
            &[0.25, 0.5, 0.75, 1.0]
        ));
        // Speeds 2, 1 + √½, 1, 1 − √½; their sum is 5.
        let root = 0.5f64.sqrt();
        let expected = [2.0 / 5.0, (3.0 + root) / 5.0, (4.0 + root) / 5.0, 1.0];
        assert!(close(&fractions(Schedule::Cosine, 4), &expected));
        for timesteps in 1..200 {
            assert!(
                fractions(Schedule::Cosine, timesteps)[timesteps - 1].to_bits() == 1f64.to_bits()
            );
        }
    }
}
