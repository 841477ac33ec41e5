//! Rotary positions (Su et al. 2021), and how their frequencies are stretched for long sentences.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

use crate::network::op::{Llama3Scaling, Rotary, Yarn};

/// Cosines and sines of the rotations, `[1, 1, S, dims]`, both channels of a pair alike.
pub(super) struct Angles {
    cosines: Tensor<4>,
    sines: Tensor<4>,
    dims: usize,
    interleaved: bool,
}

impl Angles {
    /// Of `length` positions, for heads of `size` channels.
    pub fn new(rotary: &Rotary, length: usize, size: usize, device: &Device) -> Self {
        let dims = rotary.dims.unwrap_or(size);
        let Rotations { cosines, sines } = Rotations::new(rotary, length, size);

        let [cosines, sines] = [cosines, sines].map(|of_pairs| {
            let values = of_pairs.chunks(dims / 2).flat_map(|pairs| {
                (0..dims).map(move |channel| pairs[pair_of(rotary, dims, channel)])
            });
            let data = TensorData::new(values.collect(), [1, 1, length, dims]);
            Tensor::from_data(data, device)
        });
        Self {
            cosines,
            sines,
            dims,
            interleaved: rotary.interleaved,
        }
    }

    /// Pairs `(a, b)` to `(a cos − b sin, b cos + a sin)`; what is behind the turned channels stays.
    pub fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let size = x.dims()[3];
        if size == self.dims {
            return self.turned(x);
        }
        let rest = x.clone().narrow(3, self.dims, size - self.dims);
        Tensor::cat(vec![self.turned(x.narrow(3, 0, self.dims)), rest], 3)
    }

    fn turned(&self, x: Tensor<4>) -> Tensor<4> {
        let across = if self.interleaved {
            neighbours(&x)
        } else {
            halves(&x)
        };
        x * self.cosines.clone() + across * self.sines.clone()
    }
}

/// Cosines and sines of the rotations of each position's pairs, `[S, dims / 2]`.
pub(in crate::execution) struct Rotations {
    pub cosines: Vec<f32>,
    pub sines: Vec<f32>,
}

impl Rotations {
    /// Of `length` positions, for heads of `size` channels.
    pub fn new(rotary: &Rotary, length: usize, size: usize) -> Self {
        let dims = rotary.dims.unwrap_or(size);
        let frequencies = frequencies(rotary, dims, length);
        let factor = rotary.attention_factor.unwrap_or(1.0);

        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in 0..length {
            for frequency in &frequencies {
                let angle = position as f64 * frequency;
                cosines.push((factor * angle.cos()) as f32);
                sines.push((factor * angle.sin()) as f32);
            }
        }
        Self { cosines, sines }
    }
}

/// The pair that a channel is of.
fn pair_of(rotary: &Rotary, dims: usize, channel: usize) -> usize {
    if rotary.interleaved {
        channel / 2
    } else {
        channel % (dims / 2)
    }
}

/// `(−b, a)` of the halves `(a, b)` of the last axis.
fn halves(x: &Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let (a, b) = (
        x.clone().narrow(3, 0, half),
        x.clone().narrow(3, half, half),
    );
    Tensor::cat(vec![b.neg(), a], 3)
}

/// `(−b, a)` of each two neighbours `(a, b)` along the last axis.
fn neighbours(x: &Tensor<4>) -> Tensor<4> {
    let [batch, heads, length, size] = x.dims();
    let pairs: Tensor<5> = x.clone().reshape([batch, heads, length, size / 2, 2]);
    let (a, b) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
    Tensor::cat(vec![b.neg(), a], 4).reshape([batch, heads, length, size])
}

/// Radians per position, for each of the `dims / 2` pairs.
fn frequencies(rotary: &Rotary, dims: usize, length: usize) -> Vec<f64> {
    let factors = rotary.longrope.as_ref().map(|longrope| {
        if length > longrope.original_max_position_embeddings {
            &longrope.long_factor
        } else {
            &longrope.short_factor
        }
    });

    (0..dims / 2)
        .map(|pair| {
            let plain = rotary.theta.powf(-((2 * pair) as f64) / dims as f64);
            let slowed = plain / rotary.linear_factor.unwrap_or(1.0);
            let slowed = slowed / factors.map_or(1.0, |factors| factors[pair]);
            if let Some(scaling) = &rotary.llama3 {
                return stretched(slowed, scaling);
            }
            match &rotary.yarn {
                Some(yarn) => slowed * yarn.share(pair, dims, rotary.theta),
                None => slowed,
            }
        })
        .collect()
}

