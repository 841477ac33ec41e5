//! What a model and its samples take on a device that burn runs on, and how many samples fit at once.
//!
//! The figures count tensors: what the layers put out, and what burn makes on the way. Autodiff keeps all of them until
//! the backward pass has read them; a forward pass lets each go after its last reader.

use std::collections::{BTreeSet, HashMap};

use super::activation_sizes::ActivationSizes;
use crate::{
    network::{Instruction, Layer, Operand, Program, SampleSize, program::layer::Nonlinearity},
    tensors::Signature,
};

const BYTES_PER_FLOAT: usize = 4;
/// The least that WebGPU lets a kernel bind as one buffer.
const LEAST_BUFFER_BYTES: usize = 128 << 20;
/// What is held where nobody says what the device has: no driver tells WebGPU.
const DEFAULT_BYTES: usize = 4 << 30;
/// Models that an evaluation holds: a model, and another beside it.
const MODELS_OF_EVALUATION: usize = 2;
/// A training's model, its gradients in parts and summed, and two moments.
const MODELS_OF_TRAINING: usize = 5;

/// What a device may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes of all tensors together.
    pub bytes: usize,
    /// Bytes of one tensor.
    pub tensor_bytes: usize,
}

impl Default for DeviceMemory {
    fn default() -> Self {
        Self {
            bytes: DEFAULT_BYTES,
            tensor_bytes: LEAST_BUFFER_BYTES,
        }
    }
}

impl DeviceMemory {
    /// Samples that an evaluation runs at once beside a model of so many bytes; at least one.
    pub(super) fn evaluated_at_once(self, sizes: ActivationSizes<'_>, model: usize) -> usize {
        let sample = SampleBytes::of(sizes);
        self.samples(MODELS_OF_EVALUATION * model, sample.forward, sample.largest)
    }

    /// Samples that go forward and back at once; at least one.
    pub(super) fn trained_at_once(self, sizes: ActivationSizes<'_>, model: usize) -> usize {
        let sample = SampleBytes::of(sizes);
        self.samples(MODELS_OF_TRAINING * model, sample.backward, sample.largest)
    }

    fn samples(self, models: usize, each: usize, largest: usize) -> usize {
        let all = self.bytes.saturating_sub(models) / each.max(1);
        all.min(self.tensor_bytes / largest.max(1)).max(1)
    }
}

/// What a job takes on a device at least, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceNeeds {
    /// To evaluate a model, one sample at a time.
    pub evaluating: usize,
    /// To train it, so many samples at a time.
    pub training: usize,
    /// The largest tensor, of the model or of an activation.
    pub largest: usize,
}

impl DeviceNeeds {
    /// Those of a program, for samples as large as its input. `inseparable` are the samples of a batch that cannot be
    /// parted: 1, or the whole batch where batch norm ties its samples together.
    pub fn of(program: &Program, signature: &Signature, inseparable: usize) -> Self {
        let size = SampleSize {
            shape: program.input.shape(),
            labels: program.target.map_or(1, |[longest]| longest),
        };
        let sample = SampleBytes::of(ActivationSizes { program, size });
        let tensors: Vec<usize> = tensor_bytes(program, signature).collect();
        let model: usize = tensors.iter().sum();
        let largest_tensor = tensors.into_iter().max().unwrap_or(0);

        Self {
            evaluating: MODELS_OF_EVALUATION * model + sample.forward,
            training: MODELS_OF_TRAINING * model + inseparable * sample.backward,
            largest: largest_tensor.max(inseparable * sample.largest),
        }
    }
}

/// Bytes of a program's tensors together.
pub(super) fn model_bytes(program: &Program, signature: &Signature) -> usize {
    tensor_bytes(program, signature).sum()
}

/// Bytes of each of a program's tensors, as f32.
fn tensor_bytes(program: &Program, signature: &Signature) -> impl Iterator<Item = usize> {
    let names: BTreeSet<&str> = program.params().map(|param| param.name.as_str()).collect();
    names
        .into_iter()
        .filter_map(|name| signature.get(name))
        .map(|tensor| BYTES_PER_FLOAT * tensor.shape.iter().product::<usize>())
}

/// Bytes that one sample takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SampleBytes {
    /// The most that is held at once on the way forward.
    forward: usize,
    /// The same with what autodiff keeps, and the gradients on the way back.
    backward: usize,
    /// The largest tensor.
    largest: usize,
}

