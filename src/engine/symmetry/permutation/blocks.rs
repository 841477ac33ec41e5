//! Weights of convolutions whose channels permute inside their groups.

use super::{Permutation, Symmetry};
use crate::{symmetry::groups::GroupedWeight, tensors::HostTensor};

impl Permutation {
    /// `π` on the weight `[G · out, in, …]`: the rows follow the outputs, and the second axis of each row the inputs of
    /// the row's block.
    pub(super) fn by_blocks(
        &self,
        symmetry: &Symmetry,
        name: &str,
        weight: GroupedWeight,
        tensor: &HostTensor,
    ) -> HostTensor {
        let inputs = self.sigma(weight.inputs);
        let [rows, channels] = [0, 1].map(|axis| tensor.shape()[axis]);
        let order = self.sources(symmetry, name, 0, rows);
        let stays = order.iter().enumerate().all(|(to, &from)| to == from)
            && (0u32..).zip(inputs).all(|(to, &from)| to == from);
        if stays {
            return tensor.clone();
        }

        let (width, each) = (
            tensor.shape()[2..].iter().product::<usize>(),
            rows / weight.blocks,
        );
        let values = tensor.f32();
        let mut moved = Vec::with_capacity(values.len());
        for (row, &source) in order.iter().enumerate() {
            let block = &inputs[row / each * channels..][..channels];
            for &from in block {
                let start = (source * channels + from as usize % channels) * width;
                moved.extend_from_slice(&values[start..start + width]);
            }
        }

        HostTensor::from_f32_as(tensor.dtype(), tensor.shape().to_vec(), moved)
    }
}