/// Llama 3: wavelengths beyond the original context (over `low_freq_factor`) are stretched by
/// `factor`, those within its `high_freq_factor`-th part are kept, between them it is a blend.
fn stretched(frequency: f64, scaling: &Llama3Scaling) -> f64 {
    let turns = scaling.original_max_position_embeddings * frequency / TAU;
    let (low, high) = (scaling.low_freq_factor, scaling.high_freq_factor);
    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    frequency * (kept + (1.0 - kept) / scaling.factor)
}

impl Yarn {
    /// What the frequency of a pair is multiplied by.
    fn share(&self, pair: usize, dims: usize, theta: f64) -> f64 {
        let [mut first, mut last] =
            [self.beta_fast, self.beta_slow].map(|turns| self.pair_of(turns, dims, theta));
        if self.truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        let (first, mut last) = (first.max(0.0), last.min(dims as f64 - 1.0));
        if first == last {
            last += 0.001;
        }

        let slowed = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
        slowed / self.factor + (1.0 - slowed)
    }

    /// The pair that turns so often within the original length, between whole pairs.
    fn pair_of(&self, turns: f64, dims: usize, theta: f64) -> f64 {
        let wavelength = self.original_max_position_embeddings / (turns * TAU);
        dims as f64 * wavelength.ln() / (2.0 * theta.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::floats;

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    #[test]
    fn positions_turn_pairs_of_channels() {
        let rotary = Rotary {
            theta: 100.0,
            linear_factor: Some(2.0),
            ..Rotary::default()
        };
        // Pairs (0, 2) and (1, 3) turn by 1/2 and by 1/20 per position.
        let angles = Angles::new(&rotary, 2, 4, &Device::flex());
        let x = tensor(&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0], [1, 1, 2, 4]);
        let (c, s) = (0.5f32.cos(), 0.5f32.sin());
        let (c2, s2) = (0.05f32.cos(), 0.05f32.sin());
        let expected = [1.0, 1.0, 0.0, 0.0, c, -s2, s, c2];
        for (found, expected) in floats(angles.turn(x)).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn long_wavelengths_are_stretched() {
        let scaling = Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: TAU,
        };
        // With that context, a frequency is the number of turns it makes in it.
        for (frequency, expected) in [(5.0, 5.0), (0.8, 0.1), (2.5, 2.5 * (0.5 + 0.5 / 8.0))] {
            assert!((stretched(frequency, &scaling) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn neighbours_are_turned_and_the_rest_stays() {
        let rotary = Rotary {
            dims: Some(2),
            interleaved: true,
            theta: 100.0,
            ..Rotary::default()
        };
        let angles = Angles::new(&rotary, 2, 4, &Device::flex());
        let x = tensor(&[1.0, 0.0, 5.0, 6.0, 1.0, 0.0, 5.0, 6.0], [1, 1, 2, 4]);
        let expected = [1.0, 0.0, 5.0, 6.0, 1f32.cos(), 1f32.sin(), 5.0, 6.0];
        for (found, expected) in floats(angles.turn(x)).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        let rotary = Rotary {
            dims: None,
            ..rotary
        };
        let angles = Angles::new(&rotary, 2, 4, &Device::flex());
        let x = tensor(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0], [1, 1, 2, 4]);
        let found = floats(angles.turn(x));
        // The second pair turns by a tenth.
        let expected = [-(1f32.sin()), 1f32.cos(), 0.1f32.cos(), 0.1f32.sin()];
        for (found, expected) in found[4..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn yarn_keeps_short_wavelengths_and_slows_long_ones() {
        let yarn = Yarn {
            factor: 4.0,
            original_max_position_embeddings: 1000.0 * TAU,
            beta_fast: 100.0,
            beta_slow: 1.0,
            truncate: false,
        };
        // Of 8 channels at θ = 10⁴ pair i turns 1000 · 10^−i times: the ramp is from 1 to 3.
        for (pair, expected) in [(0, 1.0), (1, 1.0), (2, 0.5 + 0.125), (3, 0.25)] {
            assert!(
                (yarn.share(pair, 8, 1e4) - expected).abs() < 1e-12,
                "{pair}"
            );
        }
    }

    #[test]
    fn longrope_has_factors_for_short_and_for_long_sentences() {
        let longrope = crate::network::op::LongRope {
            short_factor: vec![1.0, 2.0],
            long_factor: vec![4.0, 8.0],
            original_max_position_embeddings: 5,
        };
        let rotary = Rotary {
            theta: 100.0,
            longrope: Some(longrope.into()),
            ..Rotary::default()
        };
        for (length, expected) in [(5, [1.0, 0.05]), (6, [0.25, 0.0125])] {
            for (found, expected) in frequencies(&rotary, 4, length).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12);
            }
        }
    }
}
