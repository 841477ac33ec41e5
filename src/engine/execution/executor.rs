//! What runs a graph.

use burn::tensor::Device;

use crate::network::Op;

/// What runs a graph, decided once, where the device is chosen.
#[derive(Clone, Debug)]
pub enum Executor {
    /// Our kernels in host memory; burn's CPU backend for the ops without one.
    Cpu,
    /// burn on this device.
    Burn(Device),
}

impl Executor {
    /// burn's CPU device stands for our kernels.
    pub fn on(device: Device) -> Self {
        let device = device.inner();
        if device == Device::flex() { Self::Cpu } else { Self::Burn(device) }
    }

    /// Where burn runs.
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
            Self::Burn(device) => device.clone(),
        }
    }

    /// Whether burn runs this op, so that its tensors lie on the device.
    pub fn runs_by_burn(&self, op: &Op) -> bool {
        match self {
            Self::Cpu => !has_cpu_kernel(op),
            Self::Burn(_) => true,
        }
    }
}

/// Whether `cpu` has a kernel for an op.
pub(super) fn has_cpu_kernel(op: &Op) -> bool {
    matches!(
        op,
        Op::Add {}
            | Op::Linear { .. }
            | Op::Conv2d { groups: 1, .. }
            | Op::BatchNorm { .. }
            | Op::Relu {}
            | Op::GlobalAvgPool {}
            | Op::Flatten {}
            | Op::Dropout { .. }
    )
}
