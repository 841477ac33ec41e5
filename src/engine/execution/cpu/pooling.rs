//! Tokens that become one vector, and those that stand among the others in every sample.

use rayon::prelude::*;

use super::activation::CpuActivation;
use crate::network::{Token, op::Position, program::layer::SelectToken};

/// What each token `[S]` of a sample has of its vector.
pub(super) struct Shares {
    /// `[B, S]`
    shares: Vec<f32>,
    length: usize,
}

impl Shares {
    /// One token a sample; the ids say which tokens count.
    pub fn of_one(select: &SelectToken, x: &CpuActivation, ids: Option<&CpuActivation>) -> Self {
        let length = x.shape()[0];
        let mut shares = vec![0.0; x.batch() * length];
        for (sample, shares) in shares.chunks_mut(length).enumerate() {
            let chosen = match (select.position, ids) {
                (Position::First, _) => 0,
                (_, None) => length - 1,
                (_, Some(ids)) => {
                    let packed = &ids.values()[sample * length..][..length];
                    let last = packed.iter().rposition(|&v| counts(v, select));
                    last.unwrap_or(0)
                }
            };
            shares[chosen] = 1.0;
        }

        Self { shares, length }
    }

    /// The mean of all tokens but the first `skip`, or of those that are not masked; none where all are.
    pub fn of_mean(x: &CpuActivation, ids: Option<&CpuActivation>, skip: usize) -> Self {
        let length = x.shape()[0];
        let mut shares = vec![1.0 / (length - skip) as f32; x.batch() * length];
        for shares in shares.chunks_mut(length) {
            shares[..skip].fill(0.0);
        }
        if let Some(ids) = ids {
            let samples = shares.chunks_mut(length).zip(ids.values().chunks(length));
            for (shares, packed) in samples {
                let count = packed.iter().filter(|&&v| v >= 0.0).count().max(1);
                for (share, &v) in shares.iter_mut().zip(packed) {
                    *share = if v >= 0.0 { 1.0 / count as f32 } else { 0.0 };
                }
            }
        }

        Self { shares, length }
    }

    /// `[S, D]` to `[D]`.
    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let width = x.size() / self.length;
        let mut y = vec![0.0; x.batch() * width];
        y.par_chunks_mut(width)
            .zip(x.values().par_chunks(x.size()))
            .zip(self.shares.par_chunks(self.length))
            .for_each(|((y, x), shares)| {
                for (row, &share) in x
                    .chunks(width)
                    .zip(shares)
                    .filter(|(_, share)| **share > 0.0)
                {
                    y.iter_mut().zip(row).for_each(|(y, v)| *y += v * share);
                }
            });

        CpuActivation::new(y, &[width])
    }

    /// `[D]` to `[S, D]`.
    pub fn backward(&self, dy: &CpuActivation, shape: &[usize]) -> CpuActivation {
        let (width, size) = (dy.size(), shape.iter().product());
        let mut dx = vec![0.0; dy.batch() * size];
        dx.par_chunks_mut(size)
            .zip(dy.values().par_chunks(width))
            .zip(self.shares.par_chunks(self.length))
            .for_each(|((dx, dy), shares)| {
                for (row, &share) in dx
                    .chunks_mut(width)
                    .zip(shares)
                    .filter(|(_, share)| **share > 0.0)
                {
                    row.iter_mut().zip(dy).for_each(|(x, d)| *x = d * share);
                }
            });

        CpuActivation::new(dx, shape)
    }
}

/// Whether a position may be the last that counts.
fn counts(packed: f32, select: &SelectToken) -> bool {
    let Some(token) = Token::of(packed) else {
        return false;
    };
    match (select.position, select.padding, select.token) {
        (Position::End, Some(padding), _) => token.id != padding,
        (Position::End, None, Some(id)) => token.id == id,
        (Position::End, None, None) => true,
        _ => !token.masked,
    }
}

/// `[S, D]` to `[S + R, D]`: so many tokens stay before the new ones.
pub(super) fn with_tokens(x: &CpuActivation, tokens: &[f32], at: usize) -> CpuActivation {
    let (rows, width) = (x.shape()[0], x.shape()[1]);
    let mut values = Vec::with_capacity(x.values().len() + x.batch() * tokens.len());
    for sample in x.values().chunks(x.size()) {
        let (before, behind) = sample.split_at(at * width);
        values.extend_from_slice(before);
        values.extend_from_slice(tokens);
        values.extend_from_slice(behind);
    }
    CpuActivation::new(values, &[rows + tokens.len() / width, width])
}

