//! Whether a device computes right: small cases of every kind of kernel, with odd sizes, forward and
//! back, against the CPU.
//!
//! A driver that computes wrong gives no error: every model is merely as accurate as a guess. Who chose
//! a device therefore asks [`check`] first, in a process of its own where a driver may crash.

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Batch, Learner};
use crate::{
    network::{Graph, Token},
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};

/// How far a value may be from the CPU's, over the largest of its tensor: sums in another order differ
/// by some 1e-6, a wrong kernel by the value itself.
const BOUND: f32 = 1e-3;
const SAMPLES: usize = 5;
const LENGTH: usize = 7;
const VOCABULARY: usize = 11;
const CLASSES: usize = 3;

/// A device that does not compute what the CPU computes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}: {tensor} is {found} where the CPU has {expected}")]
pub struct Wrong {
    /// The kind of kernel.
    pub kind: &'static str,
    /// The logits, or the gradient of a tensor.
    pub tensor: String,
    pub expected: f32,
    pub found: f32,
}

/// Kernels with their network: nodes, the tensors' shapes, and the shape of a sample.
struct Case {
    kind: &'static str,
    input: Value,
    nodes: Value,
    tensors: Vec<(&'static str, Vec<usize>)>,
}

/// What a device gives for one tensor of a case.
#[derive(Clone, Debug)]
struct Answer {
    kind: &'static str,
    tensor: String,
    values: Vec<f32>,
}

/// Compares the device with the CPU.
///
/// # Errors
/// The first value that differs.
pub fn check(device: &Device) -> Result<(), Wrong> {
    compare(&answers(&Device::flex()), &answers(device))
}

fn compare(expected: &[Answer], found: &[Answer]) -> Result<(), Wrong> {
    for (right, own) in expected.iter().zip(found) {
        let largest = right.values.iter().fold(0f32, |most, value| most.max(value.abs()));
        let close = |a: f32, b: f32| (a - b).abs() <= BOUND * largest.max(BOUND);
        let mut pairs = right.values.iter().zip(&own.values);
        if let Some((&expected, &found)) = pairs.find(|(a, b)| !close(**a, **b)) {
            let (kind, tensor) = (right.kind, right.tensor.clone());
            return Err(Wrong { kind, tensor, expected, found });
        }
    }
    Ok(())
}

fn answers(device: &Device) -> Vec<Answer> {
    cases().iter().flat_map(|case| case.answers(device)).collect()
}

impl Case {
    fn answers(&self, device: &Device) -> Vec<Answer> {
        let document = json!({"input": self.input, "nodes": self.nodes});
        let graph = Graph::from_document(&document).expect("our own graph");
        let info = |shape: &[usize]| TensorInfo { dtype: DType::F32, shape: shape.to_vec() };
        let signature: Signature =
            self.tensors.iter().map(|(name, shape)| ((*name).to_owned(), info(shape))).collect();
        let learner = Learner::new(&graph, &signature, device.clone()).expect("our own graph");

        let params = parameters(&signature);
        let batch = self.batch(&graph);
        let logits = learner.predict(&params, &batch);
        let gradient = learner.gradient(&params, &batch);

        let mut answers = vec![Answer { kind: self.kind, tensor: "logits".into(), values: logits }];
        answers.extend(gradient.parts.iter().map(|(name, tensor)| Answer {
            kind: self.kind,
            tensor: format!("the gradient of {name}"),
            values: tensor.f32().into_owned(),
        }));
        answers
    }

    fn batch(&self, graph: &Graph) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let sample_shape = graph.input.shape().to_vec();
        let size = SAMPLES * sample_shape.iter().product::<usize>();
        let inputs = if self.input["kind"] == "tokens" {
            (0..size).map(|at| token(&mut rng, at % LENGTH).packed()).collect()
        } else {
            (0..size).map(|_| rng.random_range(-1.0..1.0)).collect()
        };
        let labels = (0..SAMPLES).map(|at| (at % CLASSES) as i64).collect();
        Batch { inputs, sample_shape, labels }
    }
}

/// Uniform in ±0.5, variances from 0.5 to 1.5: large enough that no gradient vanishes.
fn parameters(signature: &Signature) -> Checkpoint {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tensors = signature.iter().map(|(name, info)| {
        let offset = if name.ends_with("running_var") { 1.0 } else { 0.0 };
        let size = info.shape.iter().product();
        let values = (0..size).map(|_| offset + rng.random_range(-0.5..0.5)).collect();
        (name.clone(), HostTensor::from_f32(info.shape.clone(), values))
    });
    tensors.collect()
}

/// Sentences are padded from their sixth position on, now and then.
fn token(rng: &mut ChaCha8Rng, at: usize) -> Token {
    let masked = at > 4 && rng.random_bool(0.5);
    Token { id: rng.random_range(0..VOCABULARY as u32), token_type: 0, masked }
}

fn image(nodes: Value) -> (Value, Value) {
    (json!({"kind": "image", "shape": [3, 17, 13]}), nodes)
}

fn tokens(nodes: Value) -> (Value, Value) {
    (json!({"kind": "tokens", "shape": [LENGTH]}), nodes)
}

