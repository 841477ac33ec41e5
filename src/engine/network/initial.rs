//! Fresh parameters, drawn as `PyTorch` draws them by default.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Graph, Op, Role};
use crate::tensors::{Checkpoint, HostTensor, Signature};

impl Graph {
    /// Weights and biases of linear layers and convolutions uniform in `±1/√fan_in` (`PyTorch`'s
    /// default), embeddings and tokens uniform with deviation 0.02, norms and scales at one and
    /// zero, statistics of a standard normal, counters at zero. The same seed gives the same
    /// parameters.
    pub fn initial(&self, signature: &Signature, seed: u64) -> Checkpoint {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut result = Checkpoint::new();
        for (node, param) in self.params() {
            let Some(info) = signature.get(&param.name) else {
                continue;
            };
            if result.get(&param.name).is_some() {
                continue;
            }
            let length: usize = info.shape.iter().product();
            let tensor = match (&self.nodes[node].op, param.role) {
                (_, Role::Counter) => HostTensor::from_i64(info.shape.clone(), &vec![0; length]),
                (
                    Op::BatchNorm { .. }
                    | Op::LayerNorm { .. }
                    | Op::GroupNorm { .. }
                    | Op::GlobalResponseNorm { .. }
                    | Op::RmsNorm { .. }
                    | Op::Attention { .. }
                    | Op::LayerScale { .. }
                    | Op::Offset { .. },
                    _,
                ) => {
                    let zero = param.name.ends_with("bias")
                        || param.name.ends_with("mean")
                        || counts_from_one(&self.nodes[node].op);
                    let value = if zero { 0.0 } else { 1.0 };
                    HostTensor::from_f32(info.shape.clone(), vec![value; length])
                }
                (
                    Op::Embedding { .. }
                    | Op::PositionEmbedding { .. }
                    | Op::TokenTypeEmbedding { .. }
                    | Op::Table { .. }
                    | Op::ClassToken { .. },
                    _,
                ) => uniform(info.shape.clone(), 0.02 * 3f32.sqrt(), &mut rng),
                (op, _) => {
                    let module = match param.expert {
                        Some(_) => param.name.rsplit_once('.').map(|(module, _)| module),
                        None => op.param(),
                    };
                    let fan_in =
                        module.and_then(|module| signature.get(&format!("{module}.weight")));
                    let fan_in: usize =
                        fan_in.map_or(1, |weight| weight.shape[1..].iter().product());
                    let bound = 1.0 / (fan_in as f32).sqrt();
                    uniform(info.shape.clone(), bound, &mut rng)
                }
            };
            result.insert(param.name, tensor);
        }

        result
    }
}

/// Whether the op's weight is counted from one.
fn counts_from_one(op: &Op) -> bool {
    match op {
        Op::RmsNorm { unit_offset, .. } => *unit_offset,
        Op::Attention {
            head_norms: Some(norms),
            ..
        } => norms.unit_offset,
        _ => false,
    }
}

fn uniform(shape: Vec<usize>, bound: f32, rng: &mut impl Rng) -> HostTensor {
    let length = shape.iter().product();
    let values = (0..length)
        .map(|_| rng.random_range(-bound..bound))
        .collect();
    HostTensor::from_f32(shape, values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::{DType, TensorInfo};

    #[test]
    fn draws_within_the_bound_and_repeats() {
        let graph = Graph::from_document(&json!({"input": {"kind": "features", "shape": [4]},
            "nodes": [{"op": "linear", "param": "fc"}]}))
        .unwrap();
        let shape = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let signature: Signature = [
            ("fc.weight".into(), shape(&[50, 4])),
            ("fc.bias".into(), shape(&[50])),
        ]
        .into();
        let model = graph.initial(&signature, 1);
        assert!(model["fc.weight"].f32().iter().all(|v| v.abs() <= 0.5));
        assert!(model["fc.weight"].f32().iter().any(|v| v.abs() > 0.45));
        assert_eq!(
            model["fc.bias"].f32(),
            graph.initial(&signature, 1)["fc.bias"].f32()
        );

        assert_ne!(
            model["fc.bias"].f32(),
            graph.initial(&signature, 2)["fc.bias"].f32()
        );
    }
}