impl SampleBytes {
    fn of(sizes: ActivationSizes<'_>) -> Self {
        let last_reader = sizes.program.last_readers();
        let mut alive: HashMap<Operand, usize> = sizes
            .program
            .operands()
            .take_while(|operand| !matches!(operand, Operand::Node(_)))
            .map(|operand| (operand, sizes.operand(operand)))
            .collect();
        let mut kept: usize = alive.values().sum();
        let (mut most, mut largest) = (0, 0);

        for instruction in &sizes.program.instructions {
            let made = Made::by(instruction, sizes);
            let held: usize = alive.values().sum();
            most = most.max(held + made.output + made.on_the_way);
            largest = largest.max(made.largest);
            kept += made.output + made.on_the_way;

            let position = instruction.position;
            alive.retain(|operand, _| last_reader.get(operand).is_some_and(|&at| at > position));
            alive.insert(Operand::Node(position), made.output);
        }

        Self {
            forward: BYTES_PER_FLOAT * most,
            backward: BYTES_PER_FLOAT * (kept + 2 * most),
            largest: BYTES_PER_FLOAT * largest,
        }
    }
}

/// Values that one layer makes of one sample.
struct Made {
    output: usize,
    /// Everything beside its output.
    on_the_way: usize,
    /// Of its largest tensor.
    largest: usize,
}

impl Made {
    fn by(instruction: &Instruction, sizes: ActivationSizes<'_>) -> Self {
        let (output, positions) = (sizes.output(instruction), sizes.positions(instruction));

        let (on_the_way, largest) = match &instruction.layer {
            Layer::Attention(layer) => {
                let scores = sizes.scores(layer, positions);
                // Products, what is masked, and the softmax; queries, keys and values by heads.
                (4 * scores + 4 * output, scores)
            }
            Layer::Experts(layer) => {
                let rows = layer.top_k * positions;
                let width = instruction.output.last().copied().unwrap_or(1);
                let hidden = rows * layer.hidden();
                (4 * hidden + 3 * rows * width, hidden)
            }
            Layer::Conv2d(_) | Layer::PatchEmbed(_) => {
                // Both sides in another order of axes.
                let read = sizes.operand(instruction.inputs.first);
                (read + output, read)
            }
            Layer::Norm(_) | Layer::GroupNorm(_) | Layer::ResponseNorm(_) | Layer::BatchNorm(_) => {
                (3 * output, output)
            }
            Layer::Nonlinear(Nonlinearity::Relu) | Layer::Flatten | Layer::Identity => (0, output),
            Layer::Nonlinear(_) => (6 * output, output),
            Layer::Linear(_) => (output, output),
            _ => (2 * output, output),
        };

        Self {
            output,
            on_the_way,
            largest: largest.max(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::training::testing;

    const MODEL: usize = 4 * 25;
    const SIZE: SampleSize = SampleSize {
        shape: &[3],
        labels: 1,
    };

    fn signature() -> Signature {
        testing::signature(&[("a.weight", &[5, 3]), ("b.weight", &[2, 5])])
    }

    fn program() -> Program {
        let graph = testing::graph(
            &[3],
            json!([{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}]),
        );
        graph.resolve(&signature()).unwrap()
    }

    #[test]
    fn a_small_network_by_hand() {
        let program = program();
        let sizes = ActivationSizes {
            program: &program,
            size: SIZE,
        };
        let sample = SampleBytes::of(sizes);
        // The input, the first layer's output and its product.
        assert_eq!(sample.forward, 4 * (3 + 5 + 5));
        assert_eq!(sample.backward, 4 * (3 + 10 + 5 + 4) + 2 * sample.forward);
        assert_eq!(sample.largest, 4 * 5);

        let needs = DeviceNeeds::of(&program, &signature(), 7);
        assert_eq!(needs.evaluating, 2 * MODEL + sample.forward);
        assert_eq!(needs.training, 5 * MODEL + 7 * sample.backward);
        assert_eq!(needs.largest, 7 * 4 * 5);
    }

    #[test]
    fn as_many_samples_as_fit_and_one_where_none_does() {
        let program = program();
        let sizes = ActivationSizes {
            program: &program,
            size: SIZE,
        };
        let each = SampleBytes::of(sizes);
        let memory = DeviceMemory {
            bytes: 2 * MODEL + 9 * each.forward + 1,
            tensor_bytes: 1 << 20,
        };
        assert_eq!(memory.evaluated_at_once(sizes, MODEL), 9);

        let in_small_tensors = DeviceMemory {
            tensor_bytes: 4 * each.largest + 1,
            ..memory
        };
        assert_eq!(in_small_tensors.evaluated_at_once(sizes, MODEL), 4);

        let training = DeviceMemory {
            bytes: 5 * MODEL + 3 * each.backward,
            ..memory
        };
        assert_eq!(training.trained_at_once(sizes, MODEL), 3);

        let none = DeviceMemory { bytes: 0, ..memory };
        assert_eq!(none.evaluated_at_once(sizes, MODEL), 1);
        assert_eq!(none.trained_at_once(sizes, MODEL), 1);
    }
}