fn cases() -> Vec<Case> {
    let case = Case::new;
    vec![
        case(
            "matrix product",
            (
                json!({"kind": "features", "shape": [67]}),
                json!([{"op":"linear","param":"a"},{"op":"relu"},{"op":"linear","param":"head"}]),
            ),
            vec![
                ("a.weight", vec![129, 67]),
                ("a.bias", vec![129]),
                ("head.weight", vec![CLASSES, 129]),
            ],
        ),
        case(
            "convolution",
            image(json!([{"op":"conv2d","param":"a","stride":2,"padding":1},{"op":"gelu"},
                {"op":"conv2d","param":"b","groups":7,"padding":[0,1]},{"op":"global_avg_pool"},
                {"op":"linear","param":"head"}])),
            vec![
                ("a.weight", vec![7, 3, 3, 3]),
                ("a.bias", vec![7]),
                ("b.weight", vec![14, 1, 3, 3]),
                ("head.weight", vec![CLASSES, 14]),
            ],
        ),
        case(
            "batch norm",
            image(json!([{"op":"conv2d","param":"a","stride":3},{"op":"batch_norm","param":"n"},
                {"op":"relu"},{"op":"global_avg_pool"},{"op":"linear","param":"head"}])),
            vec![
                ("a.weight", vec![5, 3, 3, 3]),
                ("n.weight", vec![5]),
                ("n.bias", vec![5]),
                ("n.running_mean", vec![5]),
                ("n.running_var", vec![5]),
                ("head.weight", vec![CLASSES, 5]),
            ],
        ),
        case(
            "pooling",
            image(json!([{"op":"conv2d","param":"a"},
                {"op":"max_pool","kernel":3,"stride":2,"padding":1},
                {"op":"avg_pool","kernel":2,"stride":1},
                {"op":"adaptive_avg_pool","output":[3,2]},{"op":"flatten"},
                {"op":"linear","param":"head"}])),
            vec![("a.weight", vec![4, 3, 2, 2]), ("head.weight", vec![CLASSES, 24])],
        ),
        case(
            "gather",
            tokens(json!([{"op":"embedding","param":"words"},
                {"op":"select_token","position":"end","padding":0,"inputs":["words","input"]},
                {"op":"linear","param":"head"}])),
            vec![("words.weight", vec![VOCABULARY, 9]), ("head.weight", vec![CLASSES, 9])],
        ),
        case(
            "norm",
            tokens(json!([{"op":"embedding","param":"words"},{"op":"layer_norm","param":"n1"},
                {"op":"linear","param":"a"},{"op":"rms_norm","param":"n2"},{"op":"silu","id":"s"},
                {"op":"mean_tokens","inputs":["s","input"]},{"op":"linear","param":"head"}])),
            vec![
                ("words.weight", vec![VOCABULARY, 9]),
                ("n1.weight", vec![9]),
                ("n1.bias", vec![9]),
                ("a.weight", vec![13, 9]),
                ("n2.weight", vec![13]),
                ("head.weight", vec![CLASSES, 13]),
            ],
        ),
        case(
            "softmax",
            tokens(json!([{"op":"embedding","param":"words"},
                {"op":"linear","param":"q","inputs":["words"]},
                {"op":"linear","param":"k","inputs":["words"]},
                {"op":"linear","param":"v","inputs":["words"]},
                {"op":"attention","heads":3,"kv_heads":1,"causal":true,"mask":true,"rotary":{"theta":50.0},
                 "inputs":["q","k","v","input"],"id":"attended"},
                {"op":"gelu_tanh","id":"g"},{"op":"mean_tokens","inputs":["g","input"]},
                {"op":"tanh"},{"op":"linear","param":"head"}])),
            vec![
                ("words.weight", vec![VOCABULARY, 10]),
                ("q.weight", vec![18, 10]),
                ("k.weight", vec![6, 10]),
                ("v.weight", vec![6, 10]),
                ("head.weight", vec![CLASSES, 18]),
            ],
        ),
    ]
}

impl Case {
    fn new(
        kind: &'static str,
        (input, nodes): (Value, Value),
        tensors: Vec<(&'static str, Vec<usize>)>,
    ) -> Self {
        Self { kind, input, nodes, tensors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_gives_its_own_answers() {
        assert_eq!(check(&Device::flex()), Ok(()));
        let kinds: Vec<&str> = answers(&Device::flex()).iter().map(|answer| answer.kind).collect();
        for case in cases() {
            assert!(kinds.contains(&case.kind), "{}", case.kind);
        }
    }

    /// Every answer has something in it: a kernel that puts out zeros, ones or another row is noticed.
    #[test]
    fn whatever_a_kernel_gets_wrong_is_named() {
        let right = answers(&Device::flex());
        for at in 0..right.len() {
            let mut zeros = right.clone();
            zeros[at].values.fill(0.0);
            let wrong = compare(&right, &zeros).expect_err(&right[at].tensor);
            assert_eq!((wrong.kind, &wrong.tensor), (right[at].kind, &right[at].tensor));

            let mut nothing = right.clone();
            nothing[at].values.fill(f32::NAN);
            assert!(compare(&right, &nothing).is_err());
        }
    }
}