/// The gradients of the tokens `[S, D]` and of the `count` new ones `[R, D]`, given that of `[S + R, D]`.
pub(super) fn without_tokens(
    dy: &CpuActivation,
    count: usize,
    at: usize,
) -> (CpuActivation, Vec<f32>) {
    let (rows, width) = (dy.shape()[0], dy.shape()[1]);
    let mut sums = vec![0f64; count * width];
    let mut dx = Vec::with_capacity(dy.values().len());
    for sample in dy.values().chunks(dy.size()) {
        let (before, rest) = sample.split_at(at * width);
        let (tokens, behind) = rest.split_at(count * width);
        sums.iter_mut()
            .zip(tokens)
            .for_each(|(sum, &v)| *sum += f64::from(v));
        dx.extend_from_slice(before);
        dx.extend_from_slice(behind);
    }
    let tokens = sums.into_iter().map(|sum| sum as f32).collect();

    (CpuActivation::new(dx, &[rows - count, width]), tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::token::ABSENT;

    fn tokens() -> CpuActivation {
        CpuActivation::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 1])
    }

    #[test]
    fn padding_is_left_out() {
        let ids = CpuActivation::new(vec![7.0, 0.0, -1.0, -1.0, -1.0, 2.0], &[3]);
        let mean = |ids| Shares::of_mean(&tokens(), ids, 0).forward(&tokens());
        assert_eq!(mean(None).values(), [2.0, 5.0]);
        assert_eq!(mean(Some(&ids)).values(), [1.5, 6.0]);
        let skipped = Shares::of_mean(&tokens(), None, 1).forward(&tokens());
        assert_eq!(skipped.values(), [2.5, 5.5]);

        let one = |position, padding, ids| {
            let select = SelectToken {
                position,
                padding,
                token: None,
            };
            let shares = Shares::of_one(&select, &tokens(), ids);
            shares.forward(&tokens()).into_values()
        };
        assert_eq!(one(Position::First, None, None), [1.0, 4.0]);
        assert_eq!(one(Position::Last, None, None), [3.0, 6.0]);
        assert_eq!(one(Position::Last, None, Some(&ids)), [2.0, 6.0]);
        // Masked ids are 0 here: only the id counts, not the mask.
        assert_eq!(one(Position::End, Some(0), Some(&ids)), [1.0, 6.0]);
        assert_eq!(one(Position::End, Some(2), Some(&ids)), [3.0, 5.0]);
        assert_eq!(one(Position::End, Some(9), Some(&ids)), [3.0, 6.0]);
        let filled = CpuActivation::new(vec![7.0, ABSENT, ABSENT, 4.0, -5.0, ABSENT], &[3]);

        assert_eq!(one(Position::End, None, Some(&filled)), [1.0, 5.0]);
    }

    #[test]
    fn gradients_go_back_where_values_came_from() {
        let ids = CpuActivation::new(vec![7.0, 0.0, -1.0, -1.0, -1.0, -1.0], &[3]);
        let dy = CpuActivation::new(vec![4.0, 6.0], &[1]);
        let mean = Shares::of_mean(&tokens(), Some(&ids), 0).backward(&dy, &[3, 1]);
        assert_eq!(mean.values(), [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        let last = SelectToken {
            position: Position::Last,
            padding: None,
            token: None,
        };
        let last = Shares::of_one(&last, &tokens(), Some(&ids));
        assert_eq!(
            last.backward(&dy, &[3, 1]).values(),
            [0.0, 4.0, 0.0, 6.0, 0.0, 0.0]
        );

        let y = with_tokens(&tokens(), &[9.0], 0);
        assert_eq!(y.values(), [9.0, 1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0]);
        let (dx, token) = without_tokens(&y, 1, 0);
        assert_eq!((dx.values(), dx.shape()), (tokens().values(), &[3, 1][..]));
        assert_eq!(token, [18.0]);
        let y = with_tokens(&tokens(), &[8.0, 9.0], 1);
        assert_eq!(y.values()[..5], [1.0, 8.0, 9.0, 2.0, 3.0]);
        let (dx, registers) = without_tokens(&y, 2, 1);
        assert_eq!(dx.values(), tokens().values());

        assert_eq!(registers, [16.0, 18.0]);
    }
}
