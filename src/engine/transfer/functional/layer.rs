//! A layer of a model, by its tensors.

use crate::{
    network::Op,
    tensors::{Checkpoint, HostTensor},
};

/// A linear layer or convolution, with what its fit needs.
pub struct Layer<'l> {
    pub op: &'l Op,
    pub param: &'l str,
    pub groups: usize,
    pub outputs: usize,
    /// Inputs of one output: channels of a group × kernel positions.
    pub width: usize,
    /// What its bias is called, where it has one.
    pub bias: String,
    pub has_bias: bool,
}

impl<'l> Layer<'l> {
    /// The layer as it is in a model.
    ///
    /// # Panics
    /// Without its weight.
    pub fn of(op: &'l Op, params: &Checkpoint) -> Self {
        let param = op.param().unwrap_or_default();
        let weight = &params[&format!("{param}.weight")];
        let groups = match op {
            Op::Conv2d { groups, .. } => *groups,
            _ => 1,
        };
        let outputs = outputs(op, weight);
        let width = weight.len() / outputs;
        let bias = op.bias().unwrap_or_default();
        let has_bias = params.get(&bias).is_some();

        Self {
            op,
            param,
            groups,
            outputs,
            width,
            bias,
            has_bias,
        }
    }
}

/// Channels that a layer puts out.
fn outputs(op: &Op, weight: &HostTensor) -> usize {
    match op {
        Op::Linear {
            transposed: true, ..
        } => weight.shape()[1],
        _ => weight.shape()[0],
    }
}

/// A vector's values.
pub fn vector(params: &Checkpoint, name: &str) -> Option<Vec<f64>> {
    let tensor = params.get(name)?;
    Some(tensor.f32().iter().map(|&v| f64::from(v)).collect())
}
