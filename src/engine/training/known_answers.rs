//! Whether a device computes right: small cases of every kind of kernel, with odd sizes, forward and
//! back, against the CPU.
//!
//! A driver that computes wrong gives no error: every model is merely as accurate as a guess. Who chose
//! a device therefore asks [`check`] first, in a process of its own where a driver may crash.

mod cases;

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Batch, Learner};
use crate::{
    network::{Graph, Token},
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};
use cases::cases;

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
        let largest = right
            .values
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()));
        let allowed = BOUND * largest.max(BOUND);
        let mut pairs = right.values.iter().zip(&own.values);
        // A difference that is no number is too large as well.
        let different = pairs.find(|(a, b)| {
            let difference = (*a - *b).abs();
            difference.is_nan() || difference > allowed
        });
        if let Some((&expected, &found)) = different {
            let (kind, tensor) = (right.kind, right.tensor.clone());
            return Err(Wrong {
                kind,
                tensor,
                expected,
                found,
            });
        }
    }
    Ok(())
}

fn answers(device: &Device) -> Vec<Answer> {
    cases()
        .iter()
        .flat_map(|case| case.answers(device))
        .collect()
}

impl Case {
    fn answers(&self, device: &Device) -> Vec<Answer> {
        let document = json!({"input": self.input, "nodes": self.nodes});
        let graph = Graph::from_document(&document).expect("our own graph");
        let signature = self.signature();
        let learner = Learner::new(&graph, &signature, device.clone()).expect("our own graph");

        let params = parameters(&signature);
        let batch = self.batch(&graph);
        let logits = learner.predict(&params, &batch);
        let gradient = learner.gradient(&params, &batch);

        let mut answers = vec![Answer {
            kind: self.kind,
            tensor: "logits".into(),
            values: logits,
        }];
        answers.extend(gradient.parts.iter().map(|(name, tensor)| Answer {
            kind: self.kind,
            tensor: format!("the gradient of {name}"),
            values: tensor.f32().into_owned(),
        }));
        answers
    }

    fn signature(&self) -> Signature {
        let tensors = self.tensors.iter().map(|(name, shape)| {
            let info = TensorInfo {
                dtype: DType::F32,
                shape: shape.clone(),
            };
            ((*name).to_owned(), info)
        });
        tensors.collect()
    }

    fn batch(&self, graph: &Graph) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let sample_shape = graph.input.shape().to_vec();
        let size = SAMPLES * sample_shape.iter().product::<usize>();
        let inputs = if self.input["kind"] == "tokens" {
            (0..size)
                .map(|at| token(&mut rng, at % LENGTH).packed())
                .collect()
        } else {
            (0..size).map(|_| rng.random_range(-1.0..1.0)).collect()
        };
        let labels = (0..SAMPLES).map(|at| (at % CLASSES) as i64).collect();

        Batch {
            inputs,
            sample_shape,
            labels,
        }
    }
}

/// Uniform in ±0.5, variances from 0.5 to 1.5: large enough that no gradient vanishes.
fn parameters(signature: &Signature) -> Checkpoint {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tensors = signature.iter().map(|(name, info)| {
        let offset = if name.ends_with("running_var") {
            1.0
        } else {
            0.0
        };
        let size = info.shape.iter().product();
        let values = (0..size)
            .map(|_| offset + rng.random_range(-0.5..0.5))
            .collect();
        (
            name.clone(),
            HostTensor::from_f32(info.shape.clone(), values),
        )
    });
    tensors.collect()
}

/// Sentences are padded from their sixth position on, now and then.
fn token(rng: &mut ChaCha8Rng, at: usize) -> Token {
    let masked = at > 4 && rng.random_bool(0.5);
    Token {
        id: rng.random_range(0..VOCABULARY as u32),
        token_type: u32::from(at > 2),
        masked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_gives_its_own_answers() {
        assert_eq!(check(&Device::flex()), Ok(()));
        let kinds: Vec<&str> = answers(&Device::flex())
            .iter()
            .map(|answer| answer.kind)
            .collect();
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
            assert_eq!(
                (wrong.kind, &wrong.tensor),
                (right[at].kind, &right[at].tensor)
            );

            let mut nothing = right.clone();
            nothing[at].values.fill(f32::NAN);
            assert!(compare(&right, &nothing).is_err());
        }
    }
}
