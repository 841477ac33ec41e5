//! Exponentials and what is made of them, in f32 and without branches, so that a loop over them becomes
//! vectors. Each is within a few roundings of its exact value; a NaN stays one.
#![expect(
    clippy::inline_always,
    clippy::excessive_precision,
    reason = "a loop that is not inlined is not compiled for AVX; coefficients are as published"
)]

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

/// `1.5 · 2²³`: added to a small number and taken away it rounds to a whole one, which its bits tell.
const ROUNDING: f32 = 12_582_912.0;
/// Exponentials of less are 0.
const SMALLEST_EXPONENT: f32 = -87.33;
/// Exponentials of more are that of this.
const LARGEST_EXPONENT: f32 = 88.37;
/// `ln 2` in two parts, of which products with whole numbers are exact for the first.
const LN_2_HIGH: f32 = 0.693_359_375;
const LN_2_LOW: f32 = -2.121_944_40e-4;
/// From here on tanh is ±1 in f32.
const TANH_END: f32 = 7.905_311_1;
/// From here on erf is ±1 in f32.
const ERF_END: f32 = 4.0;
/// `√(2/π)` and the cubic term of GELU's form by tanh.
const GELU_FACTOR: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
const GELU_CUBIC: f32 = 0.044_715;
const QUICK_GELU_FACTOR: f32 = 1.702;

/// `Σ c_i xⁱ`, the highest coefficient first.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().fold(0.0, |sum, c| sum * x + c)
}

/// Into ±`end`.
#[inline(always)]
fn clamped(x: f32, end: f32) -> f32 {
    let x = if x > end { end } else { x };
    if x < -end { -end } else { x }
}

/// `eˣ` (Cephes' `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let within = if x > LARGEST_EXPONENT {
        LARGEST_EXPONENT
    } else {
        x
    };
    let shifted = within * LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    let rest = within - whole * LN_2_HIGH - whole * LN_2_LOW;

    let series = polynomial(
        rest,
        [
            1.987_569_15e-4,
            1.398_199_95e-3,
            8.333_451_91e-3,
            4.166_579_59e-2,
            1.666_666_55e-1,
            5.000_000_1e-1,
        ],
    );
    let mantissa = series * (rest * rest) + rest + 1.0;

    let exponent = shifted.to_bits().wrapping_sub(ROUNDING.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);

    if x < SMALLEST_EXPONENT {
        0.0
    } else {
        mantissa * power
    }
}

/// As the quotient of two polynomials (Eigen's).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let x = clamped(x, TANH_END);
    let square = x * x;
    let above = polynomial(
        square,
        [
            -2.760_768_47e-16,
            2.000_187_90e-13,
            -8.604_671_52e-11,
            5.122_297_09e-8,
            1.485_722_35e-5,
            6.372_619_28e-4,
            4.893_524_55e-3,
        ],
    );
    let below = polynomial(
        square,
        [
            1.198_258_39e-6,
            1.185_347_05e-4,
            2.268_434_63e-3,
            4.893_525_18e-3,
        ],
    );

    x * above / below
}

/// As the quotient of two polynomials (Eigen's).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = clamped(x, ERF_END);
    let square = x * x;
    let above = polynomial(
        square,
        [
            -2.726_142_25e-10,
            2.770_681_42e-8,
            -2.101_024_02e-6,
            -5.692_506_39e-5,
            -7.349_906_30e-4,
            -2.954_599_80e-3,
            -1.609_603_33e-2,
        ],
    );
    let below = polynomial(
        square,
        [
            -1.456_607_18e-5,
            -2.133_740_55e-4,
            -1.682_826_97e-3,
            -7.373_329_16e-3,
            -1.426_473_90e-2,
        ],
    );

    x * above / below
}

#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `Φ(x)` of the standard normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

/// `x Φ(x)`
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    x * normal(x)
}

/// `Φ(x) + x φ(x)`
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    normal(x) + x * (0.5 * GELU_FACTOR) * exp(-0.5 * x * x)
}

/// `x Φ(x)` by tanh.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    let inner = GELU_FACTOR * (x + GELU_CUBIC * x * x * x);
    0.5 * x * (1.0 + tanh(inner))
}

#[inline(always)]
pub fn gelu_tanh_slope(x: f32) -> f32 {
    let t = tanh(GELU_FACTOR * (x + GELU_CUBIC * x * x * x));
    let inner_slope = GELU_FACTOR * (1.0 + 3.0 * GELU_CUBIC * x * x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope
}

#[inline(always)]
pub fn sigmoid_slope(x: f32) -> f32 {
    let share = sigmoid(x);
    share * (1.0 - share)
}

/// `min(max(x / 6 + 1/2, 0), 1)`
#[inline(always)]
pub fn hard_sigmoid(x: f32) -> f32 {
    relu6(x + 3.0) / 6.0
}

#[inline(always)]
pub fn hard_sigmoid_slope(x: f32) -> f32 {
    relu6_slope(x + 3.0) / 6.0
}

/// `x · hard_sigmoid(x)`
#[inline(always)]
pub fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x)
}

