//! What runs a graph.

use burn::tensor::Device;

use crate::network::program::{Layer, layer::Conv2d};

/// What runs a graph, decided once, where the device is chosen.
#[derive(Clone, Debug)]
pub enum Executor {
    /// Our kernels in host memory; burn's CPU backend for the layers without one.
    Cpu,
    /// burn on this device.
    Burn(Device),
}

impl Executor {
    /// burn's CPU device stands for our kernels.
    pub fn on(device: Device) -> Self {
        let device = device.inner();
        if device == Device::flex() {
            Self::Cpu
        } else {
            Self::Burn(device)
        }
    }

    /// Where burn runs.
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
            Self::Burn(device) => device.clone(),
        }
    }

    /// Whether burn runs this layer, so that its tensors lie on the device.
    pub fn runs_by_burn(&self, layer: &Layer) -> bool {
        match self {
            Self::Cpu => !has_cpu_kernel(layer),
            Self::Burn(_) => true,
        }
    }
}

/// Whether `cpu` has a kernel for a layer.
fn has_cpu_kernel(layer: &Layer) -> bool {
    match layer {
        Layer::Attention(attention) => !attention.scores_distances(),
        _ => has_kernel_for_all(layer),
    }
}

/// Whether `cpu` has a kernel for every layer of this kind.
fn has_kernel_for_all(layer: &Layer) -> bool {
    matches!(
        layer,
        Layer::Add
            | Layer::Linear(_)
            | Layer::Conv2d(Conv2d { groups: 1, .. })
            | Layer::BatchNorm(_)
            | Layer::GlobalAvgPool { .. }
            | Layer::Flatten
            | Layer::Identity
            | Layer::Nonlinear(_)
            | Layer::Gate
            | Layer::Scale { .. }
            | Layer::SoftCap { .. }
            | Layer::Split { .. }
            | Layer::LayerScale { .. }
            | Layer::Norm(_)
            | Layer::Embedding { .. }
            | Layer::TokenTypeEmbedding { .. }
            | Layer::PositionEmbedding(_)
            | Layer::ClassToken { .. }
            | Layer::PatchEmbed(_)
            | Layer::SelectToken(_)
            | Layer::MeanTokens { .. }
            | Layer::ChannelGate { .. }
            | Layer::Concat
    )
}
