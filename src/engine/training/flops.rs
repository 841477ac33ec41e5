//! What learning costs, counted from shapes: multiply–accumulates of linear layers,
//! convolutions and attention, two operations each. Everything per element (norms, activations, pooling) is left
//! out; it is below a hundredth in the networks at hand.

use serde::Serialize;

use crate::network::{
    Instruction, Layer, Program,
    program::layer::{Conv2d, Linear, PatchEmbed},
};

/// Work done, in samples and in floating-point operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Samples whose gradient was computed (forward and backward).
    pub sample_gradients: u64,
    /// Samples that ran forward only.
    pub sample_forwards: u64,
    /// A gradient counts three forward passes.
    pub flops: f64,
}

impl Cost {
    pub(super) fn of(sample_gradients: u64, sample_forwards: u64, forward_flops: f64) -> Self {
        let passes = 3.0 * sample_gradients as f64 + sample_forwards as f64;
        Self {
            sample_gradients,
            sample_forwards,
            flops: passes * forward_flops,
        }
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;

    /// What was spent between two readings.
    fn sub(self, earlier: Self) -> Self {
        Self {
            sample_gradients: self.sample_gradients - earlier.sample_gradients,
            sample_forwards: self.sample_forwards - earlier.sample_forwards,
            flops: self.flops - earlier.flops,
        }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sample_gradients: self.sample_gradients + other.sample_gradients,
            sample_forwards: self.sample_forwards + other.sample_forwards,
            flops: self.flops + other.flops,
        }
    }
}

/// Floating-point operations of one sample's forward pass.
pub fn forward_flops(program: &Program) -> f64 {
    program.instructions.iter().map(instruction_flops).sum()
}

fn instruction_flops(instruction: &Instruction) -> f64 {
    let positions = instruction.positions() as f64;

    match &instruction.layer {
        // Every output position reads the weight once, whatever its channels.
        Layer::Linear(Linear { weight, .. }) => 2.0 * weight.len() as f64 * positions,
        Layer::Conv2d(Conv2d { weight, .. }) | Layer::PatchEmbed(PatchEmbed { weight, .. }) => {
            2.0 * weight.len() as f64 * positions
        }
        // Every token passes through its own experts alone.
        Layer::Experts(layer) => 2.0 * (layer.top_k * layer.weights()) as f64 * positions,
        // Every query meets the keys that it may see, then their values.
        Layer::Attention(layer) => {
            let keys = layer.keys(instruction.positions()) as f64;
            4.0 * positions * keys * instruction.channels() as f64
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        network::Graph,
        tensors::{DType, Signature, TensorInfo},
    };

    #[test]
    fn multiplications_are_counted_by_hand() {
        let graph =
            Graph::from_document(&json!({"input":{"kind":"image","shape":[2,4,4]},"nodes":[
            {"op":"conv2d","param":"c","padding":1,"groups":2},{"op":"relu"},{"op":"flatten"},
            {"op":"linear","param":"fc"}]}))
            .unwrap();
        let tensor = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let signature = Signature::from([
            ("c.weight".into(), tensor(&[6, 1, 3, 3])),
            ("fc.weight".into(), tensor(&[5, 96])),
        ]);
        // 6 channels × 16 positions × 9 weights, and 5 × 96.
        let forward = forward_flops(&graph.resolve(&signature).unwrap());
        assert!((forward - 2.0 * (864.0 + 480.0)).abs() < 1e-9);
        let cost = Cost::of(2, 1, forward) - Cost::of(1, 0, forward);
        assert_eq!((cost.sample_gradients, cost.sample_forwards), (1, 1));

        assert!((cost.flops - 4.0 * forward).abs() < 1e-9);
    }
}
