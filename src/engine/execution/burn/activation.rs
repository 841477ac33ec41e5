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
            [f] => Self::Features(Tensor::from_data(TensorData::new(values, [samples, f]), device)),
            [s, d] => {
                Self::Tokens(Tensor::from_data(TensorData::new(values, [samples, s, d]), device))
            }
            [c, h, w] => {
                Self::Image(Tensor::from_data(TensorData::new(values, [samples, c, h, w]), device))
            }
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

    pub(super) fn tokens(self) -> Tensor<3> {
        match self {
            Self::Tokens(x) => x,
            Self::Features(_) | Self::Image(_) => unreachable!("shapes have been checked"),
        }
    }

    pub(super) fn image(self) -> Tensor<4> {
        match self {
            Self::Image(x) => x,
            Self::Features(_) | Self::Tokens(_) => unreachable!("shapes have been checked"),
        }
    }
}
