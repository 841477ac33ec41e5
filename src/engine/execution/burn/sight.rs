//! Which keys a query of an attention sees.

use burn::tensor::{Device, Tensor, TensorData};

/// Added to the score of a position that is not attended to. It is far below any score, yet finite,
/// so that a row with every position masked gives no NaN.
pub(super) const AWAY: f32 = -1e30;

/// Which positions a position may attend to, padding aside.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    /// Of the queries.
    pub length: usize,
    /// None after it.
    pub causal: bool,
    /// Those that are less than so many positions away.
    pub window: Option<usize>,
}

impl Sight {
    fn is_seen(&self, query: usize, key: usize) -> bool {
        let in_time = !self.causal || key <= query;
        in_time
            && self
                .window
                .is_none_or(|window| query.abs_diff(key) < window)
    }

    /// `[S, S]`, a row for each query: `seen` at the keys that it may attend to, else `hidden`.
    fn values(&self, seen: f32, hidden: f32) -> Vec<f32> {
        let Self { length, .. } = *self;
        (0..length * length)
            .map(|i| {
                if self.is_seen(i / length, i % length) {
                    seen
                } else {
                    hidden
                }
            })
            .collect()
    }

    /// `[1, 1, S, S]`, to be added to the scores.
    pub fn mask(&self, device: &Device) -> Tensor<4> {
        let Self { length, .. } = *self;
        let data = TensorData::new(self.values(0.0, AWAY), [1, 1, length, length]);
        Tensor::from_data(data, device)
    }

    /// `[B, 1, S, 1]`: 0 at a query that no key may be seen from, else 1.
    pub fn sees_something(&self, ids: Tensor<2>) -> Tensor<4> {
        let (batch, length) = (ids.dims()[0], self.length);
        let present = ids.greater_equal_elem(0.0).float();
        let keys = match self {
            Self {
                window: Some(_), ..
            } => {
                let data = TensorData::new(self.values(1.0, 0.0), [length, length]);
                let seen: Tensor<2> = Tensor::from_data(data, &present.device());
                present.matmul(seen.transpose())
            }
            Self { causal: true, .. } => present.cumsum(1),
            _ => present.sum_dim(1).expand([batch, length]),
        };

        keys.greater_elem(0.0)
            .float()
            .reshape([batch, 1, length, 1])
    }
}
