//! An activation on a burn device.

use burn::tensor::{Device, Tensor, TensorData};

/// What flows along an edge, batch first.
#[derive(Clone, Debug)]
pub enum BurnActivation {
    /// `[B, F]`; token ids `[B, S]` are also such, −1 where a position is padded.
    Features(Tensor<2>),
    /// `[B, S, D]`
    Tokens(Tensor<3>),
    /// `[B, C, H, W]`
    Image(Tensor<4>),
}

impl BurnActivation {
    /// Samples `[B, …sample_shape]`, row-major.
    ///
    /// # Panics
    /// When the values do not fill the shape, or a sample is not `[F]`, `[S, D]` or `[C, H, W]`.
    pub fn upload(values: Vec<f32>, sample_shape: &[usize], device: &Device) -> Self {
        let samples = values.len() / sample_shape.iter().product::<usize>().max(1);
        match *sample_shape {
            [f] => Self::Features(Tensor::from_data(
                TensorData::new(values, [samples, f]),
                device,
            )),
            [s, d] => Self::Tokens(Tensor::from_data(
                TensorData::new(values, [samples, s, d]),
                device,
            )),
            [c, h, w] => Self::Image(Tensor::from_data(
                TensorData::new(values, [samples, c, h, w]),
                device,
            )),
            _ => panic!("a sample is [F], [S, D] or [C, H, W], not {sample_shape:?}"),
        }
    }

    /// `[B, …]` with every sample in one row.
    pub(super) fn features(self) -> Tensor<2> {
        match self {
            Self::Features(x) => x,
            Self::Tokens(x) => x.flatten(1, 2),
            Self::Image(x) => x.flatten(1, 3),
        }
    }

    /// `[B, S, width]`.
    pub(super) fn tokens(self, width: usize) -> Tensor<3> {
        if let Self::Tokens(x) = self {
            return x;
        }
        let x = self.features();
        let [batch, size] = x.dims();
        x.reshape([batch, size / width, width])
    }

    /// `[B, C, H, W]`.
    pub(super) fn image(self, [channels, height, width]: [usize; 3]) -> Tensor<4> {
        if let Self::Image(x) = self {
            return x;
        }
        let x = self.features();
        let batch = x.dims()[0];
        x.reshape([batch, channels, height, width])
    }

    /// The sum, in this one's shape.
    pub(super) fn plus(self, other: Self) -> Self {
        match self {
            Self::Features(x) => Self::Features(x + other.features()),
            Self::Tokens(x) => {
                let [_, _, width] = x.dims();
                Self::Tokens(x + other.tokens(width))
            }
            Self::Image(x) => {
                let [_, channels, height, width] = x.dims();
                Self::Image(x + other.image([channels, height, width]))
            }
        }
    }

    /// The product, in this one's shape.
    pub(super) fn times(self, other: Self) -> Self {
        match self {
            Self::Features(x) => Self::Features(x * other.features()),
            Self::Tokens(x) => {
                let [_, _, width] = x.dims();
                Self::Tokens(x * other.tokens(width))
            }
            Self::Image(x) => {
                let [_, channels, height, width] = x.dims();
                Self::Image(x * other.image([channels, height, width]))
            }
        }
    }
}
