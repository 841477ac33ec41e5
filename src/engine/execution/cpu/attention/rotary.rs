//! Rotary positions of one head's rows, in place.

use crate::{execution::burn::Rotations, network::op::Rotary};

/// The rotations of a head's rows.
pub(super) struct Turns {
    rotations: Rotations,
    dims: usize,
    interleaved: bool,
}

impl Turns {
    /// Of `length` positions, for heads of `size` channels.
    pub fn new(rotary: &Rotary, length: usize, size: usize) -> Self {
        Self {
            rotations: Rotations::new(rotary, length, size),
            dims: rotary.dims.unwrap_or(size),
            interleaved: rotary.interleaved,
        }
    }

    /// Pairs `(a, b)` of a head `[S, size]` to `(a cos − b sin, b cos + a sin)`; what is behind the turned
    /// channels stays.
    pub fn turn(&self, head: &mut [f32], size: usize) {
        self.turn_by(head, size, 1.0);
    }

    /// The backward pass of [`Turns::turn`]: the same the other way round.
    pub fn turn_back(&self, head: &mut [f32], size: usize) {
        self.turn_by(head, size, -1.0);
    }

    fn turn_by(&self, head: &mut [f32], size: usize, sign: f32) {
        let pairs = self.dims / 2;
        let angles = self
            .rotations
            .cosines
            .chunks(pairs)
            .zip(self.rotations.sines.chunks(pairs));
        for (row, (cosines, sines)) in head.chunks_mut(size).zip(angles) {
            let row = &mut row[..self.dims];
            let angles = cosines.iter().zip(sines);
            if self.interleaved {
                for (pair, (cosine, sine)) in row.chunks_mut(2).zip(angles) {
                    let (a, b) = (pair[0], pair[1]);
                    pair[0] = a * cosine - b * (sign * sine);
                    pair[1] = b * cosine + a * (sign * sine);
                }
            } else {
                let (first, second) = row.split_at_mut(pairs);
                for ((a, b), (cosine, sine)) in first.iter_mut().zip(second).zip(angles) {
                    let (x, y) = (*a, *b);
                    *a = x * cosine - y * (sign * sine);
                    *b = y * cosine + x * (sign * sine);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_turn_pairs_of_channels_and_back() {
        let halves = Rotary {
            theta: 100.0,
            linear_factor: Some(2.0),
            ..Rotary::default()
        };
        // Pairs (0, 2) and (1, 3) turn by 1/2 and by 1/20 per position.
        let (c, s) = (0.5f32.cos(), 0.5f32.sin());
        let (c2, s2) = (0.05f32.cos(), 0.05f32.sin());
        agree(
            &halves,
            [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0],
            [1.0, 1.0, 0.0, 0.0, c, -s2, s, c2],
        );
        let neighbours = Rotary {
            dims: Some(2),
            interleaved: true,
            theta: 100.0,
            ..Rotary::default()
        };
        agree(
            &neighbours,
            [1.0, 0.0, 5.0, 6.0, 1.0, 0.0, 5.0, 6.0],
            [1.0, 0.0, 5.0, 6.0, 1f32.cos(), 1f32.sin(), 5.0, 6.0],
        );
    }

    /// Two positions of a head of four channels.
    fn agree(rotary: &Rotary, x: [f32; 8], expected: [f32; 8]) {
        let turns = Turns::new(rotary, 2, 4);
        let mut found = x;
        turns.turn(&mut found, 4);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        turns.turn_back(&mut found, 4);
        for (found, x) in found.iter().zip(x) {
            assert!((found - x).abs() < 1e-6);
        }
    }
}
