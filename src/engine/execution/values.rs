//! Values on their way to a device and back.

use burn::tensor::{Device, Tensor, TensorData};

/// A vector on a device.
pub(super) fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}

/// The values of an f32 tensor, row-major; without a copy where the device is the host and nobody
/// else holds the tensor.
///
/// # Panics
/// When the tensor is not f32 or the device has failed.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("an f32 tensor")
}
