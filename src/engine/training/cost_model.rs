//! What one sample asks of a machine, by the kinds of kernels that run it: an estimate for plans.

use crate::{
    execution::cpu::stored_for_backward,
    network::{
        Instruction, Layer, Program,
        program::layer::{Conv2d, Linear, Nonlinearity, PatchEmbed},
    },
};

/// Work and memory of one sample's forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// FLOPs of matrix products of linear layers.
    pub products: f64,
    /// FLOPs of convolutions and attention.
    pub convolutions: f64,
    /// Elements that single passes over slices put out: sums, `relu`, batch norm.
    pub light: f64,
    /// Elements of costlier passes: norms of tokens, smooth activations, scores of attention.
    pub heavy: f64,
    /// Elements held during the backward pass, at most: the stored activations, and a few on the way.
    pub held: f64,
    /// Elements of the largest activation.
    pub largest: f64,
    pub nodes: f64,
}

/// Activations of the largest size that the backward pass holds beside the stored ones: the gradients
/// of a residual sum's two sides, of an input, and a recomputed activation.
const ON_THE_WAY: f64 = 4.0;

impl Load {
    /// That of a program, for samples as large as its input.
    pub fn of(program: &Program) -> Self {
        let kept = stored_for_backward(program).into_iter();
        let kept = kept.map(|operand| program.shape(operand).iter().product::<usize>() as f64);

        let mut load = Self {
            held: kept.sum(),
            ..Self::default()
        };
        for instruction in &program.instructions {
            load.add(instruction);
        }
        load.held += ON_THE_WAY * load.largest;

        load
    }

    fn add(&mut self, instruction: &Instruction) {
        let elements = instruction.size() as f64;
        let positions = elements / instruction.channels() as f64;
        let mut held = elements;

        match &instruction.layer {
            Layer::Linear(Linear { weight, .. }) => {
                self.products += 2.0 * weight.len() as f64 * positions;
            }
            Layer::Conv2d(Conv2d { weight, .. }) | Layer::PatchEmbed(PatchEmbed { weight, .. }) => {
                self.convolutions += 2.0 * weight.len() as f64 * positions;
            }
            Layer::Experts(layer) => {
                let rows = layer.top_k as f64 * positions;
                self.products += 2.0 * layer.weights() as f64 * rows;
                self.heavy += rows * (3 * layer.hidden() + 3 * instruction.channels()) as f64;
                held += rows * (4 * layer.hidden() + 3 * instruction.channels()) as f64;
            }
            Layer::Attention(layer) => {
                let keys = layer.keys(instruction.positions()) as f64;
                let scores = layer.heads as f64 * positions * keys;
                self.convolutions += 4.0 * keys * elements;
                self.heavy += 3.0 * scores + 4.0 * elements;
                held += 3.0 * scores;
            }
            Layer::Nonlinear(Nonlinearity::Relu)
            | Layer::Add
            | Layer::BatchNorm(_)
            | Layer::GlobalAvgPool { .. } => self.light += elements,
            Layer::Flatten | Layer::Identity => {}
            _ => self.heavy += elements,
        }

        self.largest = self.largest.max(held);

        self.nodes += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::training::testing;

    #[test]
    fn a_small_network_by_hand() {
        let graph = testing::graph(
            &[2, 4, 4],
            json!([{"op": "conv2d", "param": "c", "padding": 1}, {"op": "relu"}, {"op": "gelu"},
                {"op": "flatten"}, {"op": "linear", "param": "fc"}]),
        );
        let signature = testing::signature(&[("c.weight", &[6, 2, 3, 3]), ("fc.weight", &[5, 96])]);
        let load = Load::of(&graph.resolve(&signature).unwrap());
        assert_eq!(load.convolutions, 2.0 * 108.0 * 16.0);
        assert_eq!(load.products, 2.0 * 480.0);
        assert_eq!((load.light, load.heavy), (96.0, 96.0));
        // The input, the relu, what it is flattened to, and what is on the way.
        assert_eq!(
            (load.held, load.largest),
            (32.0 + 2.0 * 96.0 + 4.0 * 96.0, 96.0)
        );

        assert_eq!(load.nodes, 5.0);
    }
}
