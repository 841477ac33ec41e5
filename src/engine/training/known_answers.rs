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

use super::{Batch, Learner, cross_entropy::IGNORED};
use crate::{
    network::{Graph, Input, Token},
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};
use cases::cases;

/// How far a value may be from the CPU's, over the largest of its tensor: sums in another order differ
/// by some 1e-6, a wrong kernel by the value itself.
const BOUND: f32 = 1e-3;
const SAMPLES: usize = 5;
const LENGTH: usize = 7;
const VOCABULARY: usize = 11;

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

/// Kernels with their network, as a document has it; null is what it does not say.
#[derive(Default)]
struct Case {
    kind: &'static str,
    input: Value,
    target: Value,
    task: Value,
    nodes: Value,
    /// The tensors' shapes by name.
    tensors: Value,
}

/// What a device gives for one tensor of a case.
#[derive(Clone, Debug)]
struct Answer {
    kind: &'static str,
    tensor: String,
    values: Vec<f32>,
}

impl Answer {
    /// The first value that differs from the CPU's; what is not there is no number.
    fn compare(&self, found: &[f32]) -> Result<(), Wrong> {
        let largest = self
            .values
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()));
        let allowed = BOUND * largest.max(BOUND);

        for (at, &expected) in self.values.iter().enumerate() {
            let found = found.get(at).copied().unwrap_or(f32::NAN);
            let difference = (expected - found).abs();
            // A difference that is no number is too large as well.
            if difference.is_nan() || difference > allowed {
                return Err(Wrong {
                    kind: self.kind,
                    tensor: self.tensor.clone(),
                    expected,
                    found,
                });
            }
        }

        Ok(())
    }
}

/// Compares the device with the CPU.
///
/// # Errors
/// The first value that differs.
pub fn check(device: &Device) -> Result<(), Wrong> {
    compare(&answers(&Device::flex()), &answers(device))
}

fn compare(expected: &[Answer], found: &[Answer]) -> Result<(), Wrong> {
    for (at, right) in expected.iter().enumerate() {
        let own = found.get(at).map_or(&[][..], |own| &own.values);
        right.compare(own)?;
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
        let graph = Graph::from_document(&self.document()).expect("our own graph");
        let signature = self.signature();
        let learner = Learner::new(&graph, &signature, device.clone()).expect("our own graph");

        let params = parameters(&signature);
        let batch = batch(&learner);
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

    fn document(&self) -> Value {
        let mut document = json!({"input": self.input, "nodes": self.nodes});
        for (key, value) in [("target", &self.target), ("task", &self.task)] {
            if !value.is_null() {
                document[key] = value.clone();
            }
        }
        document
    }

    fn signature(&self) -> Signature {
        let shapes = self.tensors.as_object().into_iter().flatten();
        let tensors = shapes.map(|(name, shape)| {
            let shape = shape.as_array().into_iter().flatten();
            let info = TensorInfo {
                dtype: DType::F32,
                shape: shape
                    .filter_map(Value::as_u64)
                    .map(|size| size as usize)
                    .collect(),
            };
            (name.clone(), info)
        });
        tensors.collect()
    }
}

/// Samples with a label for every row of logits.
fn batch(learner: &Learner) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let graph = learner.graph();
    let sample_shape = graph.input.shape().to_vec();
    let size = SAMPLES * sample_shape.iter().product::<usize>();
    let inputs = if matches!(graph.input, Input::Tokens { .. }) {
        (0..size)
            .map(|at| token(&mut rng, at % LENGTH).packed())
            .collect()
    } else {
        (0..size).map(|_| rng.random_range(-1.0..1.0)).collect()
    };

    let rows = match graph.target {
        Some([length]) => SAMPLES * length,
        None if graph.task.is_of_tokens() => size,
        None => SAMPLES,
    };
    let classes = learner.classes();
    // Some tokens count nowhere.
    let labels = (0..rows).map(|at| match at % LENGTH {
        4 if rows > SAMPLES => IGNORED,
        _ => (at % classes) as i64,
    });

    Batch {
        labels: labels.collect(),
        inputs,
        sample_shape,
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
mod tests;
