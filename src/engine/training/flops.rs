//! What learning costs, counted from shapes: multiply–accumulates of linear layers,
//! convolutions and attention, two operations each. Everything per element (norms, activations, pooling) is left
//! out; it is below a hundredth in the networks at hand.

use serde::Serialize;

use crate::{
    network::{Graph, GraphError, Op, shapes::channels},
    tensors::Signature,
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
        Self { sample_gradients, sample_forwards, flops: passes * forward_flops }
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
///
/// # Errors
/// As [`Graph::shapes`].
pub fn forward_flops(graph: &Graph, signature: &Signature) -> Result<f64, GraphError> {
    let shapes = graph.shapes(signature)?;
    let flops = graph.nodes.iter().zip(&shapes).map(|(node, shape)| {
        let weight = |param: &str| {
            signature[&format!("{param}.weight")].shape.iter().product::<usize>() as f64
        };
        // Every output position reads the weight once, whatever its channels.
        let positions = (shape.iter().product::<usize>() / channels(shape)) as f64;
        match &node.op {
            Op::Linear { param, .. } | Op::Conv2d { param, .. } | Op::PatchEmbed { param } => {
                2.0 * weight(param) * positions
            }
            // Every query meets every key, then every value.
            Op::Attention { .. } => 4.0 * positions * positions * channels(shape) as f64,
            _ => 0.0,
        }
    });
    Ok(flops.sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::{DType, TensorInfo};

    #[test]
    fn multiplications_are_counted_by_hand() {
        let graph =
            Graph::from_document(&json!({"input":{"kind":"image","shape":[2,4,4]},"nodes":[
            {"op":"conv2d","param":"c","padding":1,"groups":2},{"op":"relu"},{"op":"flatten"},
            {"op":"linear","param":"fc"}]}))
            .unwrap();
        let tensor = |shape: &[usize]| TensorInfo { dtype: DType::F32, shape: shape.to_vec() };
        let signature = Signature::from([
            ("c.weight".into(), tensor(&[6, 1, 3, 3])),
            ("fc.weight".into(), tensor(&[5, 96])),
        ]);
        // 6 channels × 16 positions × 9 weights, and 5 × 96.
        let forward = forward_flops(&graph, &signature).unwrap();
        assert!((forward - 2.0 * (864.0 + 480.0)).abs() < 1e-9);
        let cost = Cost::of(2, 1, forward) - Cost::of(1, 0, forward);
        assert_eq!((cost.sample_gradients, cost.sample_forwards), (1, 1));
        assert!((cost.flops - 4.0 * forward).abs() < 1e-9);
    }
}