#[inline(always)]
pub fn hard_swish_slope(x: f32) -> f32 {
    hard_sigmoid(x) + x * hard_sigmoid_slope(x)
}

/// `min(max(x, 0), 6)`; a number that is none stays so.
#[inline(always)]
pub fn relu6(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 6.0 { 6.0 } else { x }
}

#[inline(always)]
pub fn relu6_slope(x: f32) -> f32 {
    if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }
}

/// `x σ(1.702 x)`
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(QUICK_GELU_FACTOR * x)
}

#[inline(always)]
pub fn quick_gelu_slope(x: f32) -> f32 {
    let share = sigmoid(QUICK_GELU_FACTOR * x);
    share * (1.0 + QUICK_GELU_FACTOR * x * (1.0 - share))
}

/// `x σ(x)`
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

#[inline(always)]
pub fn silu_slope(x: f32) -> f32 {
    let share = sigmoid(x);
    share * (1.0 + x * (1.0 - share))
}

#[inline(always)]
pub fn tanh_slope(x: f32) -> f32 {
    let t = tanh(x);
    1.0 - t * t
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function = fn(f32) -> f32;

    /// From −`end` to `end`, 20 001 numbers.
    fn points(end: f64) -> impl Iterator<Item = f32> {
        (-10_000..=10_000).map(move |i| (f64::from(i) / 10_000.0 * end) as f32)
    }

    #[test]
    fn exponentials_are_exact_to_a_rounding_or_two() {
        for x in points(87.0) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 1.5e-7 * exact, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(1e30).is_finite() && exp(1e30) > 1e38);
    }

    #[test]
    fn no_number_stays_none() {
        for function in [
            exp,
            tanh,
            gelu,
            gelu_slope,
            gelu_tanh,
            gelu_tanh_slope,
            silu,
            silu_slope,
            tanh_slope,
            sigmoid,
            sigmoid_slope,
            hard_sigmoid,
            hard_swish,
            relu6,
            quick_gelu,
            quick_gelu_slope,
        ] {
            assert!(function(f32::NAN).is_nan());
        }
    }

    #[test]
    fn hyperbolic_tangents_and_what_is_made_of_them() {
        for x in points(12.0) {
            let x64 = f64::from(x);
            assert!((f64::from(tanh(x)) - x64.tanh()).abs() < 5e-7, "{x}");
            let sigmoid = 1.0 / (1.0 + (-x64).exp());
            assert!((f64::from(silu(x)) - x64 * sigmoid).abs() < 4e-7 * (1.0 + x64.abs()));
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x64 + 0.044_715 * x64.powi(3));
            let gelu = 0.5 * x64 * (1.0 + inner.tanh());
            assert!((f64::from(gelu_tanh(x)) - gelu).abs() < 4e-7 * (1.0 + x64.abs()));
        }
    }

    /// Of a table of the normal distribution.
    #[test]
    fn the_exact_gelu_by_hand() {
        for (x, normal) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746),
            (-1.0, 0.158_655_254),
            (2.0, 0.977_249_868),
            (-3.0, 0.001_349_898),
            (8.0, 1.0),
            (-8.0, 0.0),
        ] {
            assert!((gelu(x) - x * normal).abs() < 2e-6, "{x}");
        }
    }

    #[test]
    fn functions_with_corners_by_hand() {
        for (x, relu6_of, hard) in [
            (-4.0, 0.0, 0.0),
            (-1.5, 0.0, 0.25),
            (1.5, 1.5, 0.75),
            (7.0, 6.0, 1.0),
        ] {
            assert_eq!(
                (relu6(x), hard_sigmoid(x), hard_swish(x)),
                (relu6_of, hard, x * hard)
            );
        }
        assert_eq!([-1.0, 3.0, 7.0].map(relu6_slope), [0.0, 1.0, 0.0]);
        assert_eq!(
            [-4.0, 0.0, 4.0].map(hard_sigmoid_slope),
            [0.0, 1.0 / 6.0, 0.0]
        );

        assert_eq!([-4.0, 0.0, 4.0].map(hard_swish_slope), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn slopes_are_those_of_the_functions() {
        let pairs: [(Function, Function); 6] = [
            (gelu, gelu_slope),
            (gelu_tanh, gelu_tanh_slope),
            (silu, silu_slope),
            (tanh, tanh_slope),
            (sigmoid, sigmoid_slope),
            (quick_gelu, quick_gelu_slope),
        ];

        for (function, slope) in pairs {
            for x in points(6.0).step_by(100) {
                let step = 1.0 / 64.0;
                let difference = (function(x + step) - function(x - step)) / (2.0 * step);
                assert!((difference - slope(x)).abs() < 3e-4, "{x}");
            }
        }
    }
}
