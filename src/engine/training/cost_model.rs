//! What one sample asks of a machine, by the kinds of kernels that run it: an estimate for plans.

use crate::{
    execution::cpu::stored_for_backward,
    network::{Graph, GraphError, Op, Operand, shapes::channels},
    tensors::Signature,
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
    /// Elements that go through burn: norms of tokens, smooth activations, scores of attention.
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
    /// That of a graph, for samples as large as its input.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn of(graph: &Graph, signature: &Signature) -> Result<Self, GraphError> {
        let shapes = graph.shapes(signature)?;
        let size = |shape: &[usize]| shape.iter().product::<usize>() as f64;
        let kept = stored_for_backward(graph).into_iter().map(|operand| match operand {
            Operand::Input => size(graph.input.shape()),
            Operand::Node(position) => size(&shapes[position]),
        });

        let mut load = Self { held: kept.sum(), ..Self::default() };
        for (node, shape) in graph.nodes.iter().zip(&shapes) {
            let elements = size(shape);
            let positions = elements / channels(shape) as f64;
            let weight = |param: &str| {
                signature[&format!("{param}.weight")].shape.iter().product::<usize>() as f64
            };
            let mut held = elements;
            match &node.op {
                Op::Linear { param, .. } => load.products += 2.0 * weight(param) * positions,
                Op::Conv2d { param, .. } | Op::PatchEmbed { param } => {
                    load.convolutions += 2.0 * weight(param) * positions;
                }
                Op::Attention { heads, .. } => {
                    let scores = *heads as f64 * positions * positions;
                    load.convolutions += 4.0 * positions * elements;
                    load.heavy += 3.0 * scores + 4.0 * elements;
                    held += 3.0 * scores;
                }
                Op::Relu {} | Op::Add {} | Op::BatchNorm { .. } | Op::GlobalAvgPool {} => {
                    load.light += elements;
                }
                Op::Flatten {} | Op::Dropout { .. } => {}
                _ => load.heavy += elements,
            }

            load.largest = load.largest.max(held);
            load.nodes += 1.0;
        }
        load.held += ON_THE_WAY * load.largest;
        Ok(load)
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
        let load = Load::of(&graph, &signature).unwrap();
        assert_eq!(load.convolutions, 2.0 * 108.0 * 16.0);
        assert_eq!(load.products, 2.0 * 480.0);
        assert_eq!((load.light, load.heavy), (96.0, 96.0));
        // The input, the relu, what it is flattened to, and what is on the way.
        assert_eq!((load.held, load.largest), (32.0 + 2.0 * 96.0 + 4.0 * 96.0, 96.0));
        assert_eq!(load.nodes, 5.0);
    }
}
